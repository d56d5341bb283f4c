//! Mutual TLS between sidecars, whose certificates name apps and not hosts (X509-SVID).
//!
//! Both sides show a certificate, over TLS 1.3 only. No session is resumed, so that each connection
//! is made with the certificates of the moment.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, Resumption, verify_server_cert_signed_by_trust_anchor};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::{
    ClientHello, NoServerSessionStorage, ParsedCertificate, ResolvesServerCert,
    WebPkiClientVerifier,
};
use rustls::sign::CertifiedKey;
use rustls::version::TLS13;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, ServerConfig,
    SignatureScheme,
};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

use super::client::{TrustError, roots};
use super::client_check::CheckedClients;
use crate::base::spiffe_id::SpiffeId;
use crate::process::listener::Socket;
use crate::process::serve::Handshake;

/// The CA certificates that sign those of sidecars.
#[derive(Clone, Debug)]
pub struct TrustAnchors(Arc<RootCertStore>);

impl TrustAnchors {
    /// From PEM.
    pub fn parse(pem: &str) -> Result<Self, TrustError> {
        Ok(Self(Arc::new(roots(Some(pem))?)))
    }
}

/// The certificate of an app, with its key.
#[derive(Clone)]
pub struct Svid {
    /// The app.
    pub id: SpiffeId,
    /// The begin of its life.
    pub not_before: SystemTime,
    /// The end of its life.
    pub not_after: SystemTime,
    certified: Arc<CertifiedKey>,
}

impl fmt::Debug for Svid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Svid").field(&self.id).finish()
    }
}

/// Why a certificate is none of an app.
#[derive(Debug, thiserror::Error)]
pub enum SvidError {
    /// No certificate.
    #[error("it holds no certificate in PEM form")]
    Pem,
    /// No identity of an app in it.
    #[error("it has no identity of an app")]
    Identity,
    /// A certificate that does not count now.
    #[error("its time is over, or has not begun")]
    Time,
    /// The key cannot be used, or belongs to another certificate.
    #[error("it does not belong to the key")]
    Key(#[source] Error),
}

impl Svid {
    /// A certificate chain, PEM, leaf first, with the key of the leaf.
    ///
    /// # Errors
    ///
    /// What is not a certificate of an app for this key, or does not count now.
    pub fn new(chain: &[u8], key: PrivateKeyDer<'static>) -> Result<Self, SvidError> {
        let svid = Self::unchecked(chain, key)?;
        if (svid.not_before..svid.not_after).contains(&SystemTime::now()) {
            Ok(svid)
        } else {
            Err(SvidError::Time)
        }
    }

    /// The same, whose time may be over: others check that at each handshake.
    pub fn unchecked(chain: &[u8], key: PrivateKeyDer<'static>) -> Result<Self, SvidError> {
        let chain: Vec<_> = CertificateDer::pem_slice_iter(chain)
            .collect::<Result<_, _>>()
            .map_err(|_| SvidError::Pem)?;
        let leaf = chain.first().ok_or(SvidError::Pem)?;
        let id = id_of(leaf).ok_or(SvidError::Identity)?;
        let (not_before, not_after) = life_of(leaf).ok_or(SvidError::Identity)?;
        let certified = CertifiedKey::from_der(chain, key, &super::provider());
        Ok(Self {
            id,
            not_before,
            not_after,
            certified: Arc::new(certified.map_err(SvidError::Key)?),
        })
    }
}

/// The app that a certificate names: it has exactly one URI (X509-SVID, section 2).
fn id_of(certificate: &CertificateDer<'_>) -> Option<SpiffeId> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let names = certificate.subject_alternative_name().ok()??;
    let mut uris = names
        .value
        .general_names
        .iter()
        .filter_map(|name| match name {
            GeneralName::URI(uri) => Some(*uri),
            _ => None,
        });
    match (uris.next(), uris.next()) {
        (Some(uri), None) => SpiffeId::parse(uri).ok(),
        _ => None,
    }
}

fn life_of(certificate: &CertificateDer<'_>) -> Option<(SystemTime, SystemTime)> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let time = |seconds: i64| {
        let seconds = u64::try_from(seconds).unwrap_or_default();
        UNIX_EPOCH + Duration::from_secs(seconds)
    };
    let life = certificate.validity();
    Some((
        time(life.not_before.timestamp()),
        time(life.not_after.timestamp()),
    ))
}

/// Hands out the certificate of the moment.
#[derive(Debug)]
struct Current(watch::Receiver<Arc<Svid>>);

impl Current {
    fn certified(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.0.borrow().certified)
    }
}

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.certified())
    }
}

impl ResolvesClientCert for Current {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.certified())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// Whom a client wants to reach.
#[derive(Clone, Debug)]
pub enum Expected {
    /// One identity.
    Exactly(SpiffeId),
    /// An app of a namespace, of any trust domain under the anchors (Dapr 1.18).
    App {
        /// Its namespace.
        namespace: String,
        /// Its id.
        app_id: String,
    },
}

impl Expected {
    fn is_met_by(&self, id: &SpiffeId) -> bool {
        match self {
            Self::Exactly(expected) => expected == id,
            Self::App { namespace, app_id } => id.namespace() == namespace && id.app_id() == app_id,
        }
    }
}

/// A client that believes those whose certificate the anchors signed, and who are whom it expects.
/// With `own` it shows the certificate of the moment.
pub fn client_config(
    anchors: &TrustAnchors,
    expected: Expected,
    own: Option<watch::Receiver<Arc<Svid>>>,
) -> ClientConfig {
    let provider = super::provider();
    let verifier = Servers {
        anchors: anchors.clone(),
        expected,
        provider: Arc::clone(&provider),
    };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .expect("the provider has the cipher suites of TLS 1.3")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match own {
        Some(own) => builder.with_client_cert_resolver(Arc::new(Current(own))),
        None => builder.with_no_client_auth(),
    };
    config.resumption = Resumption::disabled();
    config
}

#[derive(Debug)]
struct Servers {
    anchors: TrustAnchors,
    expected: Expected,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Servers {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        verify_server_cert_signed_by_trust_anchor(
            &ParsedCertificate::try_from(end_entity)?,
            &self.anchors.0,
            intermediates,
            now,
            self.provider.signature_verification_algorithms.all,
        )?;
        match id_of(end_entity) {
            Some(id) if self.expected.is_met_by(&id) => Ok(ServerCertVerified::assertion()),
            _ => Err(CertificateError::ApplicationVerificationFailure.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = &self.provider.signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}

/// The server side: every client has to show the certificate of an app.
#[derive(Clone, Debug)]
pub struct SpiffeHandshake(Arc<ServerConfig>);

impl SpiffeHandshake {
    /// Believes clients whose certificate the anchors signed, and shows the own one of the moment.
    ///
    /// # Errors
    ///
    /// Anchors that nothing can be checked with.
    pub fn new(
        anchors: &TrustAnchors,
        own: watch::Receiver<Arc<Svid>>,
    ) -> Result<Self, TrustError> {
        let provider = super::provider();
        let roots = Arc::clone(&anchors.0);
        let inner =
            WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(&provider)).build()?;
        let is_app = |certificate: &CertificateDer<'_>| id_of(certificate).is_some();
        let apps = CheckedClients::new(inner, is_app);
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])
            .expect("the provider has the cipher suites of TLS 1.3")
            .with_client_cert_verifier(Arc::new(apps))
            .with_cert_resolver(Arc::new(Current(own)));
        config.alpn_protocols = vec![b"h2".to_vec()];
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Self(Arc::new(config)))
    }
}

impl Handshake for SpiffeHandshake {
    type Io = TlsStream<Socket>;

    async fn handshake(&self, socket: Socket) -> io::Result<Self::Io> {
        TlsAcceptor::from(Arc::clone(&self.0)).accept(socket).await
    }

    fn peer(io: &Self::Io) -> Option<SpiffeId> {
        id_of(io.get_ref().1.peer_certificates()?.first()?)
    }
}
