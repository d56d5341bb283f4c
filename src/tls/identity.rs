//! From two PEM files to a checked certificate with its key.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::RootCertStore;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ResolvesServerCertUsingSni, WebPkiClientVerifier};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::client_check::CheckedClients;
use super::client_names::is_for_one_of;

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A file that cannot be read.
    #[error("cannot read {path:?}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// A file without what it should hold.
    #[error("{path:?} holds no {what} in PEM form")]
    Pem {
        /// The file.
        path: PathBuf,
        /// What was looked for.
        what: &'static str,
    },
    /// A certificate that is no X.509.
    #[error("{path:?} is not a valid X.509 certificate")]
    Certificate {
        /// The file.
        path: PathBuf,
    },
    /// A certificate that has ended.
    #[error("the certificate in {path:?} expired {seconds} seconds ago")]
    Expired {
        /// The file.
        path: PathBuf,
        /// Seconds since its end.
        seconds: u64,
    },
    /// A key that does not belong to the certificate, or a kind that is not supported.
    #[error("certificate {certificate:?} and key {key:?} cannot be used together")]
    Pair {
        /// The certificate file.
        certificate: PathBuf,
        /// The key file.
        key: PathBuf,
        /// Why.
        #[source]
        cause: rustls::Error,
    },
    /// Client roots that cannot be used.
    #[error("{path:?} holds no usable CA certificates")]
    ClientRoots {
        /// The file.
        path: PathBuf,
    },
}

/// The files of a server's identity.
#[derive(Clone, Debug)]
pub struct IdentityFiles {
    /// Certificate chain, PEM, leaf first.
    pub certificate: PathBuf,
    /// Private key, PEM.
    pub key: PathBuf,
    /// CA certificates, PEM: where set, every client must show a certificate that one of them
    /// signed.
    pub client_ca: Option<PathBuf>,
    /// Names that a client's certificate may have, as common name or DNS name. Empty: any.
    pub client_names: Vec<String>,
}

/// A checked identity.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Ready to serve with: ALPN h2 and http/1.1, TLS 1.2 and 1.3.
    pub config: Arc<ServerConfig>,
    /// The end of the leaf's life.
    pub not_after: SystemTime,
    /// The leaf itself, to tell one identity from another.
    pub leaf: CertificateDer<'static>,
}

impl Identity {
    /// Nothing to serve with yet: every handshake fails.
    pub fn none() -> Result<Self, rustls::Error> {
        let builder = ServerConfig::builder_with_provider(super::provider())
            .with_safe_default_protocol_versions()?
            .with_no_client_auth();
        let no_names = Arc::new(ResolvesServerCertUsingSni::new());
        Ok(Self {
            config: with_alpn(builder.with_cert_resolver(no_names)),
            not_after: UNIX_EPOCH,
            leaf: Vec::new().into(),
        })
    }

    /// Whether there is a certificate.
    pub fn is_some(&self) -> bool {
        !self.leaf.is_empty()
    }
}

impl IdentityFiles {
    /// Reads and checks the files: the key must belong to the certificate, which must not have
    /// ended.
    pub fn load(&self) -> Result<Identity, IdentityError> {
        self.assemble(&read(&self.certificate)?, &read(&self.key)?)
    }

    /// The same with PEM that was read elsewhere: the paths only name it in errors. The CA of the
    /// clients is still a file.
    pub fn assemble(&self, certificate: &[u8], key: &[u8]) -> Result<Identity, IdentityError> {
        let chain = parse_certificates(&self.certificate, certificate)?;
        let leaf = chain.first().cloned().ok_or_else(|| IdentityError::Pem {
            path: self.certificate.clone(),
            what: "certificate",
        })?;
        let not_after = leaf_end(&self.certificate, &leaf)?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| IdentityError::Pem {
            path: self.key.clone(),
            what: "private key",
        })?;
        let pair = |cause| IdentityError::Pair {
            certificate: self.certificate.clone(),
            key: self.key.clone(),
            cause,
        };
        let builder = ServerConfig::builder_with_provider(super::provider())
            .with_safe_default_protocol_versions()
            .map_err(pair)?;
        let builder = match &self.client_ca {
            None => builder.with_no_client_auth(),
            Some(path) => builder.with_client_cert_verifier(self.client_verifier(path)?),
        };
        let config = builder.with_single_cert(chain, key).map_err(pair)?;
        Ok(Identity {
            config: with_alpn(config),
            not_after,
            leaf,
        })
    }

    fn client_verifier(&self, roots: &Path) -> Result<Arc<dyn ClientCertVerifier>, IdentityError> {
        let unusable = || IdentityError::ClientRoots {
            path: roots.to_owned(),
        };
        let mut store = RootCertStore::empty();
        for certificate in parse_certificates(roots, &read(roots)?)? {
            store.add(certificate).map_err(|_| unusable())?;
        }
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(store), super::provider())
                .build()
                .map_err(|_| unusable())?;
        if self.client_names.is_empty() {
            return Ok(verifier);
        }
        let names = self.client_names.clone();
        let is_named = move |certificate: &CertificateDer<'_>| is_for_one_of(&names, certificate);
        Ok(Arc::new(CheckedClients::new(verifier, is_named)))
    }
}

fn with_alpn(mut config: ServerConfig) -> Arc<ServerConfig> {
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Arc::new(config)
}

fn read(path: &Path) -> Result<Vec<u8>, IdentityError> {
    std::fs::read(path).map_err(|cause| IdentityError::Read {
        path: path.to_owned(),
        cause,
    })
}

fn parse_certificates(
    path: &Path,
    pem: &[u8],
) -> Result<Vec<CertificateDer<'static>>, IdentityError> {
    let none = || IdentityError::Pem {
        path: path.to_owned(),
        what: "certificate",
    };
    let chain: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|_| none())?;
    if chain.is_empty() {
        Err(none())
    } else {
        Ok(chain)
    }
}

fn leaf_end(path: &Path, leaf: &CertificateDer<'_>) -> Result<SystemTime, IdentityError> {
    let invalid = || IdentityError::Certificate {
        path: path.to_owned(),
    };
    let (_, parsed) = X509Certificate::from_der(leaf).map_err(|_| invalid())?;
    let seconds = u64::try_from(parsed.validity().not_after.timestamp()).unwrap_or(0);
    let not_after = UNIX_EPOCH + Duration::from_secs(seconds);
    match SystemTime::now().duration_since(not_after) {
        Ok(since) => Err(IdentityError::Expired {
            path: path.to_owned(),
            seconds: since.as_secs(),
        }),
        Err(_) => Ok(not_after),
    }
}
