// The common script with the JavaScript SDK: steps.cjs http | grpc
//
// `sidegate run` starts this program and gives it the ports and both tokens; the SDK reads them by
// itself. The program is the application too, by the same protocol as the client.

const assert = require("node:assert/strict");
const { HttpMethod } = require("@dapr/dapr");

const { PUBSUB, start } = require("./application.cjs");
const { connect, failure, refused } = require("./client.cjs");
const messages = require("./messages.cjs");
const report = require("./report.cjs");
const stores = require("./stores.cjs");
const { outgoing, read, stubs } = require("./stream.cjs");

const { APP_API_TOKEN, APP_ID, DAPR_API_TOKEN } = process.env;

const invokes = async (client) =>
  assert.deepEqual(await client.invoker.invoke(APP_ID, "echo", HttpMethod.POST, { a: "ä" }), {
    body: { a: "ä" },
    type: "application/json",
  });

// The calls that a sidecar refuses. They do not wait for it to start.
function callsOverHttp({ daprClient }) {
  const post = (path, body) => daprClient.execute(path, { method: "POST", body }, false);
  const get = (path) => daprClient.execute(path, { method: "GET" }, false);
  return [
    get("/state/memory/order"),
    post("/state/memory", [{ key: "order", value: "stolen" }]),
    get("/secrets/secrets/password"),
    get("/secrets/secrets/bulk"),
    post(`/invoke/${APP_ID}/method/echo`, {}),
    post(`/publish/${PUBSUB}/orders`, {}),
    post("/bindings/outside", { operation: "post", data: {} }),
    get("/metadata"),
  ];
}

async function callsOverGrpc(client) {
  const grpc = await stubs(client);
  const topic = { pubsubName: PUBSUB, topic: "orders" };
  const data = Buffer.from("stolen");
  return [
    grpc.getState({ storeName: "memory", key: "order" }),
    grpc.saveState({ storeName: "memory", states: [{ key: "order", value: data }] }),
    grpc.getSecret({ storeName: "secrets", key: "password" }),
    grpc.getBulkSecret({ storeName: "secrets" }),
    grpc.invokeService({ id: APP_ID, message: { method: "echo" } }),
    grpc.publishEvent({ ...topic, data }),
    grpc.bulkPublishEventAlpha1({ ...topic, entries: [] }),
    read(grpc.subscribeTopicEventsAlpha1(outgoing("orders").all)).next(),
    grpc.invokeBinding({ name: "outside", operation: "post", data: Buffer.from("{}") }),
    grpc.getConfiguration({ storeName: "settings", keys: ["color"] }),
    grpc.tryLockAlpha1({
      storeName: "locks",
      resourceId: "till",
      lockOwner: "thief",
      expiryInSeconds: 60,
    }),
    grpc.getMetadata({}),
  ];
}

// Without the right token the SDK takes the sidecar for one that never starts; what it was told
// shows in calls that do not wait for that.
const isRefused = (protocol, token) => async () => {
  const client = connect(protocol, token);
  const error = await failure(client.secret.get("secrets", "password"));
  assert.equal(error.message, "DAPR_SIDECAR_COULD_NOT_BE_STARTED");
  const calls = await (protocol === "http" ? callsOverHttp : callsOverGrpc)(client);
  const outcomes = await Promise.allSettled(calls.map((call) => refused(call, 401, 16)));
  await client.stop();
  const failed = outcomes.filter(({ status }) => status === "rejected");
  assert.deepEqual(failed, []);
};

const isHealthy = (client) => async () => assert.ok(await client.health.isHealthy());

async function main(protocol) {
  const inbox = await start(protocol);
  const client = connect(protocol);
  await messages.warmUp(client, inbox);
  // Over gRPC the SDK shows the token of messages only.
  const called = protocol === "http" ? ["/echo", "/tick"] : ["OnTopicEvent"];
  const passed = await report.take(protocol, {
    ...stores.steps(client, protocol),
    ...messages.steps(client, inbox, protocol),
    "invoke: a method of the app": () => invokes(client),
    "health: wait for the sidecar": isHealthy(client),
    // The SDK takes the environment's token where it is given none, but sends no empty one.
    "tokens: refused without one": isRefused(protocol, ""),
    "tokens: refused with a wrong one": isRefused(protocol, `${DAPR_API_TOKEN}x`),
    "tokens: refused with the app's": isRefused(protocol, APP_API_TOKEN),
    "tokens: the app's comes with each call": () => inbox.sawItsToken(...called),
  });
  process.exit(passed ? 0 : 1);
}

main(process.argv[2]);
