import io.dapr.client.DaprClient;
import io.dapr.client.DaprClientBuilder;
import io.dapr.client.DaprPreviewClient;
import io.dapr.client.SubscriptionListener;
import io.dapr.client.domain.CloudEvent;
import io.dapr.client.domain.HttpExtension;
import io.dapr.config.Properties;
import io.dapr.exceptions.DaprException;
import io.dapr.utils.TypeRef;
import io.dapr.v1.DaprBindingsProtos;
import io.dapr.v1.DaprConfigurationProtos;
import io.dapr.v1.DaprGrpc;
import io.dapr.v1.DaprLockProtos;
import io.dapr.v1.DaprMetadataProtos;
import io.dapr.v1.DaprPubsubProtos;
import io.dapr.v1.DaprSecretProtos;
import io.dapr.v1.DaprStateProtos;
import io.grpc.ManagedChannel;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.netty.NettyChannelBuilder;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.function.Supplier;
import reactor.core.publisher.Mono;

/**
 * The common script with the Java SDK, beside a sidecar of its own.
 *
 * <p>`sidegate run` starts this program and gives it the ports and both tokens; the SDK reads them
 * by itself. The program is the application too, over gRPC.
 */
@SuppressWarnings("deprecation")
final class Steps implements AutoCloseable {
    private static final String APP_ID = System.getenv("APP_ID");
    private static final String TOKEN = System.getenv("DAPR_API_TOKEN");
    private static final String APP_TOKEN = System.getenv("APP_API_TOKEN");

    private final App app = new App(new Inbox());
    private final DaprClient client = new DaprClientBuilder().build();
    private final DaprPreviewClient preview = new DaprClientBuilder().buildPreviewClient();
    private final Messages messages = new Messages(app, client, preview);

    public static void main(String[] arguments) throws Exception {
        Report report = new Report();
        try (Steps steps = new Steps()) {
            steps.app.start();
            steps.messages.warmUp();
            // Those over gRPC come last: they count the calls of both.
            report.take("http", steps.overHttp());
            report.take("grpc", steps.overGrpc());
        }
        System.exit(report.exitCode());
    }

    private Map<String, Report.Step> overGrpc() {
        Map<String, Report.Step> steps = new HashMap<>(messages.steps());
        steps.putAll(new Stores(client, preview).steps());
        steps.put("invoke: a method of the app", Report.Step.of(this::invokesOverGrpc));
        steps.put("health: wait for the sidecar",
            Report.Step.lacking("The client waits over HTTP."));
        steps.put("tokens: refused without one", new Report.Step(Steps::isRefusedWithoutToken,
            "With the SDK's stubs: its client has no call for it."));
        steps.put("tokens: refused with a wrong one",
            Report.Step.of(() -> isRefusedOverGrpc(TOKEN + "x")));
        steps.put("tokens: refused with the app's",
            Report.Step.of(() -> isRefusedOverGrpc(APP_TOKEN)));
        return steps;
    }

    private Map<String, Report.Step> overHttp() {
        Map<String, Report.Step> steps = new HashMap<>();
        overGrpc().keySet().forEach(name -> steps.put(name,
            Report.Step.lacking("The client speaks HTTP for invocation and health only.")));
        messages.steps().keySet().stream()
            .filter(name -> !name.startsWith("publish: ") && !name.equals("bind: output"))
            .forEach(name -> steps.put(name,
                Report.Step.lacking("Its server for HTTP is in the package for Spring.")));
        steps.put("subscribe: in a stream",
            Report.Step.lacking("Streams of messages are gRPC."));
        steps.put("invoke: a method of the app", Report.Step.of(this::invokesOverHttp));
        steps.put("health: wait for the sidecar",
            Report.Step.of(() -> client.waitForSidecar(60_000).block()));
        steps.put("tokens: refused with a wrong one",
            Report.Step.of(() -> isRefusedOverHttp(TOKEN + "x")));
        steps.put("tokens: refused with the app's",
            Report.Step.of(() -> isRefusedOverHttp(APP_TOKEN)));
        steps.put("tokens: refused without one", Report.Step.lacking(
            "The client takes the token of the environment where it is given none."));
        return steps;
    }

    @Override
    public void close() throws Exception {
        client.close();
        preview.close();
    }

    private static Mono<Map> invoke(DaprClient client) {
        return client.invokeMethod(
            APP_ID, "echo", Map.of("a", "ä"), HttpExtension.POST, Map.class);
    }

    private void invokesOverHttp() {
        Map<?, ?> seen = invoke(client).block();
        Map<?, ?> expected = Map.of("body", Map.of("a", "ä"), "type", "application/json");
        Report.check(seen.equals(expected), "%s", seen);
    }

    private void invokesOverGrpc() {
        String answer = client.newGrpcStub(APP_ID, Echo::new).say("grüß");
        Report.check(answer.equals("you said grüß"), "%s", answer);
    }

    private static DaprClientBuilder builder(String token) {
        return new DaprClientBuilder().withPropertyOverride(Properties.API_TOKEN, token);
    }

    private static void isRefusedOverHttp(String token) throws Exception {
        try (DaprClient other = builder(token).build()) {
            invoke(other).block();
            Report.check(false, "a call was not refused");
        } catch (DaprException error) {
            Report.check(error.getHttpStatusCode() == 401, "%s", error);
        }
    }

    /** The SDK takes the environment's token where it is given none, but its stubs take none. */
    private static void isRefusedWithoutToken() {
        int port = Integer.parseInt(System.getenv("DAPR_GRPC_PORT"));
        var target = NettyChannelBuilder.forAddress("127.0.0.1", port).usePlaintext();
        ManagedChannel channel = target.build();
        var stubs = DaprGrpc.newBlockingStub(channel);
        for (Supplier<?> call : List.<Supplier<?>>of(
            () -> stubs.getState(DaprStateProtos.GetStateRequest.getDefaultInstance()),
            () -> stubs.saveState(DaprStateProtos.SaveStateRequest.getDefaultInstance()),
            () -> stubs.getSecret(DaprSecretProtos.GetSecretRequest.getDefaultInstance()),
            () -> stubs.publishEvent(DaprPubsubProtos.PublishEventRequest.getDefaultInstance()),
            () -> stubs.bulkPublishEvent(DaprPubsubProtos.BulkPublishRequest.getDefaultInstance()),
            () -> stubs.invokeBinding(
                DaprBindingsProtos.InvokeBindingRequest.getDefaultInstance()),
            () -> stubs.getConfiguration(
                DaprConfigurationProtos.GetConfigurationRequest.getDefaultInstance()),
            () -> stubs.tryLockAlpha1(DaprLockProtos.TryLockRequest.getDefaultInstance()),
            () -> stubs.getMetadata(DaprMetadataProtos.GetMetadataRequest.getDefaultInstance()))) {
            try {
                call.get();
                Report.check(false, "a call was not refused");
            } catch (StatusRuntimeException error) {
                Status.Code code = error.getStatus().getCode();
                Report.check(code == Status.Code.UNAUTHENTICATED, "%s", error);
            }
        }
        channel.shutdownNow();
    }

    private static void isRefusedOverGrpc(String token) throws Exception {
        byte[] data = Messages.utf8("{}");
        try (DaprClient other = builder(token).build();
            DaprPreviewClient preview = builder(token).buildPreviewClient()) {
            for (Mono<?> call : List.<Mono<?>>of(
                other.getState("memory", "order", Map.class),
                other.saveState("memory", "order", "stolen"),
                other.deleteState("memory", "order"),
                other.getSecret("secrets", "password"),
                other.getBulkSecret("secrets"),
                other.publishEvent(App.PUBSUB, "orders", "stolen"),
                other.publishEvents(App.PUBSUB, "orders", "text/plain", "stolen"),
                other.invokeBinding("outside", "post", data, Map.of()),
                other.getConfiguration("settings", "color"),
                preview.tryLock("locks", "till", "thief", 60),
                other.getMetadata())) {
                isRefused(call, "UNAUTHENTICATED");
            }
            var refused = new Refused();
            try (var subscription = preview.subscribeToEvents(
                App.PUBSUB, "orders", refused, TypeRef.BYTE_ARRAY)) {
                hasCode(refused.error.get(1, TimeUnit.MINUTES), "UNAUTHENTICATED");
            }
        }
    }

    /** What is told of a stream that must not be. */
    private static final class Refused implements SubscriptionListener<byte[]> {
        private final CompletableFuture<RuntimeException> error = new CompletableFuture<>();

        @Override
        public Mono<SubscriptionListener.Status> onEvent(CloudEvent<byte[]> event) {
            error.complete(new RuntimeException("a stream was not refused"));
            return Mono.just(SubscriptionListener.Status.RETRY);
        }

        @Override
        public void onError(RuntimeException told) {
            error.complete(told);
        }
    }

    /** Throws unless a call ends with this code. */
    static void isRefused(Mono<?> call, String code) {
        try {
            call.block();
        } catch (DaprException error) {
            hasCode(error, code);
            return;
        }
        Report.check(false, "a call was not refused");
    }

    private static void hasCode(RuntimeException error, String code) {
        boolean has = error instanceof DaprException known && known.getErrorCode().equals(code);
        Report.check(has, "%s", error);
    }
}
