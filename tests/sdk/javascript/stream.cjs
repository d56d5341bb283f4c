// A subscription by stream, with the SDK's stubs: its client has nothing for streams.

const assert = require("node:assert/strict");

const { PUBSUB } = require("./application.cjs");

// The stubs of a client.
exports.stubs = (client) => client.daprClient.getClient(false);

exports.read = (stream) => stream[Symbol.asyncIterator]();

// The calls of a subscription: the first one, then whatever is added, up to the end.
exports.outgoing = (topic) => {
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
};

// The data of an event as it was published.
function dataOf({ data, dataContentType }) {
  const bytes = Buffer.from(data);
  if (dataContentType === "application/octet-stream") return bytes;
  const text = bytes.toString();
  return dataContentType === "application/json" ? JSON.parse(text) : text;
}

const STATUS = { success: 0, retry: 1, drop: 2 };

// Answers what a stream gets, as long as it lasts. The second message is refused once.
async function answer(responses, add, inbox) {
  for await (const { subscribeTopicEventsResponseType: response } of responses) {
    if (response.case !== "eventMessage") continue;
    const { id, ...event } = response.value;
    const data = dataOf(event);
    const { source, type, dataContentType: contentType } = event;
    const which = inbox.put("streamed", { source, type, contentType, data });
    const status = data === "drop" ? "drop" : which === 2 ? "retry" : "success";
    add({ id, status: { status: STATUS[status] } });
  }
}

// Subscribes to the topic `streamed` up to the end of the program.
exports.subscribe = async (client, inbox) => {
  const { add, all } = exports.outgoing("streamed");
  const responses = exports.read((await exports.stubs(client)).subscribeTopicEventsAlpha1(all));
  const { value: first } = await responses.next();
  assert.equal(first.subscribeTopicEventsResponseType.case, "initialResponse");
  const rest = { [Symbol.asyncIterator]: () => responses };
  answer(rest, add, inbox).catch((error) => console.error("the stream ended:", error));
};
