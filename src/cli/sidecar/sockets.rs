//! The sockets of the sidecar, and the servers on them.

use std::convert::Infallible;

use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::service::Service;
use tracing::info;

use super::config::Places;
use super::listen::Place;
use crate::api::grpc::{GrpcApi, GrpcService};
use crate::api::http::cors::Cors;
use crate::api::http::{HttpApi, HttpService};
use crate::api::internal::InternalService;
use crate::api::routes::Surface;
use crate::api::{Blocks, Door};
use crate::process::admin;
use crate::process::listener::{BindError, ListenAddr, Listener};
use crate::process::metrics::Metrics;
use crate::process::serve::{Handshake, Limits, Plain, serve};
use crate::process::tasks::{BoxError, Tasks};
use crate::tls::spiffe::SpiffeHandshake;

/// The most calls at once from one other sidecar.
const INTERNAL_STREAMS: u32 = 10_000;

/// Where a sidecar listens, as bound: ports are the real ones where 0 was asked for.
#[derive(Clone, Debug, Default)]
pub struct Addresses {
    /// The HTTP API.
    pub http: Vec<ListenAddr>,
    /// The gRPC API.
    pub grpc: Vec<ListenAddr>,
    /// Health and metadata.
    pub public: Vec<ListenAddr>,
    /// Prometheus metrics.
    pub metrics: Vec<ListenAddr>,
    /// Other sidecars.
    pub internal: Vec<ListenAddr>,
}

/// Every socket of the sidecar, open and not yet served.
pub(super) struct Sockets {
    http: Vec<Listener>,
    grpc: Vec<Listener>,
    public: Vec<Listener>,
    metrics: Vec<Listener>,
    internal: Vec<Listener>,
    addresses: Addresses,
}

impl Sockets {
    /// Opens them all.
    pub(super) async fn bind(places: &Places) -> Result<Self, BindError> {
        let http = places.http.bind().await?;
        let grpc = places.grpc.bind().await?;
        let public = bind_where_set(places.public.as_ref()).await?;
        let metrics = bind_where_set(places.metrics.as_ref()).await?;
        let internal = places.internal.bind().await?;
        let of = |listeners: &[Listener]| {
            let addresses = listeners.iter().map(Listener::address);
            addresses.cloned().collect()
        };
        let addresses = Addresses {
            http: of(&http),
            grpc: of(&grpc),
            public: of(&public),
            metrics: of(&metrics),
            internal: of(&internal),
        };
        Ok(Self {
            http,
            grpc,
            public,
            metrics,
            internal,
            addresses,
        })
    }

    /// Where they are open.
    pub(super) fn addresses(&self) -> Addresses {
        self.addresses.clone()
    }

    /// Serves the metrics, or closes their sockets where there are none.
    pub(super) fn serve_metrics(&mut self, metrics: Option<Metrics>, tasks: &mut Tasks) {
        let listeners = std::mem::take(&mut self.metrics);
        let Some(metrics) = metrics else {
            self.addresses.metrics.clear();
            return;
        };
        for listener in listeners {
            info!("metrics server started on {}/", listener.address());
            let routes = admin::metrics_routes(metrics.clone());
            let stop = tasks.shutdown();
            tasks.spawn("metrics", admin::run(listener, routes, stop));
        }
    }
}

async fn bind_where_set(place: Option<&Place>) -> Result<Vec<Listener>, BindError> {
    match place {
        Some(place) => place.bind().await,
        None => Ok(Vec::new()),
    }
}

/// Starts the servers of the API, one task a listener.
pub(super) struct Servers<'a> {
    limits: Limits,
    /// That of other sidecars, with mutual TLS.
    handshake: Option<SpiffeHandshake>,
    tasks: &'a mut Tasks,
}

impl<'a> Servers<'a> {
    /// Servers with these limits, and with this handshake of other sidecars.
    pub(super) fn new(
        limits: Limits,
        handshake: Option<SpiffeHandshake>,
        tasks: &'a mut Tasks,
    ) -> Self {
        Self {
            limits,
            handshake,
            tasks,
        }
    }

    /// Serves the API on its sockets.
    pub(super) fn start(mut self, sockets: Sockets, cors: &Cors, door: &Door, blocks: &Blocks) {
        let http = |surface| {
            let api = HttpApi::new(surface, door.clone(), cors.clone(), blocks.clone());
            HttpService::new(api)
        };
        let grpc = GrpcService::new(GrpcApi::new(door.clone(), blocks.clone()));
        let internal =
            InternalService::new(blocks.invoke.clone(), door.max_body, door.tracer.clone());
        self.add(("http", "HTTP"), sockets.http, Plain, &http(Surface::Api));
        self.add(("grpc", "gRPC"), sockets.grpc, Plain, &grpc);
        let public = http(Surface::Public);
        self.add(("public", "HTTP public"), sockets.public, Plain, &public);
        // One connection of another sidecar carries all its calls.
        self.limits.streams = INTERNAL_STREAMS;
        let name = ("internal", "gRPC internal");
        match self.handshake.take() {
            None => self.add(name, sockets.internal, Plain, &internal),
            Some(handshake) => self.add(name, sockets.internal, handshake, &internal),
        }
    }

    fn add<H, S, B>(
        &mut self,
        (task, server): (&'static str, &str),
        listeners: Vec<Listener>,
        handshake: H,
        service: &S,
    ) where
        H: Handshake,
        S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
        S: Clone + Send + Sync + 'static,
        S::Future: Send,
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<BoxError>,
    {
        for listener in listeners {
            // The words that tools look for.
            match listener.address() {
                ListenAddr::Tcp(address) => {
                    info!("{server} server listening on TCP address: {address}");
                }
                ListenAddr::Unix(path) => {
                    info!(
                        "{server} server listening on Unix socket: {}",
                        path.display()
                    );
                }
            }
            let (service, limits) = (service.clone(), self.limits.clone());
            let stop = self.tasks.shutdown();
            let serving = serve(listener, handshake.clone(), service, limits, stop);
            self.tasks.spawn(task, serving);
        }
    }
}
