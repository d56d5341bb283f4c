//! Who a TLS client says that it is.

use std::fmt;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};

use crate::base::secret::Secret;

/// Why a certificate cannot be shown. No message holds a piece of the texts.
#[derive(Debug, thiserror::Error)]
pub enum ClientIdentityError {
    /// No certificate in the text.
    #[error("the client certificate holds no certificate in PEM form")]
    NoCertificate,
    /// No key in the text.
    #[error("the private key of the client certificate is no key in PEM form")]
    NoKey,
    /// A key of another certificate, or of a kind that is not supported.
    #[error("the client certificate and its private key cannot be used together")]
    Pair(#[source] rustls::Error),
}

/// A certificate with its key, checked to belong together.
#[derive(Clone)]
pub struct ClientIdentity(Arc<CertifiedKey>);

impl ClientIdentity {
    /// Reads both from PEM: the chain with the client's own certificate first, and one key.
    ///
    /// # Errors
    ///
    /// Texts that cannot be used.
    pub fn parse(certificate: &Secret, key: &Secret) -> Result<Self, ClientIdentityError> {
        let chain: Vec<_> = CertificateDer::pem_slice_iter(certificate.expose().as_bytes())
            .collect::<Result<_, _>>()
            .map_err(|_| ClientIdentityError::NoCertificate)?;
        if chain.is_empty() {
            return Err(ClientIdentityError::NoCertificate);
        }
        let key = PrivateKeyDer::from_pem_slice(key.expose().as_bytes())
            .map_err(|_| ClientIdentityError::NoKey)?;
        let pair = CertifiedKey::from_der(chain, key, &super::provider())
            .map_err(ClientIdentityError::Pair)?;
        Ok(Self(Arc::new(pair)))
    }

    /// The same client, which shows this certificate to every server that asks. It shares no
    /// sessions with others: a session stands for who began it.
    pub fn shown_by(&self, mut client: ClientConfig) -> ClientConfig {
        let shown = SingleCertAndKey::from(Arc::clone(&self.0));
        client.client_auth_cert_resolver = Arc::new(shown);
        client.resumption = Resumption::default();
        client
    }
}

impl fmt::Debug for ClientIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientIdentity(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::certificates::Authority;

    #[test]
    fn takes_a_pair_and_nothing_else() {
        let authority = Authority::new();
        let (one, other) = (authority.issue(&["one"]), authority.issue(&["other"]));
        let parse = |certificate: &str, key: &str| {
            let parsed = ClientIdentity::parse(&Secret::new(certificate), &Secret::new(key));
            parsed.map(|_| ()).map_err(|error| error.to_string())
        };
        assert_eq!(parse(&one.certificate, &one.key), Ok(()));
        for (certificate, key, expected) in [
            (
                "hunter2",
                one.key.as_str(),
                "the client certificate holds no certificate in PEM form",
            ),
            (
                one.certificate.as_str(),
                "hunter2",
                "the private key of the client certificate is no key in PEM form",
            ),
            (
                one.certificate.as_str(),
                other.key.as_str(),
                "the client certificate and its private key cannot be used together",
            ),
        ] {
            assert_eq!(parse(certificate, key), Err(expected.to_owned()));
        }
    }
}
