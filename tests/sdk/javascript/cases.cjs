// The JavaScript SDK against a sidecar, from inside the application that the sidecar belongs to.
//
// `sidegate run` starts this program and gives it the ports and both tokens; the SDK reads them by
// itself. Each case writes one line to the file $SDK_RESULTS.

const assert = require("node:assert/strict");
const http = require("node:http");
const { CommunicationProtocolEnum, DaprClient, HttpMethod, LogLevel } = require("@dapr/dapr");

const { Settings } = require("@dapr/dapr/utils/Settings.util");
const report = require("./report.cjs");

const { HTTP, GRPC } = CommunicationProtocolEnum;
const { APP_API_TOKEN, APP_PORT, DAPR_API_TOKEN } = process.env;
const APP_ID = "sdk";
const STORE = "secrets";

// The SDK asks for metadata 60 times before its first call, and half a second apart by default.
Settings.daprSidecarPollingDelayMs = 1;

// Answers with what it was asked.
const app = http.createServer(async (request, response) => {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  const tokens = request.headersDistinct["dapr-api-token"] ?? [];
  response.setHeader("content-type", "application/json");
  response.end(
    JSON.stringify({
      path: request.url,
      body: JSON.parse(Buffer.concat(chunks).toString() || "null"),
      isOwnToken: tokens.length === 1 && tokens[0] === APP_API_TOKEN,
    }),
  );
});

async function withClient(communicationProtocol, daprApiToken, use) {
  const logger = { level: LogLevel.Error };
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
    () => assert.fail("the call was not refused"),
    (error) => error,
  );

// Asserts that a call is refused: HTTP errors carry the status in JSON, gRPC ones in a code.
async function refused(call, httpStatus, grpcCode) {
  const error = await failure(call);
  const code = error.code ?? JSON.parse(error.message).status;
  assert.ok(code === httpStatus || code === grpcCode, `${error}`);
}

const readsASecret = (client) => async () =>
  assert.deepEqual(await client.secret.get(STORE, "password"), { password: "hunter2" });

const readsAllAllowedSecrets = (client) => async () =>
  assert.deepEqual(await client.secret.getBulk(STORE), { password: { password: "hunter2" } });

const isDeniedASecretByScope = (client) => () =>
  refused(client.secret.get(STORE, "denied"), 403, 7);

const invokesItsApp = (client) => async () =>
  assert.deepEqual(await client.invoker.invoke(APP_ID, "orders/1", HttpMethod.POST, { a: "ä" }), {
    path: "/orders/1",
    body: { a: "ä" },
    isOwnToken: true,
  });

// Without the right token the SDK takes the sidecar for one that never starts; what it was told
// shows in a call that does not wait for that.
const isRefused = (client) => async () => {
  const error = await failure(client.secret.get(STORE, "password"));
  assert.equal(error.message, "DAPR_SIDECAR_COULD_NOT_BE_STARTED");
  const sdk = client.daprClient;
  const call =
    client.options.communicationProtocol === HTTP
      ? sdk.execute(`/secrets/${STORE}/password`, undefined, false)
      : sdk.getClient(false).then((grpc) => grpc.getSecret({ storeName: STORE, key: "password" }));
  await refused(call, 401, 16);
};

const CASES = [
  ["reads a secret", DAPR_API_TOKEN, readsASecret],
  ["reads all allowed secrets", DAPR_API_TOKEN, readsAllAllowedSecrets],
  ["is denied a secret by scope", DAPR_API_TOKEN, isDeniedASecretByScope],
  ["invokes its app", DAPR_API_TOKEN, invokesItsApp],
  // The SDK takes the environment's token where it is given none, but sends no empty one.
  ["is refused without the token", "", isRefused],
  ["is refused with a wrong token", `${DAPR_API_TOKEN}x`, isRefused],
  ["is refused with the app's token", APP_API_TOKEN, isRefused],
];

async function main() {
  await new Promise((listening) => app.listen(Number(APP_PORT), "127.0.0.1", listening));
  const cases = [
    [HTTP, "HTTP"],
    [GRPC, "gRPC"],
  ].flatMap(([protocol, spoken]) =>
    CASES.map(([name, token, body]) => [
      `${name} over ${spoken}`,
      () => withClient(protocol, token, (client) => body(client)()),
    ]),
  );
  process.exit((await report.run(cases)) ? 0 : 1);
}

main();
