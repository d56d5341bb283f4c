"""The application that others invoke, made with the SDK's gRPC extension.

Beside its method it serves a part of the service `sidegate.test.Echo` (tests/sdk/go/echo): the
methods with one message each way, and with streams both ways.
"""

import json
import os

import grpc
from dapr.clients.grpc._response import InvokeMethodResponse
from dapr.ext.grpc import App, InvokeMethodRequest
from google.protobuf.wrappers_pb2 import StringValue

SERVICE = "sidegate.test.Echo"
app = App()


def see(metadata, body, content_type=""):
    """What the application knows of a call. Whatever came twice is told as `a,b`."""

    def joined(name):
        return ",".join(entry.value for entry in metadata if entry.key == name)

    return json.dumps(
        {
            "verb": "",
            "query": "",
            "contentType": content_type,
            "body": body,
            "caller": joined("dapr-caller-app-id"),
            "callee": joined("dapr-callee-app-id"),
            "isOwnToken": joined("dapr-api-token") == os.environ["APP_API_TOKEN"],
        },
        ensure_ascii=False,
    )


@app.method("orders/echo")
def answer(request: InvokeMethodRequest):
    seen = see(request.get_metadata(), json.loads(request.data), request.content_type)
    return InvokeMethodResponse(seen, "application/json")


def say(asked, context):
    return StringValue(value=see(context.invocation_metadata(), asked.value))


def talk(words, _):
    for word in words:
        yield StringValue(value=f"you said {word.value}")


def add_echo(_, server):
    form = {
        "request_deserializer": StringValue.FromString,
        "response_serializer": StringValue.SerializeToString,
    }
    methods = {
        "Say": grpc.unary_unary_rpc_method_handler(say, **form),
        "Talk": grpc.stream_stream_rpc_method_handler(talk, **form),
    }
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(SERVICE, methods)])


app.add_external_service(add_echo, None)
app.run(int(os.environ["APP_PORT"]), "127.0.0.1")
