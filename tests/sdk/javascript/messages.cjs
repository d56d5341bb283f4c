// The JavaScript SDK publishes and gets messages, and uses bindings, beside a sidecar of its own.
//
// `sidegate run` starts this program and gives it the ports and both tokens; the SDK reads them by
// itself. The program is the application too, with the SDK's server for HTTP. What is published is
// tested by what arrives. Each case writes one line to the file $SDK_RESULTS.

const assert = require("node:assert/strict");
const { setTimeout: sleep } = require("node:timers/promises");
const {
  CommunicationProtocolEnum,
  DaprClient,
  DaprPubSubStatusEnum,
  DaprServer,
  LogLevel,
} = require("@dapr/dapr");
const express = require("express");

const { Settings } = require("@dapr/dapr/utils/Settings.util");
const report = require("./report.cjs");

const { HTTP, GRPC } = CommunicationProtocolEnum;
const { SUCCESS, RETRY, DROP } = DaprPubSubStatusEnum;
const { APP_API_TOKEN, APP_ID, APP_PORT, DAPR_API_TOKEN } = process.env;
const PUBSUB = "pubsub";
const WARM_UP = "warm-up";
const logger = { level: LogLevel.Error };

// The SDK asks for metadata 60 times before its first call, and half a second apart by default.
Settings.daprSidecarPollingDelayMs = 1;

// Every request of the sidecar that was answered, and whether the app's token came with it and no
// other.
const requests = [];
// What the stream got.
const streamed = [];

function note(request, response, next) {
  response.on("finish", () => {
    const tokens = request.headersDistinct["dapr-api-token"] ?? [];
    const isOwnToken = tokens.length === 1 && tokens[0] === APP_API_TOKEN;
    requests.push({ verb: request.method, path: request.path, isOwnToken, body: request.body });
  });
  next();
}

// Where the SDK has the messages of a topic sent to.
const route = (topic, name = "default") => `/${PUBSUB}--${topic}--${name}`;

const posts = (asked) => requests.filter(({ verb, path }) => verb === "POST" && path === asked);

const isWarmUp = (event) => event.data === WARM_UP;

// The events that arrived there; those of a bulk one by one.
const arrived = (path) =>
  posts(path)
    .flatMap(({ body }) => body.entries?.map((entry) => entry.event) ?? [body])
    .filter((event) => !isWarmUp(event));

// Waits until something holds, for about a minute.
async function eventually(holds) {
  for (let triesLeft = 600; !holds() && triesLeft > 0; triesLeft--) await sleep(100);
  return holds();
}

// Asserts that the events are these, in any order.
function areEvents(events, expected) {
  const seen = events.map((event) => ({
    source: event.source,
    type: event.type,
    contentType: event.datacontenttype,
    data: event.data ?? Buffer.from(event.data_base64, "base64"),
  }));
  const text = (all) => all.map((one) => JSON.stringify(one)).sort();
  assert.deepEqual(text(seen), text(expected));
}

async function got(path, ...expected) {
  await eventually(() => arrived(path).length >= expected.length);
  areEvents(arrived(path), expected);
}

// What arrives of data.
const sent = (data, contentType = "text/plain", type = "com.dapr.event.sent") => ({
  source: APP_ID,
  type,
  contentType,
  data,
});

async function startServer() {
  const serverHttp = express();
  serverHttp.use(note);
  const server = new DaprServer({
    communicationProtocol: HTTP,
    serverHost: "127.0.0.1",
    serverPort: APP_PORT,
    serverHttp,
    logger,
  });
  const { pubsub } = server;
  const rules = [{ match: 'event.type == "urgent"', path: "/urgent" }];
  await pubsub.subscribe(PUBSUB, "orders", async () => {}, { default: "/default", rules });
  await pubsub.subscribeBulk(PUBSUB, "many", async () => {}, { maxAwaitDurationMs: 10 });
  await pubsub.subscribe(PUBSUB, "dead", async () => {});
  // None of it has arrived at the first try, since that is noted when it is answered.
  await pubsub.subscribe(PUBSUB, "retried", async (data) =>
    data === WARM_UP || arrived(route("retried")).length > 0 ? SUCCESS : RETRY,
  );
  await pubsub.subscribeWithOptions(PUBSUB, "refused", {
    deadLetterTopic: "dead",
    callback: async (data) => (data === WARM_UP ? SUCCESS : DROP),
  });
  await server.binding.receive("tick", async () => {});
  await server.start();
}

// The sidecar subscribes as soon as the app listens, which it does not wait for.
async function isSubscribed(client) {
  for (const topic of ["orders", "many", "dead", "retried", "refused"]) {
    const warmUps = () => posts(route(topic)).length;
    for (let triesLeft = 600; warmUps() === 0; triesLeft--) {
      assert.ok(triesLeft > 0, `nothing arrives of topic ${topic}`);
      await publish(client, topic, WARM_UP);
      await sleep(100);
    }
  }
}

// Over HTTP the SDK hands back the error, over gRPC it throws an object that has it.
async function publish(client, topic, data, options) {
  const { error } = await client.pubsub.publish(PUBSUB, topic, data, options).catch((e) => e);
  if (error) throw error;
}

const publishes = async (clients) => {
  for (const client of clients) {
    await publish(client, "orders", { a: "ä" });
    await publish(client, "orders", "grüß");
    await publish(client, "orders", Buffer.from([0, 255]));
  }
  const expected = [
    sent({ a: "ä" }, "application/json"),
    sent("grüß"),
    sent(Buffer.from([0, 255]), "application/octet-stream"),
  ];
  await got(route("orders"), ...expected, ...expected);
};

const publishesMany = async (clients) => {
  for (const client of clients) {
    const { failedMessages } = await client.pubsub.publishBulk(PUBSUB, "many", [{ n: 1 }, "two"]);
    assert.deepEqual(failedMessages, []);
  }
  const expected = [sent({ n: 1 }, "application/json"), sent("two")];
  await got(route("many"), ...expected, ...expected);
};

const isRouted = async (client) => {
  await publish(client, "orders", "now", { metadata: { "cloudevent.type": "urgent" } });
  await got(route("orders", "urgent"), sent("now", "text/plain", "urgent"));
};

const getsAgain = async (client) => {
  await publish(client, "retried", "again");
  await got(route("retried"), sent("again"), sent("again"));
};

const drops = async (client) => {
  await publish(client, "refused", "no");
  await got(route("refused"), sent("no"));
  await got(route("dead"), sent("no"));
};

const read = (stream) => stream[Symbol.asyncIterator]();

// The stubs of a client; the SDK has nothing of its own for streams.
const stubs = (client) => client.daprClient.getClient(false);

// The calls of a subscription by stream: the first one, then whatever is added, up to the end.
function outgoing(topic) {
  const pending = [
    { case: "initialRequest", value: { pubsubName: PUBSUB, topic, metadata: {} } },
  ];
  let wake = () => {};
  const add = (value) => {
    pending.push({ case: "eventProcessed", value });
    wake();
  };
  async function* all() {
    for (;;) {
      while (pending.length > 0) yield { subscribeTopicEventsRequestType: pending.shift() };
      await new Promise((woken) => (wake = woken));
    }
  }
  return { add, all: all() };
}

const STATUS = { [SUCCESS]: 0, [RETRY]: 1, [DROP]: 2 };

// Answers what a stream gets, as long as it lasts. The second message is refused once.
async function answer(responses, add) {
  for await (const { subscribeTopicEventsResponseType: response } of responses) {
    if (response.case !== "eventMessage") continue;
    const event = response.value;
    const data = Buffer.from(event.data).toString();
    const which = streamed.push({
      source: event.source,
      type: event.type,
      datacontenttype: event.dataContentType,
      data,
    });
    const status = STATUS[data === "drop" ? DROP : which === 2 ? RETRY : SUCCESS];
    add({ id: event.id, status: { status } });
  }
}

// With a subscription that lasts to the end: it gets nothing twice either.
const streams = async (client) => {
  const { add, all } = outgoing("streamed");
  const responses = read((await stubs(client)).subscribeTopicEventsAlpha1(all));
  const { value: first } = await responses.next();
  assert.equal(first.subscribeTopicEventsResponseType.case, "initialResponse");
  const rest = { [Symbol.asyncIterator]: () => responses };
  answer(rest, add).catch((error) => console.error("the stream ended:", error));
  const expected = [];
  for (const [text, times] of [["keep", 1], ["again", 2], ["drop", 1], ["last", 1]]) {
    await publish(client, "streamed", text);
    expected.push(...Array(times).fill(sent(text)));
    await eventually(() => streamed.length >= expected.length);
    areEvents(streamed, expected);
  }
};

const usesAnOutputBinding = async (client) => {
  const answer = await client.binding.send("outside", "post", { a: "ä" }, { path: "/orders" });
  // Over HTTP the SDK hands back the answer, over gRPC an object that has it as bytes.
  const seen = answer.operation ? JSON.parse(Buffer.from(answer.data).toString()) : answer;
  assert.deepEqual(seen, { verb: "POST", path: "/orders", body: { a: "ä" }, tokens: [] });
};

const usesAnInputBinding = async () =>
  assert.ok(await eventually(() => posts("/tick").length >= 2), "no ticks");

async function withClient(communicationProtocol, daprApiToken, use) {
  const client = new DaprClient({ communicationProtocol, daprApiToken, logger });
  try {
    await use(client);
  } finally {
    await client.stop();
  }
}

// The error that a call ends in.
const failure = (call) =>
  call.then(
    () => assert.fail("a call was not refused"),
    (error) => error,
  );

// Without the right token the SDK takes the sidecar for one that never starts; these calls do not
// wait for that.
async function isRefused(token) {
  await withClient(HTTP, token, async ({ daprClient: sdk }) => {
    const params = { method: "POST", body: { operation: "post", data: {} } };
    for (const path of [`/publish/${PUBSUB}/orders`, "/bindings/outside"]) {
      const error = await failure(sdk.execute(path, params, false));
      assert.equal(JSON.parse(error.message).status, 401);
    }
  });
  await withClient(GRPC, token, async (client) => {
    const grpc = await stubs(client);
    const topic = { pubsubName: PUBSUB, topic: "orders" };
    for (const call of [
      () => grpc.publishEvent({ ...topic, data: Buffer.from("stolen") }),
      () => grpc.bulkPublishEventAlpha1({ ...topic, entries: [] }),
      () => grpc.invokeBinding({ name: "outside", operation: "post", data: Buffer.from("{}") }),
      () => read(grpc.subscribeTopicEventsAlpha1(outgoing("orders").all)).next(),
    ]) {
      assert.equal((await failure(call())).code, 16);
    }
  });
}

const gotNothingElse = async () => {
  const routes = ["orders", "many", "retried", "refused", "dead"].map((topic) => route(topic));
  const counts = [...routes, route("orders", "urgent")].map((path) => arrived(path).length);
  assert.deepEqual([...counts, streamed.length], [6, 4, 2, 1, 1, 1, 5]);
};

const sawItsToken = async () =>
  assert.deepEqual(
    requests.filter((request) => !request.isOwnToken),
    [],
  );

async function main() {
  await startServer();
  const clients = [HTTP, GRPC].map(
    (communicationProtocol) => new DaprClient({ communicationProtocol, logger }),
  );
  const [http, grpc] = clients;
  const passed = await report.run([
    ["is subscribed to its topics", () => isSubscribed(http)],
    ["publishes JSON, text and bytes", () => publishes(clients)],
    ["publishes many messages at once", () => publishesMany(clients)],
    ["gets messages by a rule", () => isRouted(http)],
    ["gets a message again that it could not handle", () => getsAgain(http)],
    ["drops a message to the dead letter topic", () => drops(grpc)],
    ["gets messages in a stream", () => streams(grpc)],
    ["uses an output binding over HTTP", () => usesAnOutputBinding(http)],
    ["uses an output binding over gRPC", () => usesAnOutputBinding(grpc)],
    ["uses an input binding", usesAnInputBinding],
    // The SDK takes the environment's token where it is given none, but sends no empty one.
    ["sends no message without the token", () => isRefused("")],
    ["sends no message with a wrong token", () => isRefused(`${DAPR_API_TOKEN}x`)],
    ["sends no message with the app's token", () => isRefused(APP_API_TOKEN)],
    ["got no message twice", gotNothingElse],
    ["saw the app's token with each call", sawItsToken],
  ]);
  process.exit(passed ? 0 : 1);
}

main();
