//! Service invocation: callers over HTTP and gRPC, apps that speak HTTP and gRPC, real sockets.

mod grpc;
mod http;
mod refusals;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ::http::{Request, Response};
use base64::Engine as _;
use bytes::Bytes;
use dapr::dapr::proto::common::v1::http_extension::Verb;
use dapr::dapr::proto::common::v1::{HttpExtension, InvokeRequest, InvokeResponse};
use dapr::dapr::proto::runtime::v1::InvokeServiceRequest;
use dapr::dapr::proto::runtime::v1::dapr_client::DaprClient;
use http_body_util::Full;
use prost_types::Any;
use sidegate::api::access::Access;
use sidegate::api::grpc::{GrpcApi, GrpcService};
use sidegate::api::http::cors::Cors;
use sidegate::api::http::{HttpApi, HttpService};
use sidegate::api::routes::Surface;
use sidegate::api::{Blocks, Door};
use sidegate::app_channel::{AppChannel, AppChannelConfig};
use sidegate::auth::tokens::ApiTokens;
use sidegate::blocks::health::Health;
use sidegate::blocks::invoke::Invoke;
use sidegate::blocks::metadata::{Facts, Live, Metadata};
use sidegate::blocks::secrets::Secrets;
use sidegate::blocks::shutdown::Shutdown;
use sidegate::process::listener::{ListenAddr, Listener};
use sidegate::process::readiness::Readiness;
use sidegate::process::serve::{Limits, Plain, serve};
use sidegate::registry::Registry;
use sidegate::testing::http_client::send;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::app_channel::token;

const TOKEN_HEADER: &str = "dapr-api-token";

/// The API listeners of a sidecar with the app id `app` in the namespace `ns`.
struct Sidecar {
    http: SocketAddr,
    grpc: SocketAddr,
    _servers: JoinSet<()>,
}

async fn bind() -> (Listener, SocketAddr) {
    let any = ([127, 0, 0, 1], 0).into();
    let listener = Listener::bind_tcp(any).await.unwrap();
    let &ListenAddr::Tcp(address) = listener.address() else {
        unreachable!("bound to TCP above")
    };
    (listener, address)
}

impl Sidecar {
    async fn of(app: AppChannelConfig) -> Self {
        Self::start(Some(app), None).await
    }

    async fn start(app: Option<AppChannelConfig>, api_token: Option<&str>) -> Self {
        Self::with_access(app, api_token, Access::default()).await
    }

    async fn with_access(
        app: Option<AppChannelConfig>,
        api_token: Option<&str>,
        access: Access,
    ) -> Self {
        let max_body = app.as_ref().map_or(1024, |app| app.max_body_bytes);
        let channel = app.map(|config| AppChannel::new(config).unwrap());
        let facts = Facts {
            app_id: "app".to_owned(),
            ..Facts::default()
        };
        let blocks = Blocks {
            health: Health::new("app", Readiness::new(), Readiness::new()),
            invoke: Arc::new(Invoke::new(channel, "app", "ns")),
            metadata: Arc::new(Metadata::new(facts, Live::default)),
            secrets: Secrets::new(Registry::empty()),
            shutdown: Shutdown::default(),
        };
        let tokens = ApiTokens::new(api_token.map(token));
        let mut door = Door {
            tokens,
            access,
            max_body,
            ..Door::default()
        };
        let http_api = HttpApi::new(Surface::Api, door.clone(), Cors::Off, blocks.clone());
        let http_api = HttpService::new(http_api);
        door.max_body = 1 << 20;
        let grpc_api = GrpcApi::new(door, blocks);
        let limits = Limits {
            header_bytes: 64 * 1024,
            header_timeout: Duration::from_secs(60),
            handshake_timeout: Duration::from_secs(60),
            connections: 100,
            streams: 100,
            drain: Duration::ZERO,
        };
        let (http_listener, http) = bind().await;
        let (grpc_listener, grpc) = bind().await;
        let mut servers = JoinSet::new();
        let limit = limits.clone();
        servers.spawn(async move {
            let shutdown = CancellationToken::new();
            let ended = serve(http_listener, Plain, http_api, limit, shutdown).await;
            ended.unwrap();
        });
        servers.spawn(async move {
            let (service, shutdown) = (GrpcService::new(grpc_api), CancellationToken::new());
            let ended = serve(grpc_listener, Plain, service, limits, shutdown).await;
            ended.unwrap();
        });
        Self {
            http,
            grpc,
            _servers: servers,
        }
    }

    async fn get(&self, path: &str) -> Response<Bytes> {
        send(self.http, Request::get(path).body(Full::default()).unwrap()).await
    }

    async fn invoke_service(
        &self,
        request: impl tonic::IntoRequest<InvokeServiceRequest>,
    ) -> Result<tonic::Response<InvokeResponse>, Status> {
        let mut client = DaprClient::connect(format!("http://{}", self.grpc))
            .await
            .unwrap();
        client.invoke_service(request).await
    }
}

fn message(id: &str, method: &str, verb: Verb) -> InvokeServiceRequest {
    InvokeServiceRequest {
        id: id.to_owned(),
        message: Some(InvokeRequest {
            method: method.to_owned(),
            data: Some(Any {
                type_url: String::new(),
                value: b"ping".to_vec(),
            }),
            content_type: "text/x".to_owned(),
            http_extension: Some(HttpExtension {
                verb: verb.into(),
                querystring: String::new(),
            }),
        }),
    }
}

fn error_body(message: &str) -> String {
    serde_json::json!({"errorCode": "ERR_DIRECT_INVOKE", "message": message}).to_string()
}

fn basic(id: &str) -> String {
    let credentials = format!("dapr-app-id:{id}");
    let encoded = base64::engine::general_purpose::STANDARD.encode(credentials);
    format!("Basic {encoded}")
}
