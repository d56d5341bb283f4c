// The application that others invoke, made with the SDK's server for HTTP.

const { CommunicationProtocolEnum, DaprServer, HttpMethod, LogLevel } = require("@dapr/dapr");

const { APP_API_TOKEN, APP_PORT } = process.env;

// What the application knows of a call. Node joins with a comma whatever came twice. The SDK does
// not say the HTTP method, but takes POST alone here.
const answer = async ({ body, query, metadata, headers }) => ({
  verb: "POST",
  query: query.slice(query.indexOf("?") + 1),
  contentType: metadata.contentType,
  body: JSON.parse(body),
  caller: headers["dapr-caller-app-id"],
  callee: headers["dapr-callee-app-id"],
  isOwnToken: headers["dapr-api-token"] === APP_API_TOKEN,
});

async function main() {
  const server = new DaprServer({
    communicationProtocol: CommunicationProtocolEnum.HTTP,
    serverHost: "127.0.0.1",
    serverPort: APP_PORT,
    logger: { level: LogLevel.Error },
  });
  await server.invoker.listen("orders/echo", answer, { method: HttpMethod.POST });
  await server.start();
}

main();
