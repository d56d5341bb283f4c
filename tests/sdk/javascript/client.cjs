// Clients of the sidecar, and how their calls fail.

const assert = require("node:assert/strict");
const { CommunicationProtocolEnum, DaprClient, LogLevel } = require("@dapr/dapr");

const { Settings } = require("@dapr/dapr/utils/Settings.util");

// The SDK asks for metadata 60 times before its first call, and half a second apart by default.
Settings.daprSidecarPollingDelayMs = 1;

const logger = { level: LogLevel.Error };
exports.logger = logger;

exports.connect = (protocol, daprApiToken) =>
  new DaprClient({
    communicationProtocol: CommunicationProtocolEnum[protocol.toUpperCase()],
    daprApiToken,
    logger,
  });

// Ends in the error that a call ends in. Some calls over HTTP hand it back, some over gRPC throw an
// object that has it.
const failure = (call) =>
  call.then(
    (answer) => answer?.error ?? assert.fail("a call was not refused"),
    (error) => error.error ?? error,
  );

// Asserts that a call is refused: HTTP errors carry the status in JSON, gRPC ones in a code.
exports.refused = async (call, httpStatus, grpcCode) => {
  const error = await failure(call);
  const code = error.code ?? JSON.parse(error.message).status;
  assert.ok(code === httpStatus || code === grpcCode, `${error}`);
};

exports.failure = failure;
