//! The client of the certificate authority.

use std::path::PathBuf;
use std::time::Duration;

use http::Uri;
use http::uri::{PathAndQuery, Scheme};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rcgen::{CertificateParams, DistinguishedName, KeyPair};
use rustls::pki_types::PrivatePkcs8KeyDer;
use tonic::body::Body;
use tonic_prost::ProstCodec;

use super::{IdentityError, or_default};
use crate::base::secret::Secret;
use crate::base::spiffe_id::SpiffeId;
use crate::process::tasks::BoxError;
use crate::proto::sentry::{
    SIGN_CERTIFICATE, SignCertificateRequest, SignCertificateResponse, TokenValidator,
};
use crate::tls::spiffe::{Expected, Svid, TrustAnchors, client_config};

/// How long one request may take, with its connection (Dapr 1.18).
const TIMEOUT: Duration = Duration::from_secs(3);

/// The most bytes of an answer.
const MAX_ANSWER: usize = 1024 * 1024;

/// The certificate authority, and for whom it is asked.
#[derive(Clone, Debug)]
pub struct Sentry {
    /// `host:port`.
    pub address: http::uri::Authority,
    /// Who it has to be.
    pub id: SpiffeId,
    /// What signs its certificate and those of all sidecars.
    pub anchors: TrustAnchors,
    /// The own app.
    pub app_id: String,
    /// Its namespace; may be empty.
    pub namespace: String,
    /// What proves who asks.
    pub token: Token,
    /// For whom it should issue tokens.
    pub audiences: Vec<String>,
    /// The time after a renewal that failed, [`super::RETRY`].
    pub retry: Duration,
}

/// What proves who asks. Files are read anew for each request.
#[derive(Clone, Debug)]
pub enum Token {
    /// Nothing.
    None,
    /// A token of Kubernetes, in the first of these files that there is.
    Kubernetes(Vec<PathBuf>),
    /// A token that the authority has keys for.
    Jwks(PathBuf),
}

impl Token {
    async fn read(&self) -> Result<(Secret, TokenValidator), IdentityError> {
        match self {
            Self::None => Ok((Secret::default(), TokenValidator::Unknown)),
            Self::Jwks(path) => Ok((read(path).await?, TokenValidator::Jwks)),
            Self::Kubernetes(paths) => {
                let mut outcome = Ok((Secret::default(), TokenValidator::Unknown));
                for path in paths.iter().rev() {
                    match read(path).await {
                        Ok(token) => outcome = Ok((token, TokenValidator::Kubernetes)),
                        Err(IdentityError::Token { cause, .. })
                            if cause.kind() == std::io::ErrorKind::NotFound => {}
                        Err(error) => outcome = Err(error),
                    }
                }
                outcome
            }
        }
    }
}

async fn read(path: &PathBuf) -> Result<Secret, IdentityError> {
    let text = tokio::fs::read_to_string(path).await;
    let text = text.map_err(|cause| IdentityError::Token {
        path: path.clone(),
        cause,
    })?;
    let token = Secret::new(text.trim_end());
    if token.is_empty() {
        return Err(IdentityError::EmptyToken(path.clone()));
    }
    Ok(token)
}

/// The road to the authority. A connection is made for each request, since hours lie between them.
#[derive(Debug)]
pub(super) struct Connection {
    sentry: Sentry,
    pool: Pool<HttpsConnector<HttpConnector>, Body>,
}

impl Connection {
    pub(super) fn new(sentry: Sentry) -> Self {
        let expected = Expected::Exactly(sentry.id.clone());
        let config = client_config(&sentry.anchors, expected, None);
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(config)
            .https_only()
            .enable_http2()
            .build();
        let pool = Pool::builder(TokioExecutor::new())
            .pool_max_idle_per_host(0)
            .http2_only(true)
            .build(connector);
        Self { sentry, pool }
    }

    /// A new certificate for a new key.
    pub(super) async fn request(&self) -> Result<Svid, IdentityError> {
        let outcome = tokio::time::timeout(TIMEOUT, self.sign()).await;
        outcome.map_err(|_| IdentityError::Timeout(self.sentry.address.to_string()))?
    }

    async fn sign(&self) -> Result<Svid, IdentityError> {
        let key = KeyPair::generate().map_err(|error| IdentityError::Key(error.into()))?;
        let request = self.message(&key).await?;
        let answer = self.call(request).await.map_err(|cause| {
            let address = self.sentry.address.to_string();
            IdentityError::Refused { address, cause }
        })?;
        let key = PrivatePkcs8KeyDer::from(key.serialize_der());
        let svid = Svid::new(&answer.workload_certificate, key.into())?;
        let Sentry {
            app_id, namespace, ..
        } = &self.sentry;
        let namespace = or_default(namespace);
        if svid.id.app_id() != app_id || svid.id.namespace() != namespace {
            return Err(IdentityError::Foreign {
                given: svid.id,
                app_id: app_id.clone(),
                namespace: namespace.to_owned(),
            });
        }
        Ok(svid)
    }

    async fn message(&self, key: &KeyPair) -> Result<SignCertificateRequest, IdentityError> {
        let Sentry {
            app_id,
            namespace,
            token,
            audiences,
            ..
        } = &self.sentry;
        let (token, validator) = token.read().await?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        let request = params.serialize_request(key).and_then(|csr| csr.pem());
        let request = request.map_err(|error| IdentityError::Key(error.into()))?;
        Ok(SignCertificateRequest {
            id: app_id.clone(),
            token: token.expose().to_owned(),
            // The authority knows the trust domain of the app.
            trust_domain: String::new(),
            namespace: or_default(namespace).to_owned(),
            certificate_signing_request: request.into_bytes(),
            token_validator: validator.into(),
            jwt_audiences: audiences.clone(),
        })
    }

    async fn call(
        &self,
        request: SignCertificateRequest,
    ) -> Result<SignCertificateResponse, BoxError> {
        let origin = Uri::builder()
            .scheme(Scheme::HTTPS)
            .authority(self.sentry.address.clone())
            .path_and_query("/")
            .build()?;
        let mut client = tonic::client::Grpc::with_origin(self.pool.clone(), origin)
            .max_decoding_message_size(MAX_ANSWER);
        client.ready().await?;
        let path = PathAndQuery::from_static(SIGN_CERTIFICATE);
        let codec = ProstCodec::<SignCertificateRequest, SignCertificateResponse>::default();
        let answer = client
            .unary(tonic::Request::new(request), path, codec)
            .await?;
        Ok(answer.into_inner())
    }
}
