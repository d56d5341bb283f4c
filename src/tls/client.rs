//! What a TLS client trusts.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_cert_signed_by_trust_anchor};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::VerifierBuilderError,
};

/// Which servers a client believes.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    /// The CA certificates that count, PEM, in place of those of the system.
    pub roots: Option<String>,
    /// The name that the certificate has to be for, in place of the host of the address.
    pub server_name: Option<String>,
    /// Takes a certificate for whatever name, as long as it is of the CA.
    pub any_name: bool,
    /// Takes every certificate. Whoever can take over the address then gets what is sent.
    pub skip_verification: bool,
}

/// Why there is nothing to trust.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// No certificate in the text.
    #[error("the CA certificates hold no certificate in PEM form")]
    NoRoots,
    /// A certificate that cannot be a root.
    #[error("one of the CA certificates cannot be used")]
    Root(#[source] rustls::Error),
    /// The system has none.
    #[error(
        "the system has no CA certificates (looked for in the usual places, and in SSL_CERT_FILE \
         and SSL_CERT_DIR)"
    )]
    NoSystemRoots,
    /// No name of a server.
    #[error("{name:?} is not a name or an IP address of a server")]
    ServerName {
        /// As given.
        name: String,
    },
    /// The roots cannot be used together.
    #[error("the CA certificates cannot be used")]
    Verifier(#[from] VerifierBuilderError),
}

/// A client configuration for HTTP/2 and HTTP/1.1 over TLS 1.2 and 1.3.
///
/// # Errors
///
/// Roots or a name that cannot be used.
pub fn client_config(trust: &Trust) -> Result<ClientConfig, TrustError> {
    let provider = super::provider();
    let verifier = verifier(trust, &provider)?;
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider has the cipher suites of both versions")
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

fn verifier(
    trust: &Trust,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, TrustError> {
    let ruled_by = |rule| {
        let algorithms = provider.signature_verification_algorithms;
        Arc::new(Verifier { rule, algorithms })
    };
    if trust.skip_verification {
        return Ok(ruled_by(Rule::Any));
    }
    let roots = Arc::new(roots(trust.roots.as_deref())?);
    if trust.any_name {
        return Ok(ruled_by(Rule::OfAuthority(roots)));
    }
    let verifier =
        WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(provider)).build()?;
    let Some(name) = &trust.server_name else {
        return Ok(verifier);
    };
    let name = ServerName::try_from(name.clone())
        .map_err(|_| TrustError::ServerName { name: name.clone() })?;
    Ok(ruled_by(Rule::For(name, verifier)))
}

pub(super) fn roots(pem: Option<&str>) -> Result<RootCertStore, TrustError> {
    let mut roots = RootCertStore::empty();
    let Some(pem) = pem else {
        let found = rustls_native_certs::load_native_certs().certs;
        let (used, _) = roots.add_parsable_certificates(found);
        return if used == 0 {
            Err(TrustError::NoSystemRoots)
        } else {
            Ok(roots)
        };
    };
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let certificate = certificate.map_err(|_| TrustError::NoRoots)?;
        roots.add(certificate).map_err(TrustError::Root)?;
    }
    if roots.is_empty() {
        Err(TrustError::NoRoots)
    } else {
        Ok(roots)
    }
}

/// A rule of its own for certificates. The signature of the handshake is checked as always.
#[derive(Debug)]
struct Verifier {
    rule: Rule,
    algorithms: WebPkiSupportedAlgorithms,
}

#[derive(Debug)]
enum Rule {
    /// Any certificate.
    Any,
    /// One of a CA, for whatever name.
    OfAuthority(Arc<RootCertStore>),
    /// One for another name than that of the address.
    For(ServerName<'static>, Arc<WebPkiServerVerifier>),
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match &self.rule {
            Rule::Any => Ok(ServerCertVerified::assertion()),
            Rule::OfAuthority(roots) => {
                let parsed = ParsedCertificate::try_from(end_entity)?;
                let all = self.algorithms.all;
                verify_server_cert_signed_by_trust_anchor(&parsed, roots, intermediates, now, all)?;
                Ok(ServerCertVerified::assertion())
            }
            Rule::For(name, verifier) => {
                verifier.verify_server_cert(end_entity, intermediates, name, ocsp_response, now)
            }
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::testing::certificates::{Authority, Issued};

    /// Whether a server is believed that is asked for under another name than its own.
    fn is_believed(trust: &Trust, issued: &Issued) -> bool {
        let verifier = verifier(trust, &super::super::provider()).unwrap();
        let certificate = CertificateDer::from_pem_slice(issued.certificate.as_bytes()).unwrap();
        let name = ServerName::try_from("other").unwrap();
        let judged = verifier.verify_server_cert(&certificate, &[], &name, &[], UnixTime::now());
        judged.is_ok()
    }

    #[test]
    fn any_name_is_not_any_certificate() {
        let (authority, stranger) = (Authority::new(), Authority::new());
        let trust = |any_name| Trust {
            roots: Some(authority.certificate()),
            any_name,
            ..Trust::default()
        };
        let issued = authority.issue(&["server"]);
        assert!(is_believed(&trust(true), &issued));
        assert!(!is_believed(&trust(false), &issued));
        assert!(!is_believed(&trust(true), &stranger.issue(&["server"])));
        let past = SystemTime::now() - Duration::from_secs(60);
        let expired = authority.issue_until(&["server"], past);
        assert!(!is_believed(&trust(true), &expired));
    }
}
