"""The Python SDK invokes the applications beside other sidecars, those in $SDK_CALLEES.

`sidegate run` starts this program and gives it the ports and the token of its sidecar.
"""

import contextlib
import json
import os
import queue
import time
from functools import partial

import grpc
from dapr.clients.exceptions import DaprHttpError
from google.protobuf.wrappers_pb2 import StringValue

import report
from client import client

CALLER, CALLEES = os.environ["APP_ID"], os.environ["SDK_CALLEES"].split()
SERVICE = "/sidegate.test.Echo/"
FORM = {
    "request_serializer": StringValue.SerializeToString,
    "response_deserializer": StringValue.FromString,
}


def invoke(dapr, callee):
    answer = dapr.invoke_method(
        callee,
        "orders/echo",
        '{"a":"ä"}',
        content_type="application/json",
        http_verb="POST",
        http_querystring=(("a", "1"), ("b", "ä")),
    )
    return json.loads(answer.data)


def finds(callee):
    """The other sidecars start at the same time as this one."""
    with client(invocation="grpc") as dapr:
        for tries_left in reversed(range(600)):
            try:
                return invoke(dapr, callee)
            except grpc.RpcError:
                if not tries_left:
                    raise
                time.sleep(0.1)


def seen(callee, **more):
    by_whom = {"caller": CALLER, "callee": callee, "isOwnToken": True}
    return {"verb": "", "query": "", "contentType": "", **by_whom, **more}


def invokes(callee, protocol):
    with client(invocation=protocol) as dapr:
        answer = invoke(dapr, callee)
    expected = seen(
        callee,
        verb="POST",
        query="a=1&b=%C3%A4",
        contentType="application/json",
        body={"a": "ä"},
    )
    assert answer == expected, answer


def misses_a_method(callee, protocol):
    # Express says 404 of a path that it does not know; the Go SDK gives an error without a code.
    status, code = {
        "callee-javascript": (404, grpc.StatusCode.NOT_FOUND),
        "callee-go": (500, grpc.StatusCode.UNKNOWN),
    }[callee]
    with client(invocation=protocol) as dapr:
        try:
            dapr.invoke_method(callee, "missing", "", http_verb="GET")
        except DaprHttpError as error:
            assert error.status_code == status, error
        except grpc.RpcError as error:
            assert error.code() == code, error
        else:
            raise AssertionError("a method that does not exist was called")


@contextlib.contextmanager
def session(callee):
    """A channel, and the metadata of its calls; the service of the app is called as it is."""
    metadata = (("dapr-app-id", callee), ("dapr-api-token", os.environ["DAPR_API_TOKEN"]))
    with grpc.insecure_channel(f"127.0.0.1:{os.environ['DAPR_GRPC_PORT']}") as channel:
        yield channel, metadata


def calls_a_service(callee):
    with session(callee) as (channel, metadata):
        say = channel.unary_unary(SERVICE + "Say", **FORM)
        answer, call = say.with_call(StringValue(value="grüß"), metadata=metadata)
    assert json.loads(answer.value) == seen(callee, body="grüß"), answer
    assert ("farewell", "goodbye") in call.trailing_metadata(), call.trailing_metadata()


def talks_with_a_service(callee):
    """Each answer is awaited before the next word: nothing may be held back on the way."""
    with session(callee) as (channel, metadata):
        words = queue.SimpleQueue()
        talk = channel.stream_stream(SERVICE + "Talk", **FORM)(
            iter(words.get, None), metadata=metadata
        )
        for number in range(3):
            words.put(StringValue(value=f"{number}"))
            assert next(talk).value == f"you said {number}"
        words.put(None)
        assert not list(talk)


def cases():
    for callee in CALLEES:
        yield f"finds {callee}", partial(finds, callee)
        for protocol, spoken in (("http", "HTTP"), ("grpc", "gRPC")):
            yield f"invokes {callee} over {spoken}", partial(invokes, callee, protocol)
            yield (
                f"is told by {callee} that a method is missing, over {spoken}",
                partial(misses_a_method, callee, protocol),
            )
        if callee == "callee-go":
            yield f"calls a service of {callee}", partial(calls_a_service, callee)
            yield f"talks with a service of {callee}", partial(talks_with_a_service, callee)


if __name__ == "__main__":
    report.run(dict(cases()))
