"""Clients of the sidecar, and how they are refused."""

import contextlib
import os

import grpc
from dapr.clients import DaprClient
from dapr.conf import settings

API_TOKEN, APP_TOKEN = os.environ["DAPR_API_TOKEN"], os.environ["APP_API_TOKEN"]
APP_ID = os.environ["APP_ID"]


class StreamToken(grpc.UnaryStreamClientInterceptor):
    """Adds the API token to calls that are answered by a stream, for which the SDK forgets it."""

    def intercept_unary_stream(self, proceed, call, request):
        metadata = [*(call.metadata or ()), ("dapr-api-token", API_TOKEN)]
        return proceed(call._replace(metadata=metadata), request)


@contextlib.contextmanager
def client(token=API_TOKEN, invocation="grpc", interceptors=()):
    settings.DAPR_API_TOKEN = token
    settings.DAPR_API_METHOD_INVOCATION_PROTOCOL = invocation
    with DaprClient(interceptors=list(interceptors)) as dapr:
        yield dapr


def refused(call, *codes):
    """Asserts that a call over gRPC ends with one of these statuses."""
    try:
        call()
    except Exception as error:  # the SDK wraps that of a stream in one without a class
        error = error if isinstance(error, grpc.RpcError) else error.__cause__
        assert error.code() in codes, error
    else:
        raise AssertionError("a call was not refused")
