"""What arrived at the application, by where it arrived."""

import threading

from client import APP_ID

WARM_UP = "warm-up"  # what is published to see whether a subscription is there


def sent(data, content_type="text/plain", event_type="com.dapr.event.sent"):
    """What arrives of data that this application publishes."""
    return (APP_ID, event_type, content_type, data)


class Inbox:
    def __init__(self):
        self.all, self.expected, self.changed = {}, {}, threading.Condition()
        # What the sidecar called, and whether the app's token came with it, and no other.
        self.calls = []

    def put(self, where, event):
        """Which one it is that arrived there, from 1; 0 of one that was sent to warm up."""
        is_warm_up = event[-1] == WARM_UP
        with self.changed:
            there = self.all.setdefault(f"{WARM_UP} of {where}" if is_warm_up else where, [])
            there.append(event)
            self.changed.notify_all()
            return 0 if is_warm_up else len(there)

    def wait(self, where, number, seconds=60):
        """Waits until so much has arrived there. Hands back all of it."""
        with self.changed:
            self.changed.wait_for(lambda: len(self.all.get(where, [])) >= number, seconds)
            return list(self.all.get(where, []))

    def got(self, where, *events):
        """Asserts that these arrive there beside what did before, in any order."""
        expected = self.expected.setdefault(where, [])
        expected.extend(events)
        arrived = self.wait(where, len(expected))
        assert sorted(map(repr, arrived)) == sorted(map(repr, expected)), arrived

    def got_nothing_else(self):
        counts = {name: len(all) for name, all in self.all.items() if WARM_UP not in name}
        counts.pop("tick", None)
        assert counts == {name: len(all) for name, all in self.expected.items()}, self.all

    def saw_its_token(self, *calls):
        assert set(calls) <= {call for call, _ in self.calls}, self.calls
        assert all(is_own for _, is_own in self.calls), self.calls
