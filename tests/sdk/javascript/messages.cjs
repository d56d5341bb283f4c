// The steps of publishing and subscribing, and of bindings. What is published is tested by what
// arrives at the application.

const assert = require("node:assert/strict");
const { setTimeout: sleep } = require("node:timers/promises");

const { PUBSUB, TOPICS } = require("./application.cjs");
const { WARM_UP, eventually, sent } = require("./inbox.cjs");
const { lacks, noted } = require("./report.cjs");
const stream = require("./stream.cjs");

// Over HTTP the SDK hands back the error, over gRPC it throws an object that has it.
async function publish(client, topic, data, options) {
  const { error } = await client.pubsub.publish(PUBSUB, topic, data, options).catch((e) => e);
  if (error) throw error;
}

// The sidecar subscribes as soon as the app listens, which it does not wait for.
exports.warmUp = async (client, inbox) => {
  for (const topic of TOPICS) {
    const arrived = inbox.at(`${WARM_UP} of ${topic}`);
    for (let triesLeft = 600; arrived.length === 0; triesLeft--) {
      assert.ok(triesLeft > 0, `nothing arrives of topic ${topic}`);
      await publish(client, topic, WARM_UP);
      await sleep(100);
    }
  }
};

async function publishes(client, inbox) {
  await publish(client, "orders", { a: "ä" });
  await publish(client, "orders", "grüß");
  await publish(client, "orders", Buffer.from([0, 255]));
  await inbox.got(
    "orders",
    sent({ a: "ä" }, "application/json"),
    sent("grüß"),
    sent(Buffer.from([0, 255]), "application/octet-stream"),
  );
}

async function publishesMany(client, inbox) {
  const { failedMessages } = await client.pubsub.publishBulk(PUBSUB, "many", [{ n: 1 }, "two"]);
  assert.deepEqual(failedMessages, []);
  await inbox.got("many", sent({ n: 1 }, "application/json"), sent("two"));
}

async function subscribes(client, inbox) {
  await publish(client, "orders", { n: 1 });
  await inbox.got("orders", sent({ n: 1 }, "application/json"));
}

async function isRouted(client, inbox) {
  await publish(client, "orders", "now", { metadata: { "cloudevent.type": "urgent" } });
  await inbox.got("urgent", sent("now", "text/plain", "urgent"));
}

async function getsAgain(client, inbox) {
  await publish(client, "retried", "again");
  await inbox.got("retried", sent("again"), sent("again"));
}

async function drops(client, inbox) {
  await publish(client, "refused", "no");
  await inbox.got("refused", sent("no"));
  await inbox.got("dead", sent("no"));
}

// With a subscription that lasts to the end: it gets nothing twice either.
async function streams(client, inbox) {
  await stream.subscribe(client, inbox);
  for (const [text, times] of [["keep", 1], ["again", 2], ["drop", 1], ["last", 1]]) {
    await publish(client, "streamed", text);
    await inbox.got("streamed", ...Array(times).fill(sent(text)));
  }
  await publish(client, "streamed", { a: "ä" });
  await publish(client, "streamed", Buffer.from([0, 255]));
  await inbox.got(
    "streamed",
    sent({ a: "ä" }, "application/json"),
    sent(Buffer.from([0, 255]), "application/octet-stream"),
  );
}

async function usesAnOutputBinding(client) {
  const answer = await client.binding.send("outside", "post", { a: "ä" }, { path: "/orders" });
  // Over HTTP the SDK hands back the answer, over gRPC an object that has it as bytes.
  const seen = answer.operation ? JSON.parse(Buffer.from(answer.data).toString()) : answer;
  assert.deepEqual(seen, { verb: "POST", path: "/orders", body: { a: "ä" }, tokens: [] });
}

const usesAnInputBinding = async (_, inbox) =>
  assert.ok(await eventually(() => inbox.at("tick").length >= 2), "no ticks");

exports.steps = (client, inbox, protocol) => {
  const bound = (step) => () => step(client, inbox);
  return {
    "publish: JSON, text and bytes": bound(publishes),
    "publish: many at once": bound(publishesMany),
    "subscribe: to topics": bound(subscribes),
    "subscribe: with a rule": bound(isRouted),
    "subscribe: again after a failure": bound(getsAgain),
    "subscribe: dead letters": bound(drops),
    "subscribe: in a stream":
      protocol === "http"
        ? lacks("Streams of messages are gRPC.")
        : noted(bound(streams), "With the SDK's stubs: its client has no call for it."),
    "bind: output": bound(usesAnOutputBinding),
    "bind: input": bound(usesAnInputBinding),
    "subscribe: nothing twice": () => inbox.gotNothingElse(),
  };
};
