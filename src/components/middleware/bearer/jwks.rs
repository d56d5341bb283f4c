//! The keys of an issuer as it publishes them (RFC 7517).

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::Value;

/// The most keys that count. Large issuers publish about ten.
const MAX_KEYS: usize = 100;

/// A key that can verify signatures.
#[derive(Clone, Debug)]
pub(super) struct Key {
    id: String,
    /// The algorithms that may be used with it: a token cannot choose another family.
    pub(super) algorithms: Vec<Algorithm>,
    pub(super) decoding: DecodingKey,
}

/// The keys of an issuer, of which one at least can be used.
#[derive(Debug, Default)]
pub(super) struct KeySet(Vec<Key>);

#[derive(Deserialize)]
struct Document {
    keys: Vec<Value>,
}

impl KeySet {
    /// Reads a set of keys. Keys for other purposes are passed over.
    ///
    /// # Errors
    ///
    /// No set, too large a set, and a set without any key that can be used. The text holds no piece
    /// of it.
    pub(super) fn parse(text: &[u8]) -> Result<Self, String> {
        let document: Document = serde_json::from_slice(text)
            .map_err(|_| "the answer is no set of keys (RFC 7517)".to_owned())?;
        if document.keys.len() > MAX_KEYS {
            return Err(format!("the set has more than {MAX_KEYS} keys"));
        }
        let keys: Vec<_> = document.keys.into_iter().filter_map(key).collect();
        if keys.is_empty() {
            return Err("the set has no key with an id that can verify a signature".to_owned());
        }
        Ok(Self(keys))
    }

    /// The key of an id.
    pub(super) fn find(&self, id: &str) -> Option<&Key> {
        self.0.iter().find(|key| key.id == id)
    }
}

fn key(value: Value) -> Option<Key> {
    let jwk: Jwk = serde_json::from_value(value).ok()?;
    let is_for_signatures = match (&jwk.common.public_key_use, &jwk.common.key_operations) {
        (Some(PublicKeyUse::Signature) | None, None) => true,
        (Some(PublicKeyUse::Signature) | None, Some(uses)) => uses.contains(&KeyOperations::Verify),
        (Some(_), _) => false,
    };
    let family: &[Algorithm] = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => &[
            Algorithm::RS256,
            Algorithm::RS384,
            Algorithm::RS512,
            Algorithm::PS256,
            Algorithm::PS384,
            Algorithm::PS512,
        ],
        AlgorithmParameters::EllipticCurve(point) => match point.curve {
            EllipticCurve::P256 => &[Algorithm::ES256],
            EllipticCurve::P384 => &[Algorithm::ES384],
            _ => &[],
        },
        AlgorithmParameters::OctetKeyPair(point) if point.curve == EllipticCurve::Ed25519 => {
            &[Algorithm::EdDSA]
        }
        // A symmetric key in public is a key of everybody.
        _ => &[],
    };
    let algorithms: Vec<Algorithm> = match jwk.common.key_algorithm {
        None => family.to_vec(),
        Some(named) => {
            let named = Algorithm::try_from(named).ok()?;
            family.iter().copied().filter(|one| *one == named).collect()
        }
    };
    if !is_for_signatures || algorithms.is_empty() {
        return None;
    }
    Some(Key {
        decoding: DecodingKey::from_jwk(&jwk).ok()?,
        id: jwk.common.key_id.filter(|id| !id.is_empty())?,
        algorithms,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const POINT: [(&str, &str); 2] = [("x", "AAAA"), ("y", "AAAA")];

    fn algorithms(key: &Value) -> Option<Vec<Algorithm>> {
        let mut key = key.clone();
        let fields = key.as_object_mut().unwrap();
        for (name, value) in POINT
            .iter()
            .chain(&[("n", "AAAA"), ("e", "AQAB"), ("k", "AAAA")])
        {
            fields.entry(*name).or_insert(json!(value));
        }
        fields.entry("kid").or_insert(json!("id"));
        let set = KeySet::parse(json!({"keys": [key]}).to_string().as_bytes()).ok()?;
        Some(set.find("id")?.algorithms.clone())
    }

    #[test]
    fn a_key_has_the_algorithms_of_its_family_and_no_other() {
        use Algorithm::{ES256, ES384, EdDSA, PS256, RS256};
        for (key, expected) in [
            (json!({"kty": "EC", "crv": "P-256"}), Some(vec![ES256])),
            (
                json!({"kty": "EC", "crv": "P-384", "use": "sig"}),
                Some(vec![ES384]),
            ),
            (json!({"kty": "OKP", "crv": "Ed25519"}), Some(vec![EdDSA])),
            (json!({"kty": "RSA", "alg": "RS256"}), Some(vec![RS256])),
            (
                json!({"kty": "RSA", "alg": "PS256", "key_ops": ["verify"]}),
                Some(vec![PS256]),
            ),
            (json!({"kty": "EC", "crv": "P-256", "alg": "RS256"}), None),
            (json!({"kty": "RSA", "alg": "HS256"}), None),
            (json!({"kty": "RSA", "alg": "RSA-OAEP"}), None),
            (json!({"kty": "RSA", "alg": "none"}), None),
            (json!({"kty": "RSA", "use": "enc"}), None),
            (json!({"kty": "RSA", "key_ops": ["encrypt"]}), None),
            (json!({"kty": "RSA", "kid": ""}), None),
            (json!({"kty": "oct"}), None),
            (json!({"kty": "oct", "alg": "HS256"}), None),
            (json!({"kty": "EC", "crv": "P-521"}), None),
            (json!({"kty": "EC", "crv": "secp256k1"}), None),
            (json!({"kty": "OKP", "crv": "X25519"}), None),
            (json!({"kty": "odd"}), None),
        ] {
            assert_eq!(algorithms(&key), expected, "{key}");
        }
        assert_eq!(algorithms(&json!({"kty": "RSA"})).unwrap().len(), 6);
    }

    #[test]
    fn a_set_needs_a_key_and_has_a_limit() {
        let error = |text: &str| KeySet::parse(text.as_bytes()).unwrap_err();
        for text in ["", "[]", "{}", "{\"keys\": 1}", "hunter2"] {
            assert_eq!(
                error(text),
                "the answer is no set of keys (RFC 7517)",
                "{text}"
            );
        }
        assert_eq!(
            error("{\"keys\": [1, {\"kty\": \"oct\"}]}"),
            "the set has no key with an id that can verify a signature"
        );
        let many = json!({"keys": vec![1; MAX_KEYS + 1]}).to_string();
        assert_eq!(error(&many), "the set has more than 100 keys");
    }
}
