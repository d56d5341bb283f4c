//! Clients whose certificate a CA signed, and which have to pass one more check.

use std::fmt;
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};

/// Lets `inner` check the certificate, and then `accepts`.
pub(super) struct CheckedClients<F> {
    inner: Arc<dyn ClientCertVerifier>,
    accepts: F,
}

impl<F: Fn(&CertificateDer<'_>) -> bool> CheckedClients<F> {
    /// Of the clients that `inner` believes, those whose certificate is accepted.
    pub(super) fn new(inner: Arc<dyn ClientCertVerifier>, accepts: F) -> Self {
        Self { inner, accepts }
    }
}

impl<F> fmt::Debug for CheckedClients<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CheckedClients").field(&self.inner).finish()
    }
}

impl<F> ClientCertVerifier for CheckedClients<F>
where
    F: Fn(&CertificateDer<'_>) -> bool + Send + Sync,
{
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.inner.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let inner = &self.inner;
        let verified = inner.verify_client_cert(end_entity, intermediates, now)?;
        if (self.accepts)(end_entity) {
            return Ok(verified);
        }
        Err(CertificateError::ApplicationVerificationFailure.into())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let inner = &self.inner;
        inner.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let inner = &self.inner;
        inner.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}
