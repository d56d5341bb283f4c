//! Signatures of tokens, verified by ring: the one cryptography of this program.

use std::sync::LazyLock;

use jsonwebtoken::crypto::{CryptoProvider, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{ErrorKind, Result};
use jsonwebtoken::signature::{Error as SignatureError, Verifier};
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind};
use ring::signature::{self, RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey};

/// Nothing is signed here, and no key is taken apart.
static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: |_, _| Err(ErrorKind::UnsupportedAlgorithm.into()),
    verifier_factory: verifier,
    key_utils: KeyUtils::new_unimplemented(),
};

static IS_INSTALLED: LazyLock<bool> = LazyLock::new(|| PROVIDER.install_default().is_ok());

/// Makes the package of tokens use ring, in the whole process.
///
/// # Errors
///
/// Another part of the process chose something else before.
pub(super) fn install() -> std::result::Result<(), &'static str> {
    let problem = "the signatures of tokens are verified by something else already";
    IS_INSTALLED.then_some(()).ok_or(problem)
}

/// How the signatures of one algorithm are verified (RFC 7518, section 3.1; RFC 8037).
enum Scheme {
    /// With modulus and exponent.
    Rsa(&'static RsaParameters),
    /// With the bytes of a point.
    Point(&'static dyn signature::VerificationAlgorithm),
}

fn scheme(algorithm: Algorithm) -> Option<Scheme> {
    use Scheme::{Point, Rsa};
    match algorithm {
        Algorithm::RS256 => Some(Rsa(&signature::RSA_PKCS1_2048_8192_SHA256)),
        Algorithm::RS384 => Some(Rsa(&signature::RSA_PKCS1_2048_8192_SHA384)),
        Algorithm::RS512 => Some(Rsa(&signature::RSA_PKCS1_2048_8192_SHA512)),
        Algorithm::PS256 => Some(Rsa(&signature::RSA_PSS_2048_8192_SHA256)),
        Algorithm::PS384 => Some(Rsa(&signature::RSA_PSS_2048_8192_SHA384)),
        Algorithm::PS512 => Some(Rsa(&signature::RSA_PSS_2048_8192_SHA512)),
        Algorithm::ES256 => Some(Point(&signature::ECDSA_P256_SHA256_FIXED)),
        Algorithm::ES384 => Some(Point(&signature::ECDSA_P384_SHA384_FIXED)),
        Algorithm::EdDSA => Some(Point(&signature::ED25519)),
        // HMAC: whoever can verify can sign.
        _ => None,
    }
}

fn verifier(algorithm: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>> {
    let scheme = scheme(*algorithm).ok_or(ErrorKind::UnsupportedAlgorithm)?;
    Ok(Box::new(RingVerifier {
        algorithm: *algorithm,
        scheme,
        key: key.clone(),
    }))
}

struct RingVerifier {
    algorithm: Algorithm,
    scheme: Scheme,
    key: DecodingKey,
}

impl Verifier<Vec<u8>> for RingVerifier {
    fn verify(
        &self,
        message: &[u8],
        signature: &Vec<u8>,
    ) -> std::result::Result<(), SignatureError> {
        let verified = match (&self.scheme, self.key.kind()) {
            (Scheme::Rsa(parameters), DecodingKeyKind::RsaModulusExponent { n, e }) => {
                RsaPublicKeyComponents { n, e }.verify(parameters, message, signature)
            }
            (Scheme::Point(algorithm), DecodingKeyKind::SecretOrDer(point)) => {
                UnparsedPublicKey::new(*algorithm, point).verify(message, signature)
            }
            _ => Err(ring::error::Unspecified),
        };
        verified.map_err(|_| SignatureError::new())
    }
}

impl JwtVerifier for RingVerifier {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}
