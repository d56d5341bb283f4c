"""The Python SDK publishes and gets messages, and uses bindings, beside a sidecar of its own.

`sidegate run` starts this program and gives it the ports and both tokens; the SDK reads them by
itself. The program is the application too, with the SDK's gRPC extension. What is published is
tested by what arrives. Each case writes one line to the file $SDK_RESULTS.
"""

import contextlib
import json
import os
import threading
from concurrent import futures
from functools import partial

import grpc
from dapr.clients import DaprClient
from dapr.conf import settings
from dapr.ext.grpc import App, Rule, SubscriptionMessage, TopicEventResponse

import report

API_TOKEN, APP_TOKEN = os.environ["DAPR_API_TOKEN"], os.environ["APP_API_TOKEN"]
APP_ID, PUBSUB, WARM_UP = os.environ["APP_ID"], "pubsub", "warm-up"


class Inbox:
    """What arrived, by where it arrived."""

    def __init__(self):
        self.all, self.changed = {}, threading.Condition()

    def put(self, where, what):
        """Hands back how much has arrived there."""
        with self.changed:
            there = self.all.setdefault(where, [])
            there.append(what)
            self.changed.notify_all()
            return len(there)

    def wait(self, where, number, seconds=60):
        """Waits until so much has arrived there. Hands back all of it."""
        with self.changed:
            self.changed.wait_for(lambda: len(self.all.get(where, [])) >= number, seconds)
            return list(self.all.get(where, []))


class Tokens(grpc.ServerInterceptor):
    """Notes of each call of the sidecar whether the app's token came with it, and nothing else."""

    def __init__(self):
        self.calls = []

    def intercept_service(self, proceed, call):
        tokens = [value for name, value in call.invocation_metadata if name == "dapr-api-token"]
        self.calls.append((call.method.rpartition("/")[2], tokens == [APP_TOKEN]))
        return proceed(call)


inbox, tokens, lasting = Inbox(), Tokens(), contextlib.ExitStack()
app = App(thread_pool=futures.ThreadPoolExecutor(10), interceptors=[tokens])


def arrive(where, event: SubscriptionMessage):
    """Which one it is that arrived there; 0 if it is one that was sent to see whether any does."""
    if event.data() == WARM_UP:
        inbox.put(f"{WARM_UP} of {where}", None)
        return 0
    data = event.raw_data() if event.data() is None else event.data()
    return inbox.put(where, (event.source(), event.type(), event.data_content_type(), data))


# By that the SDK gives what no rule matches a route; it would be dropped without one, as in Dapr.
@app.subscribe(PUBSUB, "orders", disable_topic_validation=True)
def orders(event: SubscriptionMessage):
    arrive("orders", event)


@app.subscribe(PUBSUB, "orders", rule=Rule('event.type == "urgent"', 1))
def urgent(event: SubscriptionMessage):
    arrive("urgent", event)


@app.subscribe(PUBSUB, "many")
def many(event: SubscriptionMessage):
    arrive("many", event)


@app.subscribe(PUBSUB, "retried")
def retried(event: SubscriptionMessage):
    return TopicEventResponse("retry" if arrive("retried", event) == 1 else "success")


@app.subscribe(PUBSUB, "refused", dead_letter_topic="dead")
def refused(event: SubscriptionMessage):
    return TopicEventResponse("drop" if arrive("refused", event) else "success")


@app.subscribe(PUBSUB, "dead")
def dead(event: SubscriptionMessage):
    arrive("dead", event)


@app.binding("tick")
def tick(_):
    inbox.put("tick", None)


@contextlib.contextmanager
def client(token=API_TOKEN):
    settings.DAPR_API_TOKEN = token
    with DaprClient() as dapr:
        yield dapr


def publish(topic, data, content_type="text/plain", **metadata):
    with client() as dapr:
        dapr.publish_event(PUBSUB, topic, data, metadata, data_content_type=content_type)


def sent(data, content_type="text/plain", event_type="com.dapr.event.sent"):
    """What arrives of it."""
    return (APP_ID, event_type, content_type, data)


def got(where, *expected):
    """Asserts that this arrives there and nothing else, in any order."""
    arrived = inbox.wait(where, len(expected))
    assert sorted(map(repr, arrived)) == sorted(map(repr, expected)), arrived


def is_subscribed():
    """The sidecar subscribes as soon as the app listens, which it does not wait for."""
    for topic in ("orders", "many", "retried", "refused", "dead"):
        for tries_left in reversed(range(600)):
            publish(topic, WARM_UP)
            if inbox.wait(f"{WARM_UP} of {topic}", 1, 0.1):
                break
            assert tries_left, f"nothing arrives of topic {topic}"


def publishes():
    publish("orders", '{"a":"ä"}', "application/json")
    publish("orders", "grüß")
    publish("orders", b"\x00\xff", "application/octet-stream")
    got(
        "orders",
        sent({"a": "ä"}, "application/json"),
        sent("grüß"),
        sent(b"\x00\xff", "application/octet-stream"),
    )


def publishes_many():
    with client() as dapr:
        answer = dapr.publish_events(
            PUBSUB, "many", ['{"n":1}', '{"n":2}'], data_content_type="application/json"
        )
    assert not answer.failed_entries, answer.failed_entries
    got("many", sent({"n": 1}, "application/json"), sent({"n": 2}, "application/json"))


def is_routed():
    publish("orders", "now", **{"cloudevent.type": "urgent"})
    got("urgent", sent("now", event_type="urgent"))


def gets_again():
    publish("retried", "again")
    got("retried", sent("again"), sent("again"))


def drops():
    publish("refused", "no")
    got("refused", sent("no"))
    got("dead", sent("no"))


def streams():
    """With a subscription that lasts to the end: it gets nothing twice either."""

    def answer(event):
        which = arrive("streamed", event)
        if event.data() == "drop":
            return TopicEventResponse("drop")
        # The second message is refused once.
        return TopicEventResponse("retry" if which == 2 else "success")

    dapr = lasting.enter_context(client())
    lasting.callback(dapr.subscribe_with_handler(PUBSUB, "streamed", answer))
    expected = []
    for text, times in (("keep", 1), ("again", 2), ("drop", 1), ("last", 1)):
        publish("streamed", text)
        expected += [sent(text)] * times
        got("streamed", *expected)


def uses_an_output_binding():
    with client() as dapr:
        answer = dapr.invoke_binding("outside", "post", '{"a":"ä"}', {"path": "/orders"})
    expected = {"verb": "POST", "path": "/orders", "body": {"a": "ä"}, "tokens": []}
    assert json.loads(answer.data) == expected, answer.data


def uses_an_input_binding():
    assert len(inbox.wait("tick", 2)) >= 2, "no ticks"


def is_refused(token):
    with client(token) as dapr:
        for call in (
            lambda: dapr.publish_event(PUBSUB, "orders", "stolen"),
            lambda: dapr.publish_events(PUBSUB, "orders", ["stolen"]),
            lambda: dapr.subscribe(PUBSUB, "orders"),
            lambda: dapr.invoke_binding("outside", "post", "{}"),
        ):
            try:
                call()
            except Exception as error:  # the SDK wraps that of a stream in one without a class
                error = error if isinstance(error, grpc.RpcError) else error.__cause__
                assert error.code() == grpc.StatusCode.UNAUTHENTICATED, error
            else:
                raise AssertionError("a call was not refused")


def got_nothing_else():
    counts = {name: len(all) for name, all in inbox.all.items() if WARM_UP not in name}
    assert counts.pop("tick") >= 2, "no ticks"
    expected = {"orders": 3, "urgent": 1, "many": 2, "retried": 2, "refused": 1, "dead": 1}
    assert counts == {**expected, "streamed": 5}, inbox.all


def sees_its_token():
    assert {"OnTopicEvent", "OnBindingEvent"} <= {call for call, _ in tokens.calls}, tokens.calls
    assert all(is_own for _, is_own in tokens.calls), tokens.calls


CASES = {
    "is subscribed to its topics": is_subscribed,
    "publishes JSON, text and bytes": publishes,
    "publishes many messages at once": publishes_many,
    "gets messages by a rule": is_routed,
    "gets a message again that it could not handle": gets_again,
    "drops a message to the dead letter topic": drops,
    "gets messages in a stream": streams,
    "uses an output binding": uses_an_output_binding,
    "uses an input binding": uses_an_input_binding,
    "sends no message without the token": lambda: is_refused(None),
    "sends no message with a wrong token": lambda: is_refused(API_TOKEN + "x"),
    "sends no message with the app's token": lambda: is_refused(APP_TOKEN),
    "got no message twice": got_nothing_else,
    "saw the app's token with each call": sees_its_token,
}


def main():
    run = partial(app.run, int(os.environ["APP_PORT"]), "127.0.0.1")
    threading.Thread(target=run, daemon=True).start()
    with lasting:
        report.run(CASES)


if __name__ == "__main__":
    main()
