import com.fasterxml.jackson.databind.ObjectMapper;
import com.google.protobuf.ByteString;
import io.dapr.client.DaprClient;
import io.dapr.client.DaprClientBuilder;
import io.dapr.client.DaprPreviewClient;
import io.dapr.client.SubscriptionListener;
import io.dapr.client.domain.CloudEvent;
import io.dapr.client.domain.PublishEventRequest;
import io.dapr.config.Properties;
import io.dapr.exceptions.DaprException;
import io.dapr.utils.TypeRef;
import io.dapr.v1.DaprBindingsProtos;
import io.dapr.v1.DaprGrpc;
import io.dapr.v1.DaprPubsubProtos;
import io.grpc.ManagedChannel;
import io.grpc.StatusRuntimeException;
import io.grpc.netty.NettyChannelBuilder;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.function.Supplier;
import java.util.stream.Stream;
import reactor.core.publisher.Mono;

/**
 * The Java SDK publishes and gets messages, and uses bindings, beside a sidecar of its own.
 *
 * <p>`sidegate run` starts this program and gives it the ports and both tokens; the SDK reads them
 * by itself. The program is the application too. What is published is tested by what arrives.
 *
 * <p>The way to read a stream that the SDK has no deprecation for cannot refuse a message.
 */
@SuppressWarnings("deprecation")
final class Messages implements AutoCloseable {
    private static final String JSON = "application/json";
    private static final String BYTES = "application/octet-stream";
    private static final String TEXT = "text/plain";

    private final Inbox inbox = new Inbox();
    private final App app = new App(inbox);
    private final DaprClient client = new DaprClientBuilder().build();
    private final DaprPreviewClient preview = new DaprClientBuilder().buildPreviewClient();

    public static void main(String[] arguments) throws Exception {
        Report report = new Report();
        try (Messages messages = new Messages()) {
            messages.app.start();
            messages.run(report);
        }
        System.exit(report.exitCode());
    }

    private void run(Report report) throws Exception {
        String token = System.getenv("DAPR_API_TOKEN");
        String appToken = System.getenv("APP_API_TOKEN");
        report.run("is subscribed to its topics", this::isSubscribed);
        report.run("publishes JSON, text and bytes", this::publishes);
        report.run("publishes many messages at once", this::publishesMany);
        report.run("gets messages by a rule", this::isRouted);
        report.run("gets a message again that it could not handle", this::getsAgain);
        report.run("drops a message to the dead letter topic", this::drops);
        report.run("gets messages in a stream", this::streams);
        report.run("uses an output binding", this::usesAnOutputBinding);
        report.run("uses an input binding", this::usesAnInputBinding);
        report.run("sends no message without the token", this::isRefusedWithoutToken);
        report.run("sends no message with a wrong token", () -> isRefused(token + "x"));
        report.run("sends no message with the app's token", () -> isRefused(appToken));
        report.run("got no message twice", this::gotNothingElse);
        report.run("saw the app's token with each call", this::sawItsToken);
    }

    @Override
    public void close() throws Exception {
        client.close();
        preview.close();
    }

    private static byte[] utf8(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    /** What arrives of a message. */
    private static Inbox.Event sent(String type, String contentType, byte... data) {
        String source = System.getenv("APP_ID");
        return new Inbox.Event(source, type, contentType, ByteString.copyFrom(data));
    }

    private static Inbox.Event sent(String text) {
        return sent("com.dapr.event.sent", TEXT, utf8(text));
    }

    /** The SDK makes JSON of everything but bytes. */
    private void publish(String topic, String text) {
        publish(topic, utf8(text), TEXT, Map.of());
    }

    private void publish(
        String topic, Object data, String contentType, Map<String, String> metadata) {
        var request = new PublishEventRequest(App.PUBSUB, topic, data);
        client.publishEvent(request.setContentType(contentType).setMetadata(metadata)).block();
    }

    /** The sidecar subscribes as soon as the app listens, which it does not wait for. */
    private void isSubscribed() throws InterruptedException {
        for (String topic : App.TOPICS) {
            warmUp(topic);
        }
    }

    private void warmUp(String topic) throws InterruptedException {
        int triesLeft = 600;
        do {
            Report.check(triesLeft-- > 0, "nothing arrives of topic %s", topic);
            publish(topic, Inbox.WARM_UP.toByteArray(), TEXT, Map.of());
        } while (!inbox.await(Inbox.warmUpOf(topic), 1, 100));
    }

    private void publishes() throws InterruptedException {
        publish("orders", Map.of("a", "ä"), JSON, Map.of());
        publish("orders", "grüß");
        publish("orders", new byte[] {0, -1}, BYTES, Map.of());
        String type = "com.dapr.event.sent";
        inbox.got("orders", List.of(
            sent(type, JSON, utf8("{\"a\":\"ä\"}")),
            sent("grüß"),
            sent(type, BYTES, new byte[] {0, -1})));
    }

    private void publishesMany() throws InterruptedException {
        List<Object> all = List.of(Map.of("n", 1), "two");
        var answer = client.publishEvents(App.PUBSUB, "many", JSON, all).block();
        Report.check(answer.getFailedEntries().isEmpty(), "not all were published");
        String type = "com.dapr.event.sent";
        inbox.got("many", List.of(
            sent(type, JSON, utf8("{\"n\":1}")), sent(type, JSON, utf8("\"two\""))));
    }

    private void isRouted() throws InterruptedException {
        publish("orders", utf8("now"), TEXT, Map.of("cloudevent.type", "urgent"));
        inbox.got("urgent", List.of(sent("urgent", TEXT, utf8("now"))));
    }

    private void getsAgain() throws InterruptedException {
        publish("retried", "again");
        inbox.got("retried", List.of(sent("again"), sent("again")));
    }

    private void drops() throws InterruptedException {
        publish("refused", "no");
        inbox.got("refused", List.of(sent("no")));
        inbox.got("dead", List.of(sent("no")));
    }

    /** What a stream gets, and what is answered. */
    private final class Streamed implements SubscriptionListener<byte[]> {
        @Override
        public Mono<Status> onEvent(CloudEvent<byte[]> event) {
            ByteString data = ByteString.copyFrom(event.getData());
            // The SDK does not tell the source here.
            String source = System.getenv("APP_ID");
            int which = inbox.put("streamed", new Inbox.Event(
                source, event.getType(), event.getDatacontenttype(), data));
            if (data.toStringUtf8().equals("drop")) {
                return Mono.just(Status.DROP);
            }
            // The second message is refused once.
            return Mono.just(which == 2 ? Status.RETRY : Status.SUCCESS);
        }

        @Override
        public void onError(RuntimeException error) {
            error.printStackTrace();
        }
    }

    /** With a subscription that lasts to the end: it gets nothing twice either. */
    private void streams() throws InterruptedException {
        preview.subscribeToEvents(App.PUBSUB, "streamed", new Streamed(), TypeRef.BYTE_ARRAY);
        // The SDK does not say when it is there.
        warmUp("streamed");
        List<Inbox.Event> expected = new ArrayList<>();
        for (String text : List.of("keep", "again", "drop", "last")) {
            publish("streamed", text);
            expected.addAll(Collections.nCopies(text.equals("again") ? 2 : 1, sent(text)));
            inbox.got("streamed", expected);
        }
    }

    private void usesAnOutputBinding() throws IOException {
        byte[] answer = client.invokeBinding(
            "outside", "post", utf8("{\"a\":\"ä\"}"), Map.of("path", "/orders")).block();
        Map<?, ?> seen = new ObjectMapper().readValue(answer, Map.class);
        Map<?, ?> expected = Map.of(
            "verb", "POST", "path", "/orders", "body", Map.of("a", "ä"), "tokens", List.of());
        Report.check(seen.equals(expected), "%s", seen);
    }

    private void usesAnInputBinding() throws InterruptedException {
        Report.check(inbox.await("tick", 2, 60_000), "no ticks");
    }

    /** The SDK takes the environment's token where it is given none, but its stubs take none. */
    private void isRefusedWithoutToken() {
        int port = Integer.parseInt(System.getenv("DAPR_GRPC_PORT"));
        var target = NettyChannelBuilder.forAddress("127.0.0.1", port).usePlaintext();
        ManagedChannel channel = target.build();
        var stubs = DaprGrpc.newBlockingStub(channel);
        var message = DaprPubsubProtos.PublishEventRequest.getDefaultInstance();
        var messages = DaprPubsubProtos.BulkPublishRequest.getDefaultInstance();
        var binding = DaprBindingsProtos.InvokeBindingRequest.getDefaultInstance();
        for (Supplier<?> call : List.<Supplier<?>>of(
            () -> stubs.publishEvent(message),
            () -> stubs.bulkPublishEvent(messages),
            () -> stubs.invokeBinding(binding))) {
            try {
                call.get();
                Report.check(false, "a call was not refused");
            } catch (StatusRuntimeException error) {
                io.grpc.Status.Code code = error.getStatus().getCode();
                Report.check(code == io.grpc.Status.Code.UNAUTHENTICATED, "%s", error);
            }
        }
        channel.shutdownNow();
    }

    private void isRefused(String token) throws Exception {
        var builder = new DaprClientBuilder().withPropertyOverride(Properties.API_TOKEN, token);
        try (DaprClient other = builder.build();
            DaprPreviewClient otherPreview = builder.buildPreviewClient()) {
            for (Mono<?> call : List.<Mono<?>>of(
                other.publishEvent(App.PUBSUB, "orders", "stolen"),
                other.publishEvents(App.PUBSUB, "orders", TEXT, "stolen"),
                other.invokeBinding("outside", "post", utf8("{}"), Map.of()))) {
                try {
                    call.block();
                    Report.check(false, "a call was not refused");
                } catch (DaprException error) {
                    isUnauthenticated(error);
                }
            }
            var refused = new Refused();
            try (var subscription = otherPreview.subscribeToEvents(
                App.PUBSUB, "orders", refused, TypeRef.BYTE_ARRAY)) {
                isUnauthenticated(refused.error.get(1, TimeUnit.MINUTES));
            }
        }
    }

    /** What is told of a stream that must not be. */
    private static final class Refused implements SubscriptionListener<byte[]> {
        private final CompletableFuture<RuntimeException> error = new CompletableFuture<>();

        @Override
        public Mono<Status> onEvent(CloudEvent<byte[]> event) {
            error.complete(new RuntimeException("a stream was not refused"));
            return Mono.just(Status.RETRY);
        }

        @Override
        public void onError(RuntimeException told) {
            error.complete(told);
        }
    }

    private static void isUnauthenticated(RuntimeException error) {
        boolean is = error instanceof DaprException known
            && known.getErrorCode().equals("UNAUTHENTICATED");
        Report.check(is, "%s", error);
    }

    private void gotNothingElse() {
        Map<String, Integer> expected = Map.of(
            "orders", 3, "many", 2, "urgent", 1, "retried", 2, "refused", 1, "dead", 1,
            "streamed", 5);
        expected.forEach((where, number) ->
            Report.check(inbox.at(where).size() == number, "%s: %s", where, inbox.at(where)));
    }

    private void sawItsToken() {
        Report.check(app.calls.stream().allMatch(App.Called::hasOwnToken), "%s", app.calls);
        for (String method : List.of("OnTopicEvent", "OnBindingEvent")) {
            Stream<String> called = app.calls.stream().map(App.Called::method);
            Report.check(called.anyMatch(method::equals), "%s was not called", method);
        }
    }
}
