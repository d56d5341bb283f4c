//! A certificate with its key, checked.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::KeyPair;
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::client::verify_server_name;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::lifetimes::Life;
use crate::base::secret::Secret;

/// How long before its issue a certificate is valid already, for clocks that are behind.
pub(super) const BACKDATED: Duration = Duration::from_secs(5 * 60);

/// Why a certificate or key cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum CertificateError {
    /// No PEM, or no X.509 in it.
    #[error("no X.509 certificate in PEM form")]
    Certificate,
    /// No key in PKCS #8, or one of an algorithm that is not supported.
    #[error("no private key in PEM form")]
    Key,
    /// Key and certificate are strangers.
    #[error("the key does not belong to the certificate")]
    Pair,
}

/// A certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    pem: String,
    der: CertificateDer<'static>,
    life: Life,
}

impl Certificate {
    /// Reads the first certificate of a PEM text.
    pub fn parse(pem: &[u8]) -> Result<Self, CertificateError> {
        let wrong = |_| CertificateError::Certificate;
        let text = str::from_utf8(pem).map_err(|_| CertificateError::Certificate)?;
        let der = CertificateDer::from_pem_slice(pem).map_err(|_| CertificateError::Certificate)?;
        let (_, parsed) = X509Certificate::from_der(&der).map_err(wrong)?;
        let validity = parsed.validity();
        let life = Life {
            issued: time_of(validity.not_before.timestamp()) + BACKDATED,
            end: time_of(validity.not_after.timestamp()),
        };
        Ok(Self {
            pem: format!("{}\n", text.trim()),
            der,
            life,
        })
    }

    /// Reads every certificate of a PEM text; at least one.
    pub fn parse_all(pem: &str) -> Result<Vec<Self>, CertificateError> {
        const END: &str = "-----END CERTIFICATE-----";
        let parts = pem.split_inclusive(END).filter(|part| part.contains(END));
        let all: Vec<_> = parts
            // Without the text that some tools write before it.
            .map(|part| &part[part.find("-----BEGIN").unwrap_or(0)..])
            .map(|part| Self::parse(part.as_bytes()))
            .collect::<Result<_, _>>()?;
        match all.is_empty() {
            true => Err(CertificateError::Certificate),
            false => Ok(all),
        }
    }

    /// As it is written.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// From its issue to its end.
    pub fn life(&self) -> Life {
        self.life
    }

    /// Whether a client that trusts `roots` accepts it for a name at a time.
    pub fn is_trusted(&self, roots: &[&Self], name: &str, at: SystemTime) -> bool {
        let Ok(name) = ServerName::try_from(name) else {
            return false;
        };
        let Ok(at) = at.duration_since(UNIX_EPOCH) else {
            return false;
        };
        let mut store = RootCertStore::empty();
        store.add_parsable_certificates(roots.iter().map(|root| root.der.clone()));
        let provider = crate::tls::provider();
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(store), provider);
        let Ok(verifier) = verifier.build() else {
            return false;
        };
        let at = UnixTime::since_unix_epoch(at);
        verifier
            .verify_server_cert(&self.der, &[], &name, &[], at)
            .is_ok()
    }

    /// Whether it is for all of these names.
    pub fn is_for(&self, names: &[String]) -> bool {
        let Ok(parsed) = ParsedCertificate::try_from(&self.der) else {
            return false;
        };
        let is_for = |name: &str| match ServerName::try_from(name) {
            Ok(name) => verify_server_name(&parsed, &name).is_ok(),
            Err(_) => false,
        };
        names.iter().all(|name| is_for(name))
    }
}

fn time_of(timestamp: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(u64::try_from(timestamp).unwrap_or(0))
}

/// A certificate with the key that belongs to it.
#[derive(Clone, Debug)]
pub struct Pair {
    /// The certificate.
    pub certificate: Certificate,
    /// The key, PKCS #8 in PEM.
    pub key: Secret,
}

impl Pair {
    /// Reads both; the key must belong to the certificate.
    pub fn parse(certificate: &[u8], key: &[u8]) -> Result<Self, CertificateError> {
        let certificate = Certificate::parse(certificate)?;
        let text = str::from_utf8(key).map_err(|_| CertificateError::Key)?;
        let parsed = KeyPair::from_pem(text).map_err(|_| CertificateError::Key)?;
        let (_, own) = X509Certificate::from_der(&certificate.der)
            .map_err(|_| CertificateError::Certificate)?;
        if own.public_key().subject_public_key.data.as_ref() != parsed.public_key_raw() {
            return Err(CertificateError::Pair);
        }
        Ok(Self {
            certificate,
            key: Secret::new(text),
        })
    }
}

impl PartialEq for Pair {
    /// By the certificates: a key that belongs to one belongs to its equal.
    fn eq(&self, other: &Self) -> bool {
        self.certificate == other.certificate
    }
}
