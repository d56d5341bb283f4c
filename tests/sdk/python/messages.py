"""The steps of publishing and subscribing, and of bindings. What is published is tested by what
arrives at the application."""

import contextlib
import json

from dapr.ext.grpc import TopicEventResponse

from client import client
from inbox import WARM_UP, sent

PUBSUB = "pubsub"


def publish(topic, data, content_type="text/plain", **metadata):
    with client() as dapr:
        dapr.publish_event(PUBSUB, topic, data, metadata, data_content_type=content_type)


def warm_up(inbox, topics):
    """The sidecar subscribes as soon as the app listens, which it does not wait for."""
    for topic in topics:
        for tries_left in reversed(range(600)):
            publish(topic, WARM_UP)
            if inbox.wait(f"{WARM_UP} of {topic}", 1, 0.1):
                break
            assert tries_left, f"nothing arrives of topic {topic}"


class Messages:
    def __init__(self, inbox):
        self.inbox = inbox
        # A subscription by stream that lasts to the end: it gets nothing twice either.
        self.lasting = contextlib.ExitStack()

    def publishes(self):
        publish("orders", '{"a":"ä"}', "application/json")
        publish("orders", "grüß")
        publish("orders", b"\x00\xff", "application/octet-stream")
        self.inbox.got(
            "orders",
            sent({"a": "ä"}, "application/json"),
            sent("grüß"),
            sent(b"\x00\xff", "application/octet-stream"),
        )

    def publishes_many(self):
        with client() as dapr:
            answer = dapr.publish_events(
                PUBSUB, "many", ['{"n":1}', '{"n":2}'], data_content_type="application/json"
            )
        assert not answer.failed_entries, answer.failed_entries
        expected = [sent({"n": n}, "application/json") for n in (1, 2)]
        self.inbox.got("many", *expected)

    def subscribes(self):
        publish("orders", '{"n":1}', "application/json")
        publish("orders", b"\x01\xff", "application/octet-stream")
        self.inbox.got(
            "orders",
            sent({"n": 1}, "application/json"),
            sent(b"\x01\xff", "application/octet-stream"),
        )

    def is_routed(self):
        publish("orders", "now", **{"cloudevent.type": "urgent"})
        self.inbox.got("urgent", sent("now", event_type="urgent"))

    def gets_again(self):
        publish("retried", "again")
        self.inbox.got("retried", sent("again"), sent("again"))

    def drops(self):
        publish("refused", "no")
        self.inbox.got("refused", sent("no"))
        self.inbox.got("dead", sent("no"))

    def streams(self):
        def answer(event):
            data = event.data()
            arrived = (event.source(), event.type(), event.data_content_type(), data)
            which = self.inbox.put("streamed", arrived)
            # The second message is refused once.
            return TopicEventResponse(
                "drop" if data == "drop" else "retry" if which == 2 else "success"
            )

        dapr = self.lasting.enter_context(client())
        self.lasting.callback(dapr.subscribe_with_handler(PUBSUB, "streamed", answer))
        for text, times in (("keep", 1), ("again", 2), ("drop", 1), ("last", 1)):
            publish("streamed", text)
            self.inbox.got("streamed", *[sent(text)] * times)

    def uses_an_input_binding(self):
        assert len(self.inbox.wait("tick", 2)) >= 2, "no ticks"


def uses_an_output_binding():
    with client() as dapr:
        answer = dapr.invoke_binding("outside", "post", '{"a":"ä"}', {"path": "/orders"})
    expected = {"verb": "POST", "path": "/orders", "body": {"a": "ä"}, "tokens": []}
    assert json.loads(answer.data) == expected, answer.data
