//! A certificate with which an application shows who it is: Entra takes a token that the
//! certificate's key signed in place of a secret.

use std::sync::Arc;
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use p12_keystore::Pkcs12Archive;
use rustls::SignatureScheme;
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::SigningKey;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use x509_parser::prelude::{FromDer as _, X509Certificate};
use zeroize::Zeroizing;

use crate::base::secret::Secret;

/// How long a signed token counts. Entra takes ten minutes and less as short-lived.
const LIFETIME_SECONDS: u64 = 600;
/// With what a DER sequence begins, and so a PFX.
const DER_SEQUENCE: u8 = 0x30;

/// A certificate that cannot be used. The texts hold no piece of it.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum CertificateError {
    #[error(
        "the certificate is neither PEM nor PFX (PKCS #12), nor one of them in base64, or its \
         password is wrong"
    )]
    Form,
    #[error(
        "the certificate is no PFX (PKCS #12) that the password opens; \"openssl pkcs12 -in \
         FILE.pfx -out FILE.pem -nodes\" makes a PEM file of one"
    )]
    Pfx,
    #[error("the certificate has no private key (\"PRIVATE KEY\" in PEM, without a password)")]
    NoKey,
    #[error("the private key is no RSA key of 2048 to 8192 bits, which Entra asks for")]
    NoRsa,
    #[error("none of the certificates is that of the private key")]
    NoCertificate,
    #[error("the private key signs nothing")]
    Signing,
}

/// A certificate with its key.
pub(super) struct Certificate {
    /// SHA-256 of the certificate, as a token names it.
    thumbprint: String,
    key: Arc<dyn SigningKey>,
}

impl Certificate {
    /// Reads PEM, PFX, or one of them in base64, as `az` and portals hand them out.
    pub(super) fn parse(bytes: &[u8], password: &str) -> Result<Self, CertificateError> {
        if is_pem(bytes) {
            return Self::from_pem(bytes);
        }
        if bytes.first() == Some(&DER_SEQUENCE) {
            return Self::from_pfx(bytes, password);
        }
        let is_text = |byte: &u8| !byte.is_ascii_whitespace();
        let text: Zeroizing<Vec<u8>> =
            Zeroizing::new(bytes.iter().copied().filter(is_text).collect());
        let decoded = STANDARD
            .decode(&*text)
            .map_err(|_| CertificateError::Form)?;
        let decoded = Zeroizing::new(decoded);
        match decoded.first() {
            Some(&DER_SEQUENCE) => Self::from_pfx(&decoded, password),
            _ if is_pem(&decoded) => Self::from_pem(&decoded),
            _ => Err(CertificateError::Form),
        }
    }

    fn from_pem(pem: &[u8]) -> Result<Self, CertificateError> {
        let key = PrivateKeyDer::from_pem_slice(pem).map_err(|_| CertificateError::NoKey)?;
        let certificates = CertificateDer::pem_slice_iter(pem);
        Self::of_key(&key, certificates.filter_map(Result::ok))
    }

    fn from_pfx(der: &[u8], password: &str) -> Result<Self, CertificateError> {
        let archive =
            Pkcs12Archive::from_pkcs12(der, password).map_err(|_| CertificateError::Pfx)?;
        let key = archive.keys.first().ok_or(CertificateError::NoKey)?;
        let key = PrivatePkcs8KeyDer::from(key.key.as_der());
        let certificates = archive.certs.iter();
        Self::of_key(
            &PrivateKeyDer::Pkcs8(key),
            certificates.map(|bag| CertificateDer::from(bag.cert.as_der())),
        )
    }

    /// Of a chain in any order, the certificate whose key this is.
    fn of_key<'a>(
        key: &PrivateKeyDer<'_>,
        mut certificates: impl Iterator<Item = CertificateDer<'a>>,
    ) -> Result<Self, CertificateError> {
        let key = any_supported_type(key).map_err(|_| CertificateError::NoRsa)?;
        if key.choose_scheme(&[SCHEME]).is_none() {
            return Err(CertificateError::NoRsa);
        }
        let public = key.public_key().ok_or(CertificateError::NoRsa)?;
        let own = certificates
            .find(|der| {
                X509Certificate::from_der(der)
                    .is_ok_and(|(_, certificate)| certificate.public_key().raw == public.as_ref())
            })
            .ok_or(CertificateError::NoCertificate)?;
        Ok(Self {
            thumbprint: URL_SAFE_NO_PAD.encode(Sha256::digest(&own)),
            key,
        })
    }

    /// A signed token that says who the application is, for this token endpoint only (RFC 7523,
    /// and Microsoft's page "certificate credentials").
    pub(super) fn assertion(
        &self,
        client_id: &str,
        endpoint: &str,
        now: SystemTime,
    ) -> Result<Secret, CertificateError> {
        let now = now
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_err(|_| CertificateError::Signing)?
            .as_secs();
        let header = json!({"alg": "RS256", "typ": "JWT", "x5t#S256": self.thumbprint});
        let claims = json!({
            "aud": endpoint,
            "iss": client_id,
            "sub": client_id,
            "jti": format!("{:032x}", fastrand::u128(..)),
            "nbf": now,
            "iat": now,
            "exp": now + LIFETIME_SECONDS,
        });
        let encode = |part: serde_json::Value| URL_SAFE_NO_PAD.encode(part.to_string());
        let mut token = format!("{}.{}", encode(header), encode(claims));
        let signer = self.key.choose_scheme(&[SCHEME]);
        let signature = signer
            .and_then(|signer| signer.sign(token.as_bytes()).ok())
            .ok_or(CertificateError::Signing)?;
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        Ok(Secret::new(token))
    }
}

/// RS256 of RFC 7518.
const SCHEME: SignatureScheme = SignatureScheme::RSA_PKCS1_SHA256;

fn is_pem(bytes: &[u8]) -> bool {
    bytes.windows(10).any(|part| part == b"-----BEGIN")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::certificates::Authority;
    use std::time::Duration;

    const PEM: &str = include_str!("../../../../tests/stores/azure/client.pem");
    const PFX: &[u8] = include_bytes!("../../../../tests/stores/azure/client.pfx");
    const LEGACY: &[u8] = include_bytes!("../../../../tests/stores/azure/client-legacy.pfx");

    #[test]
    fn reads_every_form_as_the_same_certificate() {
        let base64 = STANDARD.encode(PFX);
        let lines: Vec<_> = base64.as_bytes().chunks(64).collect();
        let wrapped = lines.join(&b"\r\n"[..]);
        let (certificate, key) = PEM.split_at(PEM.find("-----BEGIN CERT").unwrap());
        let turned = format!("{key}{certificate}");
        let other = Authority::new().issue(&["other"]).certificate;
        let chain = format!("{other}{PEM}{other}");
        let pem = Certificate::parse(PEM.as_bytes(), "").unwrap();
        for (bytes, password) in [
            (turned.as_bytes(), ""),
            (chain.as_bytes(), ""),
            (STANDARD.encode(PEM).as_bytes(), "not needed"),
            (PFX, "hunter2"),
            (base64.as_bytes(), "hunter2"),
            (&wrapped, "hunter2"),
            (LEGACY, ""),
        ] {
            let read = Certificate::parse(bytes, password).unwrap();
            assert_eq!(read.thumbprint, pem.thumbprint);
        }
    }

    #[test]
    fn says_what_is_wrong_with_a_certificate() {
        let elliptic = Authority::new().issue(&["client"]);
        let (key, certificate) = PEM.split_at(PEM.find("-----BEGIN CERT").unwrap());
        let elliptic = format!("{}{}", elliptic.key, elliptic.certificate);
        for (bytes, password, error) in [
            (&b""[..], "", CertificateError::Form),
            (b"hunter2", "", CertificateError::Form),
            (b"\x00\xff", "", CertificateError::Form),
            (b"0123", "", CertificateError::Pfx),
            (PFX, "", CertificateError::Pfx),
            (PFX, "hunter3", CertificateError::Pfx),
            (&PFX[..1000], "hunter2", CertificateError::Pfx),
            (certificate.as_bytes(), "", CertificateError::NoKey),
            (key.as_bytes(), "", CertificateError::NoCertificate),
            (elliptic.as_bytes(), "", CertificateError::NoRsa),
        ] {
            let wrong = Certificate::parse(bytes, password).err();
            assert_eq!(wrong, Some(error));
        }
    }

    #[test]
    fn signs_what_entra_asks_for() {
        let certificate = Certificate::parse(PEM.as_bytes(), "").unwrap();
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let assertion = |at| certificate.assertion("app", "https://login/t", at);
        let token = assertion(now).unwrap();
        let parts: Vec<_> = token.expose().split('.').collect();
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).unwrap();
        let read = |part| serde_json::from_slice::<serde_json::Value>(&decode(part)).unwrap();
        let thumbprint = &certificate.thumbprint;
        assert_eq!(
            read(parts[0]),
            json!({"alg": "RS256", "typ": "JWT", "x5t#S256": thumbprint})
        );
        let claims = read(parts[1]);
        assert_eq!(claims["aud"], "https://login/t");
        assert_eq!(claims["exp"], 1_000_600);
        assert_eq!(decode(parts[2]).len(), 256);
        assert_ne!(
            token.expose(),
            assertion(now).unwrap().expose(),
            "each has its own id"
        );
        let before = SystemTime::UNIX_EPOCH - Duration::from_secs(1);
        assert_eq!(assertion(before).err(), Some(CertificateError::Signing));
    }
}
