import com.fasterxml.jackson.databind.ObjectMapper;
import com.google.protobuf.ByteString;
import io.dapr.client.DaprClient;
import io.dapr.client.DaprPreviewClient;
import io.dapr.client.SubscriptionListener;
import io.dapr.client.domain.CloudEvent;
import io.dapr.client.domain.PublishEventRequest;
import io.dapr.utils.TypeRef;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import reactor.core.publisher.Mono;

/**
 * The steps of publishing and subscribing, and of bindings. What is published is tested by what
 * arrives at the application.
 *
 * <p>The way to read a stream that the SDK has no deprecation for cannot refuse a message.
 */
@SuppressWarnings("deprecation")
final class Messages {
    private static final String JSON = "application/json";
    private static final String BYTES = "application/octet-stream";
    private static final String TEXT = "text/plain";

    private final Inbox inbox;
    private final App app;
    private final DaprClient client;
    private final DaprPreviewClient preview;

    Messages(App app, DaprClient client, DaprPreviewClient preview) {
        this.inbox = app.inbox;
        this.app = app;
        this.client = client;
        this.preview = preview;
    }

    Map<String, Report.Step> steps() {
        Map<String, Report.Step> steps = new HashMap<>();
        steps.put("publish: JSON, text and bytes", Report.Step.of(this::publishes));
        steps.put("publish: many at once", Report.Step.of(this::publishesMany));
        steps.put("subscribe: to topics", Report.Step.of(this::subscribes));
        steps.put("subscribe: with a rule", Report.Step.of(this::isRouted));
        steps.put("subscribe: again after a failure", Report.Step.of(this::getsAgain));
        steps.put("subscribe: dead letters", Report.Step.of(this::drops));
        steps.put("subscribe: in a stream", Report.Step.of(this::streams));
        steps.put("subscribe: nothing twice", Report.Step.of(inbox::gotNothingElse));
        steps.put("bind: output", Report.Step.of(this::usesAnOutputBinding));
        steps.put("bind: input", Report.Step.of(this::usesAnInputBinding));
        steps.put("tokens: the app's comes with each call", Report.Step.of(this::sawItsToken));
        return steps;
    }

    static byte[] utf8(String text) {
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
    void warmUp() throws InterruptedException {
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

    private void subscribes() throws InterruptedException {
        publish("orders", Map.of("n", 1), JSON, Map.of());
        publish("orders", new byte[] {1, -1}, BYTES, Map.of());
        String type = "com.dapr.event.sent";
        inbox.got("orders", List.of(
            sent(type, JSON, utf8("{\"n\":1}")), sent(type, BYTES, new byte[] {1, -1})));
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
        for (String text : List.of("keep", "again", "drop", "last")) {
            publish("streamed", text);
            inbox.got("streamed", Collections.nCopies(text.equals("again") ? 2 : 1, sent(text)));
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

    private void sawItsToken() {
        Report.check(app.calls.stream().allMatch(App.Called::hasOwnToken), "%s", app.calls);
        for (String method : List.of("OnTopicEvent", "OnBindingEvent", "OnInvoke")) {
            Stream<String> called = app.calls.stream().map(App.Called::method);
            Report.check(called.anyMatch(method::equals), "%s was not called", method);
        }
    }
}
