// The JavaScript SDK invokes the applications beside other sidecars, those in $SDK_CALLEES.
//
// `sidegate run` starts this program and gives it the ports and the token of its sidecar.

const assert = require("node:assert/strict");
const { setTimeout: sleep } = require("node:timers/promises");
const { HttpMethod } = require("@dapr/dapr");

const { connect } = require("./client.cjs");
const report = require("./report.cjs");

const { APP_ID, SDK_CALLEES } = process.env;

async function withClient(protocol, use) {
  const client = connect(protocol);
  try {
    return await use(client);
  } finally {
    await client.stop();
  }
}

const invoke = (client, callee, method) =>
  client.invoker.invoke(callee, method, HttpMethod.POST, { a: "ä" });

// The other sidecars start at the same time as this one.
async function finds(client, callee) {
  for (let triesLeft = 600; ; triesLeft--) {
    try {
      return await invoke(client, callee, "orders/echo");
    } catch (error) {
      if (triesLeft === 0) throw error;
      await sleep(100);
    }
  }
}

// The SDK has no query over gRPC.
const invokes = async (client, callee, query) =>
  assert.deepEqual(await invoke(client, callee, query ? `orders/echo?${query}` : "orders/echo"), {
    // Python's SDK shows neither to the app.
    verb: callee === "callee-python" ? "" : "POST",
    query: callee === "callee-python" ? "" : query,
    contentType: "application/json",
    body: { a: "ä" },
    caller: APP_ID,
    callee,
    isOwnToken: true,
  });

// Python's SDK says that a method is not implemented, Go's gives an error without a code. Errors over
// HTTP carry the status in JSON, those over gRPC a code.
async function missesAMethod(client, callee) {
  const expected = { "callee-python": [501, 12], "callee-go": [500, 2] };
  const error = await invoke(client, callee, "missing").then(
    () => assert.fail("a method that does not exist was called"),
    (error) => error,
  );
  const [status, code] = expected[callee];
  if (error.code === undefined) assert.equal(JSON.parse(error.message).status, status);
  else assert.equal(error.code, code);
}

async function main() {
  const cases = SDK_CALLEES.split(" ").flatMap((callee) => [
    [`finds ${callee}`, () => withClient("http", (client) => finds(client, callee))],
    ...[
      ["http", "HTTP", "a=1&b=%C3%A4"],
      ["grpc", "gRPC", ""],
    ].flatMap(([protocol, spoken, query]) => [
      [
        `invokes ${callee} over ${spoken}`,
        () => withClient(protocol, (client) => invokes(client, callee, query)),
      ],
      [
        `is told by ${callee} that a method is missing, over ${spoken}`,
        () => withClient(protocol, (client) => missesAMethod(client, callee)),
      ],
    ]),
  ]);
  process.exit((await report.run(cases)) ? 0 : 1);
}

main();
