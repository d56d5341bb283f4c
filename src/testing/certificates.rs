//! Certificates made on the spot.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, SanType,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

/// A certificate authority of one test.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate with its key, both PEM.
#[derive(Clone, Debug)]
pub struct Issued {
    /// The certificate.
    pub certificate: String,
    /// The private key, PKCS #8.
    pub key: String,
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

impl Authority {
    /// A new authority with a key of its own.
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params
            .distinguished_name
            .push(DnType::CommonName, "authority of a test");
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// The certificate of the authority itself, PEM.
    pub fn certificate(&self) -> String {
        self.0.pem()
    }

    /// A certificate for names or IP addresses, for servers and clients, that lives for a day.
    pub fn issue(&self, names: &[&str]) -> Issued {
        self.issue_until(names, SystemTime::now() + Duration::from_secs(24 * 60 * 60))
    }

    /// The same with an end of its own, which may lie in the past.
    pub fn issue_until(&self, names: &[&str], end: SystemTime) -> Issued {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.not_after = end.into();
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        Issued {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        }
    }

    /// The certificate of an app: its one name is a SPIFFE id.
    pub fn svid(&self, id: &str, (begin, end): (SystemTime, SystemTime)) -> Issued {
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![SanType::URI(id.try_into().unwrap())];
        params.not_before = begin.into();
        params.not_after = end.into();
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        Issued {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        }
    }

    /// What [`Authority::svid`] makes, for the key of a request (PKCS #10, PEM).
    pub fn sign(&self, csr: &str, id: &str, (begin, end): (SystemTime, SystemTime)) -> String {
        let mut request = CertificateSigningRequestParams::from_pem(csr).unwrap();
        request.params.subject_alt_names = vec![SanType::URI(id.try_into().unwrap())];
        request.params.not_before = begin.into();
        request.params.not_after = end.into();
        request.signed_by(&self.0).unwrap().pem()
    }

    /// A TLS client that trusts this authority only.
    pub fn client(&self) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        let own = CertificateDer::from_pem_slice(self.certificate().as_bytes()).unwrap();
        roots.add(own).unwrap();
        let config = ClientConfig::builder_with_provider(crate::tls::provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Arc::new(config)
    }
}
