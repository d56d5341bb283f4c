//! An OpenID Connect issuer on this machine, and keys that sign its tokens.

use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::Full;
use ring::rand::SystemRandom;
use ring::rsa;
use ring::signature::{self, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Value, json};

use super::fake_app::{FakeApp, Recorded};

/// A key that signs tokens, with the id under which it is published.
pub struct SigningKey {
    id: String,
    pair: Pair,
}

enum Pair {
    P256(EcdsaKeyPair),
    P384(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
    Rsa(Box<rsa::KeyPair>),
}

impl SigningKey {
    /// A new key for ES256.
    pub fn p256(id: &str) -> Self {
        let pair = ecdsa(&signature::ECDSA_P256_SHA256_FIXED_SIGNING);
        Self::of(id, Pair::P256(pair))
    }

    /// A new key for ES384.
    pub fn p384(id: &str) -> Self {
        let pair = ecdsa(&signature::ECDSA_P384_SHA384_FIXED_SIGNING);
        Self::of(id, Pair::P384(pair))
    }

    /// A new key for `EdDSA`.
    pub fn ed25519(id: &str) -> Self {
        let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        let pair = Ed25519KeyPair::from_pkcs8(document.as_ref()).unwrap();
        Self::of(id, Pair::Ed25519(pair))
    }

    /// The RSA key of these tests, which ring cannot make: for RS256 to PS512.
    pub fn rsa(id: &str) -> Self {
        let pem = include_bytes!("service_account.pem");
        let document = PrivatePkcs8KeyDer::from_pem_slice(pem).unwrap();
        let pair = rsa::KeyPair::from_pkcs8(document.secret_pkcs8_der()).unwrap();
        Self::of(id, Pair::Rsa(Box::new(pair)))
    }

    fn of(id: &str, pair: Pair) -> Self {
        Self {
            id: id.to_owned(),
            pair,
        }
    }

    /// The public half as it is published.
    pub fn jwk(&self) -> Value {
        let point = |curve: &str, public: &[u8]| {
            let (x, y) = public[1..].split_at(public.len() / 2);
            json!({"kty": "EC", "crv": curve, "x": base64(x), "y": base64(y)})
        };
        let mut key = match &self.pair {
            Pair::P256(pair) => point("P-256", pair.public_key().as_ref()),
            Pair::P384(pair) => point("P-384", pair.public_key().as_ref()),
            Pair::Ed25519(pair) => {
                json!({"kty": "OKP", "crv": "Ed25519", "x": base64(pair.public_key().as_ref())})
            }
            Pair::Rsa(pair) => {
                let public = rsa::PublicKeyComponents::<Vec<u8>>::from(pair.public());
                json!({"kty": "RSA", "n": base64(&public.n), "e": base64(&public.e)})
            }
        };
        key["kid"] = json!(self.id);
        key
    }

    /// A token whose header names the key. `algorithm` is what it is signed with, as far as the
    /// key can; where it cannot, the signature is of the key's own algorithm.
    pub fn token(&self, algorithm: &str, claims: &Value) -> String {
        let header = json!({"alg": algorithm, "kid": self.id, "typ": "JWT"});
        self.sign(algorithm, &header, claims)
    }

    /// A token with a header of any content.
    pub fn sign(&self, algorithm: &str, header: &Value, claims: &Value) -> String {
        let parts = [header, claims].map(|part| base64(part.to_string().as_bytes()));
        let message = parts.join(".");
        let signature = self.signature(algorithm, message.as_bytes());
        format!("{message}.{}", base64(&signature))
    }

    /// A signature.
    pub fn signature(&self, algorithm: &str, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.pair {
            Pair::P256(pair) | Pair::P384(pair) => {
                pair.sign(&random, message).unwrap().as_ref().to_vec()
            }
            Pair::Ed25519(pair) => pair.sign(message).as_ref().to_vec(),
            Pair::Rsa(pair) => {
                let encoding: &dyn signature::RsaEncoding = match algorithm {
                    "RS384" => &signature::RSA_PKCS1_SHA384,
                    "RS512" => &signature::RSA_PKCS1_SHA512,
                    "PS256" => &signature::RSA_PSS_SHA256,
                    "PS384" => &signature::RSA_PSS_SHA384,
                    "PS512" => &signature::RSA_PSS_SHA512,
                    _ => &signature::RSA_PKCS1_SHA256,
                };
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(encoding, &random, message, &mut signature)
                    .unwrap();
                signature
            }
        }
    }
}

fn ecdsa(algorithm: &'static signature::EcdsaSigningAlgorithm) -> EcdsaKeyPair {
    let random = SystemRandom::new();
    let document = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
    EcdsaKeyPair::from_pkcs8(algorithm, document.as_ref(), &random).unwrap()
}

/// Base64 as tokens have it.
pub fn base64(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Seconds since 1970, some seconds from now.
pub fn in_seconds(seconds: i64) -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(now.as_secs()).unwrap() + seconds
}

/// What the issuer answers.
#[derive(Default)]
struct Answers {
    keys: Vec<Value>,
    /// Fields of the discovery document in place of the right ones.
    discovery: Value,
    is_down: bool,
}

/// An issuer. Its discovery document and its keys can change.
pub struct Issuer {
    app: FakeApp,
    answers: Arc<Mutex<Answers>>,
}

impl Issuer {
    /// An issuer that publishes these keys.
    pub async fn start(keys: &[&SigningKey]) -> Self {
        let answers: Arc<Mutex<Answers>> = Arc::default();
        let shared = Arc::clone(&answers);
        let app = FakeApp::answering(move |request| answer(request, &shared.lock().unwrap()));
        let issuer = Self {
            app: app.await,
            answers,
        };
        issuer.publish(keys);
        issuer
    }

    /// Its name, which is its URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.app.address())
    }

    /// Publishes these keys from now on.
    pub fn publish(&self, keys: &[&SigningKey]) {
        self.publish_raw(keys.iter().map(|key| key.jwk()).collect());
    }

    /// Publishes what may be no keys.
    pub fn publish_raw(&self, keys: Vec<Value>) {
        self.answers.lock().unwrap().keys = keys;
    }

    /// Has these fields in the discovery document in place of the right ones.
    pub fn discover(&self, fields: Value) {
        self.answers.lock().unwrap().discovery = fields;
    }

    /// Whether it answers 503 from now on.
    pub fn fail(&self, is_down: bool) {
        self.answers.lock().unwrap().is_down = is_down;
    }

    /// How often it was asked for its discovery document.
    pub fn readings(&self) -> usize {
        let recorded = self.app.recorded();
        let is_discovery = |one: &&Recorded| one.uri.path().starts_with("/.well-known/");
        recorded.iter().filter(is_discovery).count()
    }

    /// Every path that it was asked for.
    pub fn paths(&self) -> Vec<String> {
        let recorded = self.app.recorded();
        recorded.iter().map(|one| one.uri.to_string()).collect()
    }
}

fn answer(request: &Recorded, answers: &Answers) -> Response<Full<Bytes>> {
    let own = format!("http://{}", request.header("host")[0]);
    let body = match request.uri.path() {
        "/.well-known/openid-configuration" => {
            let mut document = json!({"issuer": own, "jwks_uri": format!("{own}/keys")});
            for (name, value) in answers.discovery.as_object().into_iter().flatten() {
                document[name] = value.clone();
            }
            document
        }
        "/keys" => json!({"keys": answers.keys}),
        _ => Value::Null,
    };
    let mut response = Response::new(Full::from(body.to_string()));
    if answers.is_down {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    response
}
