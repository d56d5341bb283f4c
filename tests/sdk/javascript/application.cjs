// The application beside the sidecar, with the SDK's server for HTTP or for gRPC.

const {
  CommunicationProtocolEnum,
  DaprPubSubStatusEnum,
  DaprServer,
  HttpMethod,
} = require("@dapr/dapr");
const express = require("express");

const { logger } = require("./client.cjs");
const { Inbox, WARM_UP } = require("./inbox.cjs");

const { HTTP, GRPC } = CommunicationProtocolEnum;
const { SUCCESS, RETRY, DROP } = DaprPubSubStatusEnum;
const { APP_API_TOKEN, APP_PORT } = process.env;
const PUBSUB = "pubsub";
const ROUTES = {
  default: "/default",
  rules: [{ match: 'event.type == "urgent"', path: "/urgent" }],
};
const BULK = { maxAwaitDurationMs: 10 };

exports.PUBSUB = PUBSUB;
exports.TOPICS = ["orders", "many", "dead", "retried", "refused"];

const listen = (communicationProtocol, more) =>
  new DaprServer({
    communicationProtocol,
    serverHost: "127.0.0.1",
    serverPort: APP_PORT,
    logger,
    ...more,
  });

const echo = async ({ body, metadata }) => ({
  body: JSON.parse(body),
  type: metadata.contentType,
});

// Serves with the one or the other until the program ends.
async function serve(server) {
  await server.invoker.listen("echo", echo, { method: HttpMethod.POST });
  await server.start();
}

// An event as it stands in a request of the sidecar.
const read = (event) => ({
  source: event.source,
  type: event.type,
  contentType: event.datacontenttype,
  data: event.data ?? Buffer.from(event.data_base64, "base64"),
});

// Notes every request of the sidecar when it is answered: the SDK's handlers get the data alone.
function noting(inbox) {
  const places = new Map(
    exports.TOPICS.map((topic) => [`/${PUBSUB}--${topic}--default`, topic]),
  ).set(`/${PUBSUB}--orders--urgent`, "urgent");
  return (request, response, next) => {
    response.on("finish", () => {
      const { body, path } = request;
      const tokens = request.headersDistinct["dapr-api-token"] ?? [];
      inbox.calls.push([path, tokens.length === 1 && tokens[0] === APP_API_TOKEN]);
      if (path === "/tick" && request.method === "POST") inbox.put("tick", {});
      if (!places.has(path)) return;
      const events = body.entries?.map((entry) => entry.event) ?? [body];
      for (const event of events) inbox.put(places.get(path), read(event));
    });
    next();
  };
}

async function startOverHttp() {
  const inbox = new Inbox();
  const serverHttp = express();
  serverHttp.use(noting(inbox));
  const server = listen(HTTP, { serverHttp });
  const { pubsub } = server;
  await pubsub.subscribe(PUBSUB, "orders", async () => {}, ROUTES);
  await pubsub.subscribeBulk(PUBSUB, "many", async () => {}, BULK);
  await pubsub.subscribe(PUBSUB, "dead", async () => {});
  // None of it has arrived at the first try, since that is noted when it is answered.
  await pubsub.subscribe(PUBSUB, "retried", async (data) =>
    data === WARM_UP || inbox.at("retried").length > 0 ? SUCCESS : RETRY,
  );
  await pubsub.subscribeWithOptions(PUBSUB, "refused", {
    deadLetterTopic: "dead",
    callback: async (data) => (data === WARM_UP ? SUCCESS : DROP),
  });
  await server.binding.receive("tick", async () => {});
  await serve(server);
  return inbox;
}

// Here the SDK shows nothing of a message but its data, and of bytes what text they make; streams
// are read without it.
const shown = (event, where) =>
  where === "streamed"
    ? event
    : { data: Buffer.isBuffer(event.data) ? new TextDecoder().decode(event.data) : event.data };

async function startOverGrpc() {
  const inbox = new Inbox(shown);
  const takes = (where, answer = () => SUCCESS) => async (data, headers) => {
    inbox.calls.push(["OnTopicEvent", headers["dapr-api-token"] === APP_API_TOKEN]);
    return answer(inbox.put(where, { data }));
  };
  const server = listen(GRPC);
  const { pubsub } = server;
  await pubsub.subscribeWithOptions(PUBSUB, "orders", { route: ROUTES });
  pubsub.subscribeToRoute(PUBSUB, "orders", "/default", takes("orders"));
  pubsub.subscribeToRoute(PUBSUB, "orders", "/urgent", takes("urgent"));
  await pubsub.subscribeBulk(PUBSUB, "many", takes("many"), BULK);
  await pubsub.subscribe(PUBSUB, "dead", takes("dead"));
  await pubsub.subscribe(
    PUBSUB,
    "retried",
    takes("retried", (which) => (which === 1 ? RETRY : SUCCESS)),
  );
  await pubsub.subscribeWithOptions(PUBSUB, "refused", {
    deadLetterTopic: "dead",
    callback: takes("refused", (which) => (which > 0 ? DROP : SUCCESS)),
  });
  await server.binding.receive("tick", async () => {
    inbox.put("tick", {});
  });
  await serve(server);
  return inbox;
}

// Starts to serve, up to the end of the program. Ends in the inbox.
exports.start = (protocol) => (protocol === "http" ? startOverHttp() : startOverGrpc());
