"""The application beside the sidecar, with the SDK's gRPC extension."""

import json
import os
import threading
from concurrent import futures

import grpc
from dapr.clients.grpc._response import InvokeMethodResponse
from dapr.ext.grpc import App, InvokeMethodRequest, Rule, SubscriptionMessage, TopicEventResponse

from client import APP_TOKEN

PUBSUB = "pubsub"
TOPICS = ("orders", "many", "retried", "refused", "dead")


class Tokens(grpc.ServerInterceptor):
    """Notes of each call whether the app's token came with it, and nothing else."""

    def __init__(self, calls):
        self.calls = calls

    def intercept_service(self, proceed, call):
        tokens = [value for name, value in call.invocation_metadata if name == "dapr-api-token"]
        self.calls.append((call.method.rpartition("/")[2], tokens == [APP_TOKEN]))
        return proceed(call)


def start(inbox):
    """Starts to serve, up to the end of the program."""
    app = App(thread_pool=futures.ThreadPoolExecutor(10), interceptors=[Tokens(inbox.calls)])

    # By that the SDK gives what no rule matches a route; it would be dropped without one, as in
    # Dapr.
    @app.subscribe(PUBSUB, "orders", disable_topic_validation=True)
    def orders(event: SubscriptionMessage):
        arrive(inbox, "orders", event)

    @app.subscribe(PUBSUB, "orders", rule=Rule('event.type == "urgent"', 1))
    def urgent(event: SubscriptionMessage):
        arrive(inbox, "urgent", event)

    @app.subscribe(PUBSUB, "many")
    def many(event: SubscriptionMessage):
        arrive(inbox, "many", event)

    @app.subscribe(PUBSUB, "retried")
    def retried(event: SubscriptionMessage):
        return TopicEventResponse("retry" if arrive(inbox, "retried", event) == 1 else "success")

    @app.subscribe(PUBSUB, "refused", dead_letter_topic="dead")
    def refused(event: SubscriptionMessage):
        return TopicEventResponse("drop" if arrive(inbox, "refused", event) else "success")

    @app.subscribe(PUBSUB, "dead")
    def dead(event: SubscriptionMessage):
        arrive(inbox, "dead", event)

    @app.binding("tick")
    def tick(_):
        inbox.put("tick", (None,))

    @app.method("echo")
    def echo(request: InvokeMethodRequest):
        answer = json.dumps({"body": json.loads(request.data), "type": request.content_type})
        return InvokeMethodResponse(answer, "application/json")

    port = int(os.environ["APP_PORT"])
    threading.Thread(target=app.run, args=(port, "127.0.0.1"), daemon=True).start()


def arrive(inbox, where, event):
    data = event.raw_data() if event.data() is None else event.data()
    return inbox.put(where, (event.source(), event.type(), event.data_content_type(), data))
