import static io.dapr.client.domain.TransactionalStateOperation.OperationType.DELETE;
import static io.dapr.client.domain.TransactionalStateOperation.OperationType.UPSERT;

import io.dapr.client.DaprClient;
import io.dapr.client.DaprPreviewClient;
import io.dapr.client.domain.ConfigurationItem;
import io.dapr.client.domain.State;
import io.dapr.client.domain.TransactionalStateOperation;
import io.dapr.client.domain.UnlockResponseStatus;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;

/** The steps of state, secrets, configuration, locks and metadata. */
final class Stores {
    private static final String MEMORY = "memory";
    private static final String SECRETS = "secrets";
    private static final String SETTINGS = "settings";
    private static final String LOCKS = "locks";
    private static final String APP_ID = System.getenv("APP_ID");

    private final DaprClient client;
    private final DaprPreviewClient preview;

    Stores(DaprClient client, DaprPreviewClient preview) {
        this.client = client;
        this.preview = preview;
    }

    Map<String, Report.Step> steps() {
        Map<String, Report.Step> steps = new HashMap<>();
        steps.put("state: save and get", Report.Step.of(() -> savesAndGets(MEMORY)));
        steps.put("state: get a missing key", Report.Step.of(this::missesAKey));
        steps.put("state: get many keys", Report.Step.of(this::getsMany));
        steps.put("state: delete", Report.Step.of(this::deletes));
        steps.put("state: save with an old ETag", Report.Step.of(this::savesWithAnOldEtag));
        steps.put("state: delete with an old ETag", Report.Step.of(this::deletesWithAnOldEtag));
        steps.put("state: transaction", Report.Step.of(this::transacts));
        steps.put("state: TTL", Report.Step.of(this::expires));
        steps.put("state: Redis, its password a secretKeyRef",
            Report.Step.of(() -> savesAndGets("redis")));
        steps.put("secrets: get one", Report.Step.of(this::getsASecret));
        steps.put("secrets: get all", Report.Step.of(this::getsAllSecrets));
        steps.put("secrets: denied by scope", Report.Step.of(this::isDeniedASecret));
        steps.put("secrets: missing", Report.Step.of(this::missesASecret));
        steps.put("configuration: get", Report.Step.of(this::getsSettings));
        steps.put("configuration: subscribe", Report.Step.of(this::isToldOfSettings));
        steps.put("lock: take and release", Report.Step.of(this::locks));
        steps.put("metadata: get", Report.Step.of(this::getsMetadata));
        steps.put("metadata: set", Report.Step.lacking("The client has no call for it."));
        return steps;
    }

    private void save(String key, int value, String etag) {
        client.saveState(MEMORY, key, etag, value, null).block();
    }

    private State<Integer> get(String key) {
        return client.getState(MEMORY, key, Integer.class).block();
    }

    private void holds(String key, Integer value) {
        Integer found = get(key).getValue();
        Report.check(value == null ? found == null : value.equals(found), "%s is %s", key, found);
    }

    private void savesAndGets(String store) {
        client.saveState(store, "order", Map.of("a", "ä")).block();
        State<?> found = client.getState(store, "order", Map.class).block();
        Report.check(Map.of("a", "ä").equals(found.getValue()), "%s", found);
        Report.check(!found.getEtag().isEmpty(), "there is no ETag");
    }

    private void missesAKey() {
        State<Integer> found = get("none");
        boolean hasNoEtag = found.getEtag() == null || found.getEtag().isEmpty();
        Report.check(found.getValue() == null && hasNoEtag, "%s", found);
    }

    private void getsMany() {
        save("one", 1, null);
        save("two", 2, null);
        Map<String, Integer> found = new HashMap<>();
        for (State<Integer> item :
            client.getBulkState(MEMORY, List.of("one", "none", "two"), Integer.class).block()) {
            Report.check(item.getError() == null, "%s: %s", item.getKey(), item.getError());
            found.put(item.getKey(), item.getValue());
        }
        Map<String, Integer> expected = new HashMap<>(Map.of("one", 1, "two", 2));
        expected.put("none", null);
        Report.check(found.equals(expected), "%s", found);
    }

    private void deletes() {
        save("deleted", 1, null);
        client.deleteState(MEMORY, "deleted").block();
        holds("deleted", null);
    }

    /** Saves two values after each other. The ETag of the first one. */
    private String saveTwice(String key) {
        save(key, 1, null);
        String old = get(key).getEtag();
        save(key, 2, old);
        return old;
    }

    private void savesWithAnOldEtag() {
        String old = saveTwice("saved");
        Steps.isRefused(client.saveState(MEMORY, "saved", old, 3, null), "ABORTED");
        holds("saved", 2);
    }

    private void deletesWithAnOldEtag() {
        String old = saveTwice("kept");
        Steps.isRefused(client.deleteState(MEMORY, "kept", old, null), "ABORTED");
        holds("kept", 2);
        client.deleteState(MEMORY, "kept", get("kept").getEtag(), null).block();
        holds("kept", null);
    }

    private static TransactionalStateOperation<?> upsert(String key, int value, String etag) {
        return new TransactionalStateOperation<>(UPSERT, new State<>(key, value, etag));
    }

    private void transacts() {
        String old = saveTwice("from");
        var delete = new TransactionalStateOperation<>(DELETE, new State<>("from"));
        client.executeStateTransaction(MEMORY, List.of(upsert("to", 1, null), delete)).block();
        holds("to", 1);
        holds("from", null);
        boolean isDone = true;
        try {
            client.executeStateTransaction(
                MEMORY, List.of(upsert("to", 2, null), upsert("from", 2, old))).block();
        } catch (RuntimeException error) {
            isDone = false;
        }
        Report.check(!isDone, "a transaction with an old ETag was not refused");
        holds("to", 1);
    }

    private void expires() throws InterruptedException {
        for (var key : Map.of("short", "1", "long", "3600").entrySet()) {
            Map<String, String> metadata = Map.of("ttlInSeconds", key.getValue());
            client.saveState(MEMORY, key.getKey(), null, 1, metadata, null).block();
        }
        for (int triesLeft = 600; get("short").getValue() != null; triesLeft--) {
            Report.check(triesLeft > 0, "it never expired");
            Thread.sleep(100);
        }
        holds("long", 1);
    }

    private void getsASecret() {
        Map<String, String> secret = client.getSecret(SECRETS, "password").block();
        Report.check(secret.equals(Map.of("password", "hunter2")), "%s", secret.keySet());
    }

    private void getsAllSecrets() {
        var secrets = client.getBulkSecret(SECRETS).block();
        var expected = Map.of("password", Map.of("password", "hunter2"));
        Report.check(secrets.equals(expected), "%s", secrets.keySet());
    }

    private void isDeniedASecret() {
        Steps.isRefused(client.getSecret(SECRETS, "denied"), "PERMISSION_DENIED");
    }

    private void missesASecret() {
        Steps.isRefused(client.getSecret(SECRETS, "none"), "NOT_FOUND");
    }

    private void write(String key, String value) {
        byte[] data = value.getBytes(StandardCharsets.UTF_8);
        client.invokeBinding("writer", "create", data, Map.of("key", key)).block();
    }

    private static void isItem(ConfigurationItem item, String value, String version) {
        Report.check(value.equals(item.getValue()), "the value is %s", item.getValue());
        Report.check(version.equals(item.getVersion()), "the version is %s", item.getVersion());
    }

    private void getsSettings() {
        String key = APP_ID + "-color";
        write(key, "red||1");
        isItem(client.getConfiguration(SETTINGS, key).block(), "red", "1");
    }

    private void isToldOfSettings() throws Exception {
        String key = APP_ID + "-size";
        var subscribed = new CompletableFuture<String>();
        var told = new CompletableFuture<ConfigurationItem>();
        var subscription = client.subscribeConfiguration(SETTINGS, key).subscribe(change -> {
            subscribed.complete(change.getSubscriptionId());
            if (change.getItems().containsKey(key)) {
                told.complete(change.getItems().get(key));
            }
        }, subscribed::completeExceptionally);
        String id = subscribed.get(1, TimeUnit.MINUTES);
        write(key, "large||2");
        isItem(told.get(1, TimeUnit.MINUTES), "large", "2");
        var answer = client.unsubscribeConfiguration(id, SETTINGS).block();
        Report.check(answer.getIsUnsubscribed(), "%s", answer.getMessage());
        subscription.dispose();
    }

    private void locks() {
        Report.check(preview.tryLock(LOCKS, "till", "first", 60).block(), "it is not taken");
        Report.check(!preview.tryLock(LOCKS, "till", "second", 60).block(), "it is taken twice");
        List<UnlockResponseStatus> told = List.of("second", "first", "first").stream()
            .map(owner -> preview.unlock(LOCKS, "till", owner).block()).toList();
        Report.check(told.equals(List.of(
            UnlockResponseStatus.LOCK_BELONG_TO_OTHERS,
            UnlockResponseStatus.SUCCESS,
            UnlockResponseStatus.LOCK_UNEXIST)), "%s", told);
    }

    private void getsMetadata() {
        var metadata = client.getMetadata().block();
        Report.check(metadata.getId().equals(APP_ID), "%s", metadata.getId());
        boolean isThere = metadata.getComponents().stream()
            .anyMatch(component -> component.getName().equals(MEMORY));
        Report.check(isThere, "%s", metadata.getComponents());
    }
}
