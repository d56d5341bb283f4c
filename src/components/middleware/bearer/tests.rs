//! Tokens, good and hostile, against an issuer on this machine.

use serde_json::{Value, json};

use super::*;
use crate::testing::contract::component;
use crate::testing::issuer::{Issuer, SigningKey, base64, in_seconds};

pub(super) const AUDIENCE: &str = "shop";

pub(super) async fn bearer(settings: &[(&str, &str)]) -> Result<Bearer, String> {
    let component = component("middleware.http.bearer", settings);
    let mut reader = Reader::new(&component).unwrap();
    let started = Bearer::start("auth", &mut reader).await;
    started.map_err(|error| error.to_string())
}

/// Why the value of an `Authorization` header does not count.
pub(super) async fn reason(bearer: &Bearer, authorization: &str) -> Option<&'static str> {
    let mut headers = HeaderMap::new();
    headers.insert("authorization", authorization.parse().unwrap());
    let checked = bearer.check(&headers, Instant::now()).await;
    checked.err().map(|Refused(reason)| reason)
}

/// An issuer with keys of every family, a component that trusts it, and claims that it accepts.
struct Stage {
    issuer: Issuer,
    bearer: Bearer,
    p256: SigningKey,
    p384: SigningKey,
    ed25519: SigningKey,
    rsa: SigningKey,
}

impl Stage {
    async fn set() -> Self {
        let p256 = SigningKey::p256("p256");
        let p384 = SigningKey::p384("p384");
        let ed25519 = SigningKey::ed25519("ed25519");
        let rsa = SigningKey::rsa("rsa");
        let issuer = Issuer::start(&[&p256, &p384, &ed25519, &rsa]).await;
        let settings = [("issuer", &*issuer.url()), ("audience", AUDIENCE)];
        let bearer = bearer(&settings).await.unwrap();
        Self {
            issuer,
            bearer,
            p256,
            p384,
            ed25519,
            rsa,
        }
    }

    fn claims(&self) -> Value {
        json!({
            "iss": self.issuer.url(), "aud": AUDIENCE, "sub": "user",
            "exp": in_seconds(300), "nbf": in_seconds(-5), "iat": in_seconds(-5),
        })
    }

    /// The claims with some of them changed, or left out where they are null.
    fn with(&self, changes: &Value) -> Value {
        let mut claims = self.claims();
        let fields = claims.as_object_mut().unwrap();
        for (name, value) in changes.as_object().unwrap() {
            if value.is_null() {
                fields.remove(name);
            } else {
                fields.insert(name.clone(), value.clone());
            }
        }
        claims
    }

    async fn reason_of(&self, token: &str) -> Option<&'static str> {
        reason(&self.bearer, &format!("Bearer {token}")).await
    }

    /// Attacks: what they are, their tokens, and why these do not count. None of them makes
    /// anybody ask for anything, or keeps a good token from counting.
    async fn refuses(&self, attacks: &[(&str, String, &str)]) {
        for (attack, token, expected) in attacks {
            assert_eq!(self.reason_of(token).await, Some(*expected), "{attack}");
        }
        let asked = ["/.well-known/openid-configuration", "/keys"];
        assert_eq!(self.issuer.paths(), asked);
        let good = self.p256.token("ES256", &self.claims());
        assert_eq!(self.reason_of(&good).await, None);
    }
}

#[tokio::test]
async fn takes_every_algorithm_of_public_keys() {
    let stage = Stage::set().await;
    let claims = stage.claims();
    for (key, algorithms) in [
        (&stage.p256, &["ES256"][..]),
        (&stage.p384, &["ES384"]),
        (&stage.ed25519, &["EdDSA"]),
        (
            &stage.rsa,
            &["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"],
        ),
    ] {
        for algorithm in algorithms {
            let token = key.token(algorithm, &claims);
            assert_eq!(stage.reason_of(&token).await, None, "{algorithm}");
            assert_eq!(
                reason(&stage.bearer, &format!("bearer  {token} ")).await,
                None
            );
        }
    }
}

#[tokio::test]
async fn judges_claims() {
    let stage = Stage::set().await;
    let lacks = Some("it lacks \"exp\", \"iss\" or \"aud\"");
    let malformed = Some("it is malformed");
    let other_issuer = Some("it is of another issuer");
    let other_audience = Some("it is for another audience");
    let slash = format!("{}/", stage.issuer.url());
    let several = json!([stage.issuer.url(), "https://other.example"]);
    for (changes, expected) in [
        (json!({"exp": in_seconds(-50)}), None),
        (json!({"exp": in_seconds(-70)}), Some("it has expired")),
        (json!({"exp": 0}), Some("it has expired")),
        (json!({"exp": null}), malformed),
        (json!({"exp": in_seconds(300).to_string()}), malformed),
        (json!({"exp": -1}), lacks),
        (json!({"nbf": in_seconds(50)}), None),
        (json!({"nbf": in_seconds(70)}), Some("it is not valid yet")),
        (json!({"nbf": null}), None),
        (json!({"nbf": in_seconds(70).to_string()}), malformed),
        (json!({"iss": "https://other.example"}), other_issuer),
        (json!({"iss": slash}), other_issuer),
        (json!({"iss": several}), malformed),
        (json!({"iss": null}), malformed),
        (json!({"aud": ["other", AUDIENCE]}), None),
        (json!({"aud": ["other"]}), other_audience),
        (json!({"aud": "SHOP"}), other_audience),
        (json!({"aud": []}), other_audience),
        (json!({"aud": null}), lacks),
        (json!({"aud": {"shop": true}}), lacks),
    ] {
        let token = stage.p256.token("ES256", &stage.with(&changes));
        assert_eq!(stage.reason_of(&token).await, expected, "{changes}");
    }
}

const NO_JWT: &str = "it is no signed JWT, or its algorithm is none that counts";
const WRONG: &str = "its signature is wrong";
const NOT_OF_KEY: &str = "its algorithm is none of its key";
const UNKNOWN: &str = "the issuer has no key of its id";

/// Header and claims of a token, not signed.
fn unsigned(header: &Value, claims: &Value) -> String {
    let parts = [header, claims].map(|part| base64(part.to_string().as_bytes()));
    parts.join(".")
}

/// A token signed with the public half of a key as the secret of an HMAC.
fn confused(key: &SigningKey, id: &str, claims: &Value) -> String {
    let message = unsigned(&json!({"alg": "HS256", "kid": id}), claims);
    let secret = key.jwk().to_string();
    let secret = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret.as_bytes());
    let signature = ring::hmac::sign(&secret, message.as_bytes());
    format!("{message}.{}", base64(signature.as_ref()))
}

#[tokio::test]
async fn a_token_cannot_choose_how_it_is_verified() {
    let stage = Stage::set().await;
    let claims = stage.claims();
    let none = |algorithm: &str| {
        let header = json!({"alg": algorithm, "kid": "p256"});
        format!("{}.", unsigned(&header, &claims))
    };
    let as_rsa = json!({"alg": "RS256", "kid": "rsa"});
    let rows = [
        ("alg none", none("none"), NO_JWT),
        ("alg None", none("None"), NO_JWT),
        ("alg empty", none(""), NO_JWT),
        ("alg with a signature left out", none("ES256"), WRONG),
        (
            "HMAC with a public key",
            confused(&stage.rsa, "rsa", &claims),
            NOT_OF_KEY,
        ),
        (
            "HMAC with a point",
            confused(&stage.p256, "p256", &claims),
            NOT_OF_KEY,
        ),
        (
            "another family",
            stage.p256.token("RS256", &claims),
            NOT_OF_KEY,
        ),
        (
            "another curve",
            stage.p384.token("ES256", &claims),
            NOT_OF_KEY,
        ),
        (
            "RSA named as a point",
            stage.rsa.token("ES256", &claims),
            NOT_OF_KEY,
        ),
        (
            "PSS named as PKCS#1",
            stage.rsa.sign("PS256", &as_rsa, &claims),
            WRONG,
        ),
    ];
    stage.refuses(&rows).await;
}

#[tokio::test]
async fn a_token_cannot_choose_its_key() {
    let stage = Stage::set().await;
    let claims = stage.claims();
    let stranger = SigningKey::p256("p256");
    let signed = |key: &SigningKey, changes: &Value| {
        let mut header = json!({"alg": "ES256", "kid": "p256"});
        for (name, value) in changes.as_object().unwrap() {
            header[name] = value.clone();
        }
        key.sign("ES256", &header, &claims)
    };
    let own = json!({"jwk": stranger.jwk(), "jku": "http://127.0.0.1:1/", "x5u": "/etc/x"});
    let kid = |key: &SigningKey, id: Value| signed(key, &json!({"kid": id}));
    let critical = json!({"crit": ["b64"], "b64": false});
    let rows = [
        (
            "another's key of that id",
            stranger.token("ES256", &claims),
            WRONG,
        ),
        (
            "a key of its own in the header",
            signed(&stranger, &own),
            WRONG,
        ),
        ("a path", kid(&stranger, json!("../../dev/null")), UNKNOWN),
        ("a URL", kid(&stranger, json!(stage.issuer.url())), UNKNOWN),
        ("SQL", kid(&stranger, json!("x' OR '1'='1")), UNKNOWN),
        ("empty", kid(&stage.p256, json!("")), UNKNOWN),
        ("another case", kid(&stage.p256, json!("P256")), UNKNOWN),
        ("no text", kid(&stage.p256, json!(["p256"])), NO_JWT),
        (
            "null",
            kid(&stage.p256, Value::Null),
            "it has no id of a key",
        ),
        (
            "huge",
            kid(&stage.p256, json!("k".repeat(257))),
            "the id of its key is too long",
        ),
        (
            "critical extensions",
            signed(&stage.p256, &critical),
            "it has extensions that are critical",
        ),
    ];
    stage.refuses(&rows).await;
}

#[tokio::test]
async fn a_token_is_what_was_signed() {
    let stage = Stage::set().await;
    let claims = stage.claims();
    let good = stage.p256.token("ES256", &claims);
    let (message, signature) = good.rsplit_once('.').unwrap();
    let (header, _) = message.split_once('.').unwrap();
    let admin = stage.with(&json!({"sub": "admin"})).to_string();
    let twice = format!("{{\"exp\":1,{}", &claims.to_string()[1..]);
    let twice = format!("{header}.{}", base64(twice.as_bytes()));
    let of_twice = base64(&stage.p256.signature("ES256", twice.as_bytes()));
    let deep = base64("[".repeat(5000).as_bytes());
    let rows = [
        ("no signature part", message.to_owned(), NO_JWT),
        ("a part more", format!("{good}.{signature}"), NO_JWT),
        (
            "claims changed",
            format!("{header}.{}.{signature}", base64(admin.as_bytes())),
            WRONG,
        ),
        (
            "a claim twice",
            format!("{twice}.{of_twice}"),
            "it is malformed",
        ),
        (
            "zeros as a signature",
            format!("{message}.{}", base64(&[0; 64])),
            WRONG,
        ),
        (
            "a signature as DER",
            format!("{message}.{}", base64(&[0x30; 70])),
            WRONG,
        ),
        ("padded base64", format!("{good}="), "it is malformed"),
        (
            "huge",
            format!("{message}.{}", "A".repeat(9000)),
            "it is too long",
        ),
        ("deep JSON", format!("{deep}.e30.AA"), NO_JWT),
        ("empty", String::new(), NO_JWT),
    ];
    stage.refuses(&rows).await;
}

#[tokio::test]
async fn one_header_with_the_scheme_counts() {
    let stage = Stage::set().await;
    let token = stage.p256.token("ES256", &stage.claims());
    let no_bearer = Some("the Authorization header has no bearer token");
    for value in [
        &token,
        "Basic dTpw",
        "Bearer",
        &format!("Bearer,{token}"),
        "",
    ] {
        assert_eq!(reason(&stage.bearer, value).await, no_bearer, "{value}");
    }
    let mut headers = HeaderMap::new();
    let one_header = Refused("there is no Authorization header, or more than one");
    assert_eq!(presented(&headers), Err(one_header));
    headers.append("authorization", format!("Bearer {token}").parse().unwrap());
    assert_eq!(presented(&headers), Ok(&*token));
    headers.append("authorization", format!("Bearer {token}").parse().unwrap());
    assert_eq!(presented(&headers), Err(one_header));
}

#[tokio::test]
async fn a_client_learns_nothing_but_that_it_needs_a_token() {
    let stage = Stage::set().await;
    let expired = stage.with(&json!({"exp": 1}));
    let mut seen = Vec::new();
    for token in [
        "",
        "x",
        &stage.p256.token("ES256", &expired),
        &"A".repeat(9000),
    ] {
        let request = http::Request::get("/").header("authorization", format!("Bearer {token}"));
        let mut head = request.body(()).unwrap().into_parts().0;
        seen.push(
            stage
                .bearer
                .handle(&mut head, Remote::Unix)
                .await
                .unwrap_err(),
        );
    }
    assert!(seen.iter().all(|rejection| *rejection == seen[0]));
    assert_eq!(
        (seen[0].status.as_u16(), seen[0].body),
        (401, "Unauthorized\n")
    );
    let headers: Vec<_> = seen[0].headers.iter().collect();
    assert_eq!(
        headers,
        [(
            &header::WWW_AUTHENTICATE,
            &HeaderValue::from_static("Bearer")
        )]
    );
}
