//! A certificate authority of a control plane, in this process.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use http::Request;
use hyper::body::Incoming;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tonic::Status;
use tonic_prost::ProstCodec;

use super::certificates::{Authority, Issued};
use super::listening::listen;
use crate::process::listener::Socket;
use crate::process::serve::Handshake;
use crate::proto::sentry::{SIGN_CERTIFICATE, SignCertificateRequest, SignCertificateResponse};

/// The identity of the authority's own server.
pub const SENTRY_ID: &str = "spiffe://cp.local/ns/dapr-system/dapr-sentry";

/// What the authority grants.
#[derive(Clone, Debug)]
pub struct Grant {
    /// The SPIFFE id.
    pub id: String,
    /// How much of the certificate's life is over already.
    pub age: Duration,
    /// How much is left.
    pub left: Duration,
}

impl Grant {
    /// The id of who asks, under the trust domain `td`, for a day.
    pub fn of(request: &SignCertificateRequest) -> Self {
        Self {
            id: format!("spiffe://td/ns/{}/{}", request.namespace, request.id),
            age: Duration::from_secs(60),
            left: Duration::from_secs(24 * 60 * 60),
        }
    }
}

/// Signs what its rule grants, on a free port of 127.0.0.1, until it is dropped.
pub struct FakeSentry {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<SignCertificateRequest>>>,
    _task: JoinSet<()>,
}

#[derive(Clone)]
struct Service {
    authority: Arc<Authority>,
    requests: Arc<Mutex<Vec<SignCertificateRequest>>>,
    rule: Arc<Rule>,
}

type Rule = dyn Fn(&SignCertificateRequest, usize) -> Result<Grant, Status> + Send + Sync;

impl FakeSentry {
    /// Signs with `authority` what `rule` grants, which is told how many requests came before.
    /// `own` is the certificate that the server itself shows.
    pub async fn start<R>(authority: Arc<Authority>, own: &Issued, rule: R) -> Self
    where
        R: Fn(&SignCertificateRequest, usize) -> Result<Grant, Status> + Send + Sync + 'static,
    {
        let requests: Arc<Mutex<Vec<_>>> = Arc::default();
        let signer = Service {
            authority,
            requests: Arc::clone(&requests),
            rule: Arc::new(rule),
        };
        let service = hyper::service::service_fn(move |request: Request<Incoming>| {
            let signer = signer.clone();
            async move {
                assert_eq!(request.uri().path(), SIGN_CERTIFICATE);
                let codec =
                    ProstCodec::<SignCertificateResponse, SignCertificateRequest>::default();
                let mut grpc = tonic::server::Grpc::new(codec);
                Ok::<_, Infallible>(grpc.unary(signer, request).await)
            }
        });
        let (address, task) = listen(Tls::of(own), service).await;
        Self {
            address,
            requests,
            _task: task,
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it was asked.
    pub fn requests(&self) -> Vec<SignCertificateRequest> {
        self.requests.lock().unwrap().clone()
    }
}

impl tonic::server::UnaryService<SignCertificateRequest> for Service {
    type Response = SignCertificateResponse;
    type Future = std::future::Ready<Result<tonic::Response<SignCertificateResponse>, Status>>;

    fn call(&mut self, request: tonic::Request<SignCertificateRequest>) -> Self::Future {
        let request = request.into_inner();
        let mut requests = self.requests.lock().unwrap();
        let granted = (self.rule)(&request, requests.len());
        let answer = granted.map(|Grant { id, age, left }| {
            let now = SystemTime::now();
            let life = (now - age, now + left);
            let csr = std::str::from_utf8(&request.certificate_signing_request).unwrap();
            tonic::Response::new(SignCertificateResponse {
                workload_certificate: self.authority.sign(csr, &id, life).into_bytes(),
            })
        });
        requests.push(request);
        std::future::ready(answer)
    }
}

/// The server side of TLS with one certificate, which asks clients for none.
#[derive(Clone)]
struct Tls(Arc<ServerConfig>);

impl Tls {
    fn of(own: &Issued) -> Self {
        let chain = vec![CertificateDer::from_pem_slice(own.certificate.as_bytes()).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(own.key.as_bytes()).unwrap();
        let mut config = ServerConfig::builder_with_provider(crate::tls::provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        config.alpn_protocols = vec![b"h2".to_vec()];
        Self(Arc::new(config))
    }
}

impl Handshake for Tls {
    type Io = TlsStream<Socket>;

    async fn handshake(&self, socket: Socket) -> io::Result<Self::Io> {
        TlsAcceptor::from(Arc::clone(&self.0)).accept(socket).await
    }
}
