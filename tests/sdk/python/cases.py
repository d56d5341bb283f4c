"""The Python SDK against a sidecar, from inside the application that the sidecar belongs to.

`sidegate run` starts this program and gives it the ports and both tokens; the SDK reads them by
itself. Each case writes one line to the file $SDK_RESULTS.
"""

import contextlib
import http.server
import json
import os
import threading

import grpc
from dapr.clients import DaprClient
from dapr.clients.exceptions import DaprHttpError
from dapr.conf import settings

import report

API_TOKEN, APP_TOKEN = os.environ["DAPR_API_TOKEN"], os.environ["APP_API_TOKEN"]
APP_ID, STORE = "sdk", "secrets"


class App(http.server.BaseHTTPRequestHandler):
    """Answers with what it was asked."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        tokens = self.headers.get_all("dapr-api-token", [])
        seen = {"path": self.path, "body": body.decode(), "is_own_token": tokens == [APP_TOKEN]}
        answer = json.dumps(seen).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def client(token=API_TOKEN, invocation="http"):
    settings.DAPR_API_TOKEN = token
    settings.DAPR_API_METHOD_INVOCATION_PROTOCOL = invocation
    with DaprClient() as dapr:
        yield dapr


def refused(call, *codes):
    """Asserts that a call over gRPC ends with one of these statuses."""
    try:
        call()
    except grpc.RpcError as error:
        assert error.code() in codes, error.code()
    else:
        raise AssertionError("the call was not refused")


def reads_a_secret():
    with client() as dapr:
        assert dapr.get_secret(STORE, "password").secret == {"password": "hunter2"}


def reads_all_allowed_secrets():
    with client() as dapr:
        secrets = dapr.get_bulk_secret(STORE).secrets
        assert secrets == {"password": {"password": "hunter2"}}, sorted(secrets)


def is_denied_a_secret_by_scope():
    with client() as dapr:
        refused(lambda: dapr.get_secret(STORE, "denied"), grpc.StatusCode.PERMISSION_DENIED)


def is_told_that_a_secret_does_not_exist():
    with client() as dapr:
        refused(lambda: dapr.get_secret(STORE, "none"), grpc.StatusCode.NOT_FOUND)


def invokes_its_app(protocol):
    with client(invocation=protocol) as dapr:
        answer = dapr.invoke_method(APP_ID, "orders/1", "ä 1", http_verb="POST")
        expected = {"path": "/orders/1", "body": "ä 1", "is_own_token": True}
        assert json.loads(answer.data) == expected, answer.data


def reads_metadata():
    with client() as dapr:
        assert dapr.get_metadata().application_id == APP_ID


def is_refused_without_the_token(token):
    with client(token) as dapr:
        denied = grpc.StatusCode.UNAUTHENTICATED
        refused(lambda: dapr.get_secret(STORE, "password"), denied)
        refused(lambda: dapr.get_bulk_secret(STORE), denied)
        try:
            dapr.invoke_method(APP_ID, "orders/1", "", http_verb="POST")
        except DaprHttpError as error:
            assert error.status_code == 401, error.status_code
        else:
            raise AssertionError("the invocation was not refused")
    with client(token, "grpc") as dapr:
        refused(lambda: dapr.invoke_method(APP_ID, "orders/1", "", http_verb="POST"), denied)


CASES = {
    "reads a secret": reads_a_secret,
    "reads all allowed secrets": reads_all_allowed_secrets,
    "is denied a secret by scope": is_denied_a_secret_by_scope,
    "is told that a secret does not exist": is_told_that_a_secret_does_not_exist,
    "invokes its app over HTTP": lambda: invokes_its_app("http"),
    "invokes its app over gRPC": lambda: invokes_its_app("grpc"),
    "reads metadata": reads_metadata,
    "is refused without the token": lambda: is_refused_without_the_token(None),
    "is refused with a wrong token": lambda: is_refused_without_the_token(API_TOKEN + "x"),
    "is refused with the app's token": lambda: is_refused_without_the_token(APP_TOKEN),
}


def main():
    app = http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["APP_PORT"])), App)
    threading.Thread(target=app.serve_forever, daemon=True).start()
    report.run(CASES)


if __name__ == "__main__":
    main()
