//! The messages of `dapr.proto.sentry.v1.CA`, the certificate authority of a Dapr control plane.
//! The numbers of the fields are those of Dapr 1.18; tokens for other services, which the answer
//! may hold, are left out.

use std::fmt;

/// The path of the one call.
pub const SIGN_CERTIFICATE: &str = "/dapr.proto.sentry.v1.CA/SignCertificate";

/// How the authority is to check the token of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ::prost::Enumeration)]
#[repr(i32)]
pub enum TokenValidator {
    /// As it does without being told.
    Unknown = 0,
    /// Not at all.
    Insecure = 1,
    /// As a token of Kubernetes.
    Kubernetes = 2,
    /// With the keys that it is configured with.
    Jwks = 3,
}

/// Asks for a certificate.
#[derive(Clone, PartialEq, ::prost::Message)]
#[prost(skip_debug)]
pub struct SignCertificateRequest {
    /// The app id.
    #[prost(string, tag = "1")]
    pub id: String,
    /// Proves who asks. A secret.
    #[prost(string, tag = "2")]
    pub token: String,
    /// The trust domain, where the authority does not decide on it.
    #[prost(string, tag = "3")]
    pub trust_domain: String,
    /// The namespace of the app.
    #[prost(string, tag = "4")]
    pub namespace: String,
    /// The request for a certificate (PKCS #10), PEM.
    #[prost(bytes = "vec", tag = "5")]
    pub certificate_signing_request: Vec<u8>,
    /// How to check the token.
    #[prost(enumeration = "TokenValidator", tag = "6")]
    pub token_validator: i32,
    /// For whom the authority should issue tokens.
    #[prost(string, repeated, tag = "7")]
    pub jwt_audiences: Vec<String>,
}

impl fmt::Debug for SignCertificateRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignCertificateRequest")
            .field("id", &self.id)
            .field("namespace", &self.namespace)
            .finish_non_exhaustive()
    }
}

/// The certificate.
#[derive(Clone, PartialEq, Eq, ::prost::Message)]
pub struct SignCertificateResponse {
    /// The certificate, with those between it and the trust anchor; PEM.
    #[prost(bytes = "vec", tag = "1")]
    pub workload_certificate: Vec<u8>,
}
