"""The common script with the Python SDK: steps.py http | grpc

`sidegate run` starts this program and gives it the ports and both tokens; the SDK reads them by
itself. The program is the application too. The protocol is that of the application, and that of the
client as far as it speaks it.
"""

import json
import sys
from functools import partial

import grpc
from dapr.clients.exceptions import DaprHttpError
from dapr.clients.health import DaprHealth

import report
from client import API_TOKEN, APP_ID, APP_TOKEN, client, refused
from inbox import Inbox
from messages import PUBSUB, Messages, uses_an_output_binding, warm_up
from report import Lacks
from stores import LOCKS, MEMORY, SECRETS, SETTINGS, STEPS


def invoke(dapr):
    return dapr.invoke_method(
        APP_ID, "echo", '{"a":"ä"}', content_type="application/json", http_verb="POST"
    )


def invokes(protocol):
    with client(invocation=protocol) as dapr:
        answer = json.loads(invoke(dapr).data)
    assert answer == {"body": {"a": "ä"}, "type": "application/json"}, answer


def is_refused_over_http(token):
    with client(token, "http") as dapr:
        try:
            invoke(dapr)
        except DaprHttpError as error:
            assert error.status_code == 401, error
        else:
            raise AssertionError("the invocation was not refused")


def is_refused_over_grpc(token):
    with client(token) as dapr:
        for call in (
            lambda: dapr.get_state(MEMORY, "order"),
            lambda: dapr.save_state(MEMORY, "order", "stolen"),
            lambda: dapr.delete_state(MEMORY, "order"),
            lambda: dapr.get_secret(SECRETS, "password"),
            lambda: dapr.get_bulk_secret(SECRETS),
            lambda: invoke(dapr),
            lambda: dapr.publish_event(PUBSUB, "orders", "stolen"),
            lambda: dapr.publish_events(PUBSUB, "orders", ["stolen"]),
            lambda: dapr.subscribe(PUBSUB, "orders"),
            lambda: dapr.invoke_binding("outside", "post", "{}"),
            lambda: dapr.get_configuration(SETTINGS, ["color"]),
            lambda: dapr.try_lock(LOCKS, "till", "thief", 60),
            dapr.get_metadata,
        ):
            refused(call, grpc.StatusCode.UNAUTHENTICATED)


def waits():
    with client() as dapr:
        dapr.wait(60)


def tokens(is_refused):
    return {
        "tokens: refused without one": partial(is_refused, None),
        "tokens: refused with a wrong one": partial(is_refused, API_TOKEN + "x"),
        "tokens: refused with the app's": partial(is_refused, APP_TOKEN),
    }


def over_http(messages):
    grpc_only = Lacks("The client speaks HTTP for invocation and health only.")
    no_extension = Lacks("The extensions for Flask and FastAPI have topics only, without rules.")
    return {
        **dict.fromkeys(STEPS, grpc_only),
        "invoke: a method of the app": partial(invokes, "http"),
        "publish: JSON, text and bytes": grpc_only,
        "publish: many at once": grpc_only,
        "subscribe: to topics": messages.subscribes,
        "subscribe: with a rule": no_extension,
        "subscribe: again after a failure": messages.gets_again,
        "subscribe: dead letters": messages.drops,
        "subscribe: in a stream": Lacks("Streams of messages are gRPC."),
        "bind: output": grpc_only,
        "bind: input": no_extension,
        "health: wait for the sidecar": DaprHealth.wait_for_sidecar,
        **tokens(is_refused_over_http),
        "tokens: the app's comes with each call": partial(
            messages.inbox.saw_its_token, "/orders", "/echo"
        ),
        "subscribe: nothing twice": messages.inbox.got_nothing_else,
    }


def over_grpc(messages):
    return {
        **STEPS,
        "invoke: a method of the app": partial(invokes, "grpc"),
        "publish: JSON, text and bytes": messages.publishes,
        "publish: many at once": messages.publishes_many,
        "subscribe: to topics": messages.subscribes,
        "subscribe: with a rule": messages.is_routed,
        "subscribe: again after a failure": messages.gets_again,
        "subscribe: dead letters": messages.drops,
        "subscribe: in a stream": messages.streams,
        "bind: output": uses_an_output_binding,
        "bind: input": messages.uses_an_input_binding,
        "health: wait for the sidecar": waits,
        **tokens(is_refused_over_grpc),
        "tokens: the app's comes with each call": partial(
            messages.inbox.saw_its_token, "OnTopicEvent", "OnBindingEvent", "OnInvoke"
        ),
        "subscribe: nothing twice": messages.inbox.got_nothing_else,
    }


def main(protocol):
    inbox = Inbox()
    if protocol == "http":
        import http_app as app
    else:
        import grpc_app as app
    app.start(inbox)
    warm_up(inbox, app.TOPICS)
    messages = Messages(inbox)
    with messages.lasting:
        report.take(protocol, (over_http if protocol == "http" else over_grpc)(messages))


if __name__ == "__main__":
    main(sys.argv[1])
