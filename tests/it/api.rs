//! The HTTP API behind a real socket: tokens, CORS, health, metadata.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use sidegate::api::http::cors::Cors;
use sidegate::api::http::{HttpApi, HttpService};
use sidegate::api::routes::Surface;
use sidegate::api::{Blocks, Door};
use sidegate::auth::tokens::ApiTokens;
use sidegate::base::token::Token;
use sidegate::blocks::metadata::{Facts, Live, Metadata};
use sidegate::process::listener::{ListenAddr, Listener};
use sidegate::process::serve::{Limits, Plain, serve};
use sidegate::testing::idle_blocks::idle_blocks;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// A listener of the API with the token `t`, or with none.
struct Api {
    address: SocketAddr,
    _server: JoinSet<()>,
}

async fn start(surface: Surface, token: Option<&str>, cors: Cors) -> Api {
    let tokens = Token::parse("DAPR_API_TOKEN", token).unwrap();
    let door = Door {
        tokens: ApiTokens::new(tokens.map(|parsed| parsed.token)),
        max_body: 64,
        ..Door::default()
    };
    let facts = Facts {
        app_id: "app".to_owned(),
        ..Facts::default()
    };
    let live = || Live {
        resiliencies: vec!["patient".to_owned()],
        ..Live::default()
    };
    let blocks = Blocks {
        metadata: Arc::new(Metadata::new(facts, live)),
        ..idle_blocks("app")
    };
    let service = HttpService::new(HttpApi::new(surface, door, cors, blocks));
    let listener = Listener::bind_tcp("127.0.0.1:0".parse().unwrap())
        .await
        .unwrap();
    let ListenAddr::Tcp(address) = *listener.address() else {
        panic!("not TCP")
    };
    let limits = Limits {
        header_bytes: 8192,
        header_timeout: Duration::from_secs(30),
        handshake_timeout: Duration::from_secs(30),
        connections: 100,
        streams: 100,
        drain: Duration::ZERO,
    };
    let mut server = JoinSet::new();
    server.spawn(async move {
        let ended = serve(listener, Plain, service, limits, CancellationToken::new()).await;
        ended.unwrap();
    });
    Api {
        address,
        _server: server,
    }
}

impl Api {
    /// Sends a request as it stands, and returns the status with the whole answer.
    async fn send(&self, head: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let lines = head.replace('\n', "\r\n");
        let text = format!("{lines}\r\nhost: a\r\nconnection: close\r\n\r\n");
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        let answer = String::from_utf8(answer).unwrap();
        let status = answer.split(' ').nth(1).unwrap_or_default();
        (status.parse().unwrap_or_default(), answer)
    }

    async fn status(&self, head: &str) -> u16 {
        self.send(head).await.0
    }
}

#[tokio::test]
async fn a_call_without_the_token_gets_daprs_401() {
    let api = start(Surface::Api, Some("t"), Cors::Off).await;
    let (status, answer) = api.send("GET /v1.0/metadata HTTP/1.1").await;
    assert_eq!(status, 401);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(
        head.contains("content-type: text/plain; charset=utf-8"),
        "{head}"
    );
    assert!(head.contains("x-content-type-options: nosniff"), "{head}");
    assert_eq!(body, "invalid api token\n");
}

#[tokio::test]
async fn metadata_names_the_resiliency_that_counts() {
    let api = start(Surface::Api, None, Cors::Off).await;
    let (_, answer) = api.send("GET /v1.0/metadata HTTP/1.1").await;
    let expected = r#""resiliencies":[{"name":"patient"}]"#;
    assert!(answer.contains(expected), "{answer}");
}

#[tokio::test]
async fn only_the_first_token_header_counts() {
    let api = start(Surface::Api, Some("t"), Cors::Off).await;
    for (headers, expected) in [
        ("dapr-api-token: t", 200),
        ("DAPR-API-TOKEN: t", 200),
        ("dapr-api-token: t\ndapr-api-token: x", 200),
        ("dapr-api-token: x\ndapr-api-token: t", 401),
        ("dapr-api-token: T", 401),
        ("dapr-api-token:", 401),
        ("authorization: Bearer t", 401),
        ("cookie: dapr-api-token=t", 401),
    ] {
        let status = api
            .status(&format!("GET /v1.0/metadata HTTP/1.1\n{headers}"))
            .await;
        assert_eq!(status, expected, "{headers:?}");
    }
    let query = "GET /v1.0/metadata?dapr-api-token=t HTTP/1.1";
    assert_eq!(api.status(query).await, 401);
}

#[tokio::test]
async fn only_the_matched_health_routes_are_exempt() {
    let api = start(Surface::Api, Some("t"), Cors::Off).await;
    for (request, expected) in [
        ("GET /v1.0/healthz", 204),
        ("GET /v1.0/healthz/", 204),
        ("GET //v1.0//healthz", 204),
        ("GET /v1.0/healthz?appid=app", 204),
        ("GET /v1.0/healthz?appid=other", 500),
        ("GET /v1.0/healthz/outbound", 204),
        ("GET http://elsewhere/v1.0/healthz", 204),
        ("HEAD /v1.0/healthz", 401),
        ("PUT /v1.0/healthz", 401),
        ("POST /v1.0/healthz", 401),
        ("GET /v1.0/healthzz", 401),
        ("GET /v1.0/healthz/x", 401),
        ("GET /v1.0/%68ealthz", 401),
        ("GET /v1.0/healthz%2foutbound", 401),
        ("GET /%2fv1.0/healthz", 401),
        ("GET /v1.0/healthz;x", 401),
        ("GET /v1.0/Healthz", 401),
        ("GET /v1.0/metadata?x=/v1.0/healthz", 401),
        ("GET /v1.0/metadata/v1.0/healthz", 401),
        ("GET /v1.0/%zz", 401),
    ] {
        let head = format!("{request} HTTP/1.1\ndapr-app-id: app");
        assert_eq!(api.status(&head).await, expected, "{request}");
    }
}

#[tokio::test]
async fn an_unknown_path_is_told_only_to_a_caller_with_the_token() {
    let api = start(Surface::Api, Some("t"), Cors::Off).await;
    assert_eq!(api.status("GET /nope HTTP/1.1").await, 401);
    let (status, answer) = api.send("GET /nope HTTP/1.1\ndapr-api-token: t").await;
    assert_eq!(status, 404);
    let body = concat!(
        r#"{"errorCode":"ERR_DIRECT_INVOKE","message":"failed getting app id either from the "#,
        r#"URL path or the header dapr-app-id"}"#
    );
    assert!(answer.ends_with(body), "{answer}");
    let broken = "GET /%zz HTTP/1.1\ndapr-api-token: t";
    assert_eq!(api.status(broken).await, 400);
}

#[tokio::test]
async fn the_public_port_serves_health_and_metadata_with_the_token() {
    let api = start(Surface::Public, Some("t"), Cors::Off).await;
    let token = "\ndapr-api-token: t";
    for (request, header, expected) in [
        ("GET /v1.0/healthz", "", 204),
        ("GET /v1.0/metadata", "", 401),
        ("GET /v1.0/metadata", token, 200),
        ("PUT /v1.0/metadata/a", "", 401),
        ("PUT /v1.0/metadata/a", token, 404),
        ("GET /nope", token, 404),
    ] {
        let head = format!("{request} HTTP/1.1{header}");
        assert_eq!(api.status(&head).await, expected, "{request} {header}");
    }
    let open = start(Surface::Public, None, Cors::Off).await;
    assert_eq!(open.status("GET /v1.0/metadata HTTP/1.1").await, 200);
    assert_eq!(open.status("PUT /v1.0/metadata/a HTTP/1.1").await, 404);
}

#[tokio::test]
async fn a_preflight_needs_no_token_where_origins_are_allowed() {
    let preflight = "OPTIONS /v1.0/metadata HTTP/1.1\norigin: http://a\n\
                     access-control-request-method: GET";
    let off = start(Surface::Api, Some("t"), Cors::Off).await;
    assert_eq!(off.status(preflight).await, 401);
    let any = start(Surface::Api, Some("t"), Cors::Any).await;
    let (status, answer) = any.send(preflight).await;
    assert_eq!(status, 200);
    assert!(
        answer.contains("access-control-allow-origin: *"),
        "{answer}"
    );
    let call = "GET /v1.0/metadata HTTP/1.1\norigin: http://a";
    let (status, answer) = any.send(call).await;
    assert_eq!(status, 401);
    assert!(
        answer.contains("access-control-allow-origin: *"),
        "{answer}"
    );
}

#[tokio::test]
async fn limits_of_head_and_body_have_their_own_statuses() {
    let api = start(Surface::Api, None, Cors::Off).await;
    let long = "x".repeat(20_000);
    let head = format!("GET /v1.0/metadata HTTP/1.1\nx: {long}");
    assert_eq!(api.status(&head).await, 431);
    let head = "PUT /v1.0/metadata/a HTTP/1.1\ncontent-length: 65";
    assert_eq!(api.status(head).await, 413);
}
