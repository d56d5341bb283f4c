//! What a token has to be. It is judged in the order in which it costs the least.

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, Validation, decode, decode_header};
use serde::Deserialize;

use super::jwks::Key;

/// How far clocks may be apart, in seconds: the most that RFC 7519, section 4.1.4, thinks of.
const LEEWAY_SECONDS: u64 = 60;
/// The most bytes of the id of a key. It is compared, and nothing else.
const MAX_KEY_ID_BYTES: usize = 256;

/// Why a token does not count. It is for the log and holds no piece of the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refused(pub(super) &'static str);

/// What the claims of a token have to say.
#[derive(Clone, Debug)]
pub(super) struct Rules(Validation);

impl Rules {
    pub(super) fn new(issuer: &str, audience: &str) -> Self {
        // The algorithm is another one for each token.
        let mut rules = Validation::new(Algorithm::RS256);
        rules.leeway = LEEWAY_SECONDS;
        rules.validate_exp = true;
        rules.validate_nbf = true;
        rules.set_issuer(&[issuer]);
        rules.set_audience(&[audience]);
        rules.set_required_spec_claims(&["exp", "iss", "aud"]);
        Self(rules)
    }
}

/// What the header of a token says that is not verified yet. Keys and addresses of keys in it
/// (`jwk`, `jku`, `x5c`, `x5u`) are never looked at.
pub(super) struct Header {
    pub(super) algorithm: Algorithm,
    pub(super) key_id: String,
}

pub(super) fn header(token: &str) -> Result<Header, Refused> {
    let header = decode_header(token)
        .map_err(|_| Refused("it is no signed JWT, or its algorithm is none that counts"))?;
    if header.crit.is_some() {
        // RFC 7515, section 4.1.11: what is not understood has to be refused.
        return Err(Refused("it has extensions that are critical"));
    }
    match header.kid {
        Some(key_id) if key_id.len() <= MAX_KEY_ID_BYTES => Ok(Header {
            algorithm: header.alg,
            key_id,
        }),
        Some(_) => Err(Refused("the id of its key is too long")),
        None => Err(Refused("it has no id of a key")),
    }
}

/// Claims whose form counts: of another one, the package would not look at them.
#[derive(Deserialize)]
#[expect(dead_code, reason = "that they can be read is what counts")]
struct Claims {
    iss: String,
    exp: f64,
    #[serde(default, deserialize_with = "present")]
    nbf: Option<f64>,
}

/// A claim that may be absent, but not `null`.
fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    f64::deserialize(deserializer).map(Some)
}

/// Verifies the signature, then the claims.
pub(super) fn verify(
    token: &str,
    algorithm: Algorithm,
    key: &Key,
    rules: &Rules,
) -> Result<(), Refused> {
    if !key.algorithms.contains(&algorithm) {
        return Err(Refused("its algorithm is none of its key"));
    }
    let mut rules = rules.0.clone();
    rules.algorithms = vec![algorithm];
    match decode::<Claims>(token, &key.decoding, &rules) {
        Ok(_) => Ok(()),
        Err(error) => Err(Refused(match error.kind() {
            ErrorKind::InvalidSignature => "its signature is wrong",
            ErrorKind::ExpiredSignature => "it has expired",
            ErrorKind::ImmatureSignature => "it is not valid yet",
            ErrorKind::InvalidIssuer => "it is of another issuer",
            ErrorKind::InvalidAudience => "it is for another audience",
            ErrorKind::MissingRequiredClaim(_) => "it lacks \"exp\", \"iss\" or \"aud\"",
            _ => "it is malformed",
        })),
    }
}
