import com.google.protobuf.Any;
import com.google.protobuf.ByteString;
import com.google.protobuf.Empty;
import io.dapr.v1.AppCallbackGrpc;
import io.dapr.v1.CommonProtos.InvokeRequest;
import io.dapr.v1.CommonProtos.InvokeResponse;
import io.dapr.v1.DaprAppCallbackProtos.BindingEventRequest;
import io.dapr.v1.DaprAppCallbackProtos.BindingEventResponse;
import io.dapr.v1.DaprAppCallbackProtos.ListInputBindingsResponse;
import io.dapr.v1.DaprAppCallbackProtos.ListTopicSubscriptionsResponse;
import io.dapr.v1.DaprAppCallbackProtos.TopicEventRequest;
import io.dapr.v1.DaprAppCallbackProtos.TopicEventResponse;
import io.dapr.v1.DaprAppCallbackProtos.TopicEventResponse.TopicEventResponseStatus;
import io.dapr.v1.DaprAppCallbackProtos.TopicRoutes;
import io.dapr.v1.DaprAppCallbackProtos.TopicRule;
import io.dapr.v1.DaprAppCallbackProtos.TopicSubscription;
import io.grpc.Metadata;
import io.grpc.Server;
import io.grpc.ServerCall;
import io.grpc.ServerCallHandler;
import io.grpc.ServerInterceptor;
import io.grpc.netty.NettyServerBuilder;
import io.grpc.stub.StreamObserver;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.util.ArrayList;
import java.util.List;
import java.util.Queue;
import java.util.concurrent.ConcurrentLinkedQueue;

/** The application that the sidecar sends messages to, made with the SDK's stubs. */
final class App extends AppCallbackGrpc.AppCallbackImplBase {
    static final String PUBSUB = "pubsub";
    static final List<String> TOPICS = List.of("orders", "many", "retried", "refused", "dead");

    final Inbox inbox;
    /** Each call, and whether the app's token came with it, and no other. */
    final Queue<Called> calls = new ConcurrentLinkedQueue<>();

    record Called(String method, boolean hasOwnToken) {}

    App(Inbox inbox) {
        this.inbox = inbox;
    }

    /** Starts to serve. */
    Server start() throws IOException {
        int port = Integer.parseInt(System.getenv("APP_PORT"));
        return NettyServerBuilder.forAddress(new InetSocketAddress("127.0.0.1", port))
            .addService(this)
            .addService(Echo.service())
            .intercept(new Tokens())
            .build()
            .start();
    }

    private final class Tokens implements ServerInterceptor {
        private static final Metadata.Key<String> NAME =
            Metadata.Key.of("dapr-api-token", Metadata.ASCII_STRING_MARSHALLER);

        @Override
        public <A, B> ServerCall.Listener<A> interceptCall(
            ServerCall<A, B> call, Metadata headers, ServerCallHandler<A, B> next) {
            List<String> tokens = new ArrayList<>();
            Iterable<String> sent = headers.getAll(NAME);
            if (sent != null) {
                sent.forEach(tokens::add);
            }
            boolean hasOwnToken = tokens.equals(List.of(System.getenv("APP_API_TOKEN")));
            calls.add(new Called(call.getMethodDescriptor().getBareMethodName(), hasOwnToken));
            return next.startCall(call, headers);
        }
    }

    @Override
    public void listTopicSubscriptions(
        Empty request, StreamObserver<ListTopicSubscriptionsResponse> response) {
        var all = ListTopicSubscriptionsResponse.newBuilder();
        for (String topic : TOPICS) {
            var routes = TopicRoutes.newBuilder().setDefault(topic);
            var one = TopicSubscription.newBuilder().setPubsubName(PUBSUB).setTopic(topic);
            if (topic.equals("orders")) {
                var rule = TopicRule.newBuilder().setMatch("event.type == \"urgent\"");
                routes.addRules(rule.setPath("urgent"));
            }
            if (topic.equals("refused")) {
                one.setDeadLetterTopic("dead");
            }
            all.addSubscriptions(one.setRoutes(routes));
        }
        answer(response, all.build());
    }

    @Override
    public void onTopicEvent(TopicEventRequest event, StreamObserver<TopicEventResponse> response) {
        var arrived = new Inbox.Event(
            event.getSource(), event.getType(), event.getDataContentType(), event.getData());
        int which = inbox.put(event.getPath(), arrived);
        TopicEventResponseStatus status = TopicEventResponseStatus.SUCCESS;
        if (event.getPath().equals("retried") && which == 1) {
            status = TopicEventResponseStatus.RETRY;
        }
        if (event.getPath().equals("refused") && which > 0) {
            status = TopicEventResponseStatus.DROP;
        }
        answer(response, TopicEventResponse.newBuilder().setStatus(status).build());
    }

    @Override
    public void listInputBindings(
        Empty request, StreamObserver<ListInputBindingsResponse> response) {
        answer(response, ListInputBindingsResponse.newBuilder().addBindings("tick").build());
    }

    @Override
    public void onBindingEvent(
        BindingEventRequest event, StreamObserver<BindingEventResponse> response) {
        inbox.put(event.getName(), new Inbox.Event("", "", "", event.getData()));
        answer(response, BindingEventResponse.getDefaultInstance());
    }

    @Override
    public void onInvoke(InvokeRequest request, StreamObserver<InvokeResponse> response) {
        String body = request.getData().getValue().toStringUtf8();
        String seen = "{\"body\":%s,\"type\":\"%s\"}".formatted(body, request.getContentType());
        var data = Any.newBuilder().setValue(ByteString.copyFromUtf8(seen));
        answer(response, InvokeResponse.newBuilder()
            .setData(data).setContentType("application/json").build());
    }

    private static <T> void answer(StreamObserver<T> response, T message) {
        response.onNext(message);
        response.onCompleted();
    }
}
