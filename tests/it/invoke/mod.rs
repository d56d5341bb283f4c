//! Service invocation: callers over HTTP and gRPC, apps that speak HTTP and gRPC, real sockets.

mod grpc;
mod http;
mod outside;
mod peers;
mod refusals;

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ::http::{Request, Response};
use base64::Engine as _;
use bytes::Bytes;
use dapr::dapr::proto::common::v1::http_extension::Verb;
use dapr::dapr::proto::common::v1::{HttpExtension, InvokeRequest, InvokeResponse};
use dapr::dapr::proto::runtime::v1::InvokeServiceRequest;
use dapr::dapr::proto::runtime::v1::dapr_client::DaprClient;
use http_body_util::Full;
use hyper::body::Incoming;
use prost_types::Any;
use sidegate::api::access::Access;
use sidegate::api::grpc::{GrpcApi, GrpcService};
use sidegate::api::http::cors::Cors;
use sidegate::api::http::{HttpApi, HttpService};
use sidegate::api::internal::InternalService;
use sidegate::api::routes::Surface;
use sidegate::api::{Blocks, Door};
use sidegate::app_channel::{AppChannel, AppChannelConfig};
use sidegate::auth::tokens::ApiTokens;
use sidegate::base::spiffe_id::SpiffeId;
use sidegate::blocks::invoke::{Forwarding, Invoke};
use sidegate::blocks::metadata::{Facts, Live, Metadata};
use sidegate::peers::Peers;
use sidegate::peers::access_control::AccessControl;
use sidegate::peers::identity::Mtls;
use sidegate::peers::name_resolution::address::PeerAddress;
use sidegate::peers::name_resolution::{Lookup, ResolveError, Resolver};
use sidegate::process::listener::{ListenAddr, Listener};
use sidegate::process::serve::{Handshake, Limits, Plain, serve};
use sidegate::process::tasks::BoxError;
use sidegate::registry::Registry;
use sidegate::testing::http_client::send;
use sidegate::testing::idle_blocks::idle_blocks;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::app_channel::token;

const TOKEN_HEADER: &str = "dapr-api-token";

/// The listeners of a sidecar.
struct Sidecar {
    http: SocketAddr,
    grpc: SocketAddr,
    internal: SocketAddr,
    servers: JoinSet<()>,
}

/// Where the sidecars of apps listen, by `app.namespace`.
#[derive(Clone, Debug, Default)]
struct World(Arc<Mutex<HashMap<String, Vec<SocketAddr>>>>);

impl World {
    fn add(&self, app_id: &str, namespace: &str, address: SocketAddr) {
        let mut places = self.0.lock().unwrap();
        let places = places.entry(format!("{app_id}.{namespace}")).or_default();
        places.push(address);
    }
}

#[async_trait::async_trait]
impl Resolver for World {
    async fn resolve(&self, app: &Lookup<'_>) -> Result<Vec<PeerAddress>, ResolveError> {
        let key = format!("{}.{}", app.app_id, app.namespace);
        let places = self.0.lock().unwrap().get(&key).cloned();
        let places = places.ok_or_else(|| ResolveError::NotFound {
            app_id: app.app_id.to_owned(),
        })?;
        let address = |place: SocketAddr| PeerAddress::parse(&place.to_string()).unwrap();
        Ok(places.into_iter().map(address).collect())
    }
}

/// What a sidecar is made of.
#[derive(Default)]
struct Setup<'a> {
    app_id: Option<&'a str>,
    namespace: Option<&'a str>,
    app: Option<AppChannelConfig>,
    api_token: Option<&'a str>,
    access: Access,
    world: Option<&'a World>,
    max_body: Option<usize>,
    access_control: Option<AccessControl>,
    /// What the certificate of every caller of the internal port says.
    caller: Option<SpiffeId>,
    mtls: Option<Mtls>,
}

/// The internal API behind a handshake that tells who calls.
#[derive(Clone)]
struct Known(InternalService, Option<SpiffeId>);

impl hyper::service::Service<Request<Incoming>> for Known {
    type Response = <InternalService as hyper::service::Service<Request<Incoming>>>::Response;
    type Error = Infallible;
    type Future = <InternalService as hyper::service::Service<Request<Incoming>>>::Future;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        if let Some(caller) = &self.1 {
            request.extensions_mut().insert(caller.clone());
        }
        self.0.call(request)
    }
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
        Self::set_up(Setup {
            app,
            api_token,
            access,
            ..Setup::default()
        })
        .await
    }

    /// A sidecar with the app id `app` in the namespace `ns`, where `setup` says nothing else.
    async fn set_up(setup: Setup<'_>) -> Self {
        let app_id = setup.app_id.unwrap_or("app");
        let namespace = setup.namespace.unwrap_or("ns");
        let max_body = setup.app.as_ref().map_or(1024, |app| app.max_body_bytes);
        let max_body = setup.max_body.unwrap_or(max_body);
        let channel = setup.app.map(|config| AppChannel::new(config).unwrap());
        let facts = Facts {
            app_id: app_id.to_owned(),
            ..Facts::default()
        };
        let invoke = Invoke::new(channel, app_id, namespace, max_body, Registry::empty());
        let mut invoke = invoke.with_access_control(setup.access_control);
        if let Some(world) = setup.world {
            let peers = Peers::new(Arc::new(world.clone()), max_body, setup.mtls.clone());
            let forwarding = Forwarding {
                address: "192.0.2.7".to_owned(),
                host: "caller-host".to_owned(),
            };
            invoke = invoke.with_peers(peers, forwarding);
        }
        let blocks = Blocks {
            invoke: Arc::new(invoke),
            metadata: Arc::new(Metadata::new(facts, Live::default)),
            ..idle_blocks(app_id)
        };
        let mut door = Door {
            tokens: ApiTokens::new(setup.api_token.map(token)),
            access: setup.access,
            max_body,
            ..Door::default()
        };
        let http_api = HttpApi::new(Surface::Api, door.clone(), Cors::Off, blocks.clone());
        let http_api = HttpService::new(http_api);
        let internal_api =
            InternalService::new(blocks.invoke.clone(), max_body, Default::default());
        door.max_body = 1 << 20;
        let grpc_api = GrpcService::new(GrpcApi::new(door, blocks));
        let mut servers = JoinSet::new();
        let http = run(&mut servers, http_api).await;
        let grpc = run(&mut servers, grpc_api).await;
        let internal_api = Known(internal_api, setup.caller);
        let internal = match setup.mtls {
            None => run(&mut servers, internal_api).await,
            Some(mtls) => {
                let handshake = mtls.handshake().unwrap();
                run_with(&mut servers, handshake, internal_api).await
            }
        };
        if let Some(world) = setup.world {
            world.add(app_id, namespace, internal);
        }
        Self {
            http,
            grpc,
            internal,
            servers,
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

async fn run<S, B>(servers: &mut JoinSet<()>, service: S) -> SocketAddr
where
    S: hyper::service::Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
    S: Clone + Send + Sync + 'static,
    S::Future: Send,
    B: http_body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    run_with(servers, Plain, service).await
}

async fn run_with<H, S, B>(servers: &mut JoinSet<()>, handshake: H, service: S) -> SocketAddr
where
    H: Handshake,
    S: hyper::service::Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
    S: Clone + Send + Sync + 'static,
    S::Future: Send,
    B: http_body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    let limits = Limits {
        header_bytes: 64 * 1024,
        header_timeout: Duration::from_secs(60),
        handshake_timeout: Duration::from_secs(60),
        connections: 10_000,
        streams: 10_000,
        drain: Duration::ZERO,
    };
    let (listener, address) = bind().await;
    servers.spawn(async move {
        let shutdown = CancellationToken::new();
        let ended = serve(listener, handshake, service, limits, shutdown).await;
        ended.unwrap();
    });
    address
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
