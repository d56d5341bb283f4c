"""The application beside the sidecar, with the SDK's extension for Flask."""

import base64
import os
import threading

import flask
from dapr.ext.flask import DaprApp
from werkzeug.serving import WSGIRequestHandler, make_server

from client import APP_TOKEN

PUBSUB = "pubsub"
TOPICS = ("orders", "retried", "refused", "dead")


class Silent(WSGIRequestHandler):
    def log_request(self, *_):
        pass


def start(inbox):
    """Starts to serve, up to the end of the program."""
    app = flask.Flask("steps")
    dapr = DaprApp(app)

    @app.before_request
    def note():
        tokens = flask.request.headers.getlist("dapr-api-token")
        inbox.calls.append((flask.request.path, tokens == [APP_TOKEN]))

    @dapr.subscribe(PUBSUB, "orders", route="/orders")
    def orders():
        arrive(inbox, "orders")
        return {}

    @dapr.subscribe(PUBSUB, "retried", route="/retried")
    def retried():
        return {"status": "RETRY" if arrive(inbox, "retried") == 1 else "SUCCESS"}

    @dapr.subscribe(PUBSUB, "refused", route="/refused", dead_letter_topic="dead")
    def refused():
        return {"status": "DROP" if arrive(inbox, "refused") else "SUCCESS"}

    @dapr.subscribe(PUBSUB, "dead", route="/dead")
    def dead():
        arrive(inbox, "dead")
        return {}

    @app.post("/echo")
    def echo():
        return {"body": flask.request.get_json(), "type": flask.request.content_type}

    server = make_server(
        "127.0.0.1", int(os.environ["APP_PORT"]), app, threaded=True, request_handler=Silent
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()


def arrive(inbox, where):
    event = flask.request.get_json(force=True)
    data = event["data"] if "data" in event else base64.b64decode(event["data_base64"])
    return inbox.put(where, (event["source"], event["type"], event["datacontenttype"], data))
