//! Where the keys of an issuer are read (OpenID Connect Discovery 1.0).

use std::net::IpAddr;

use bytes::Bytes;
use http::uri::Scheme;
use http::{Request, StatusCode, Uri, header};
use serde::Deserialize;

use super::jwks::KeySet;
use crate::components::http_client::HttpClient;
use crate::process::tasks::with_causes;
use crate::tls::client::Trust;

/// What stands behind an issuer (section 4).
const DISCOVERY_PATH: &str = "/.well-known/openid-configuration";
/// The most bytes of one answer. Sets with the chains of certificates of their keys have 50 KiB.
const MAX_ANSWER_BYTES: usize = 512 << 10;

/// A server from which keys may be read: whoever is between would be the issuer otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Endpoint {
    uri: Uri,
    /// It is this machine.
    is_local: bool,
}

impl Endpoint {
    /// `None` for what is no URL with `https`, nor one with `http` of this machine.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let uri: Uri = text.parse().ok().filter(|_| !text.contains('#'))?;
        let host = uri.host().filter(|host| !host.is_empty())?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let address = host.parse::<IpAddr>();
        let is_local = host.eq_ignore_ascii_case("localhost")
            || address.is_ok_and(|address| address.to_canonical().is_loopback());
        let is_safe = match uri.scheme()? {
            scheme if *scheme == Scheme::HTTPS => true,
            scheme => *scheme == Scheme::HTTP && is_local,
        };
        let has_user = uri.authority()?.as_str().contains('@');
        (is_safe && !has_user).then_some(Self { uri, is_local })
    }

    fn is_plain(&self) -> bool {
        self.uri.scheme() == Some(&Scheme::HTTP)
    }

    /// The whole answer, where it is a 200.
    async fn get(&self) -> Result<Bytes, String> {
        // Made for one answer: the next one is wanted in minutes at the earliest.
        let trust = Trust::default();
        let client = if self.is_local {
            HttpClient::direct(&trust)
        } else {
            HttpClient::new(&trust)
        };
        let client = client.map_err(|error| with_causes(&error))?;
        let request = Request::get(self.uri.clone())
            .header(header::ACCEPT, "application/json")
            .body(Bytes::new())
            .map_err(|error| error.to_string())?;
        let answer = client.send(request, MAX_ANSWER_BYTES).await;
        let answer = answer.map_err(|error| error.to_string())?;
        match answer.status() {
            StatusCode::OK => Ok(answer.into_body()),
            status => {
                let host = self.uri.host().unwrap_or_default();
                Err(format!("{host} answered {}", status.as_u16()))
            }
        }
    }
}

/// The way to the keys of an issuer.
#[derive(Clone, Debug)]
pub(super) enum Source {
    /// Their URL is known.
    Keys(Endpoint),
    /// The issuer tells their URL.
    Discovery { issuer: String, document: Endpoint },
}

#[derive(Deserialize)]
struct Metadata {
    issuer: String,
    jwks_uri: String,
}

impl Source {
    /// `None` for an issuer that is no URL of the accepted form.
    pub(super) fn discovery(issuer: &str) -> Option<Self> {
        if issuer.contains('?') {
            return None;
        }
        let document = format!("{}{DISCOVERY_PATH}", issuer.trim_end_matches('/'));
        Some(Self::Discovery {
            document: Endpoint::parse(&document)?,
            issuer: issuer.to_owned(),
        })
    }

    /// The keys as they are now. Setting a limit on the time is the caller's.
    ///
    /// # Errors
    ///
    /// A text for operators, without pieces of answers.
    pub(super) async fn read(&self) -> Result<KeySet, String> {
        let keys = match self {
            Self::Keys(keys) => keys.get().await?,
            Self::Discovery { issuer, document } => {
                let metadata: Metadata = serde_json::from_slice(&document.get().await?)
                    .map_err(|_| "the answer is no discovery document".to_owned())?;
                if metadata.issuer != *issuer {
                    return Err("the discovery document is of another issuer".to_owned());
                }
                let keys = Endpoint::parse(&metadata.jwks_uri);
                // Only an issuer on this machine may send us to this machine in the clear.
                keys.filter(|keys| !keys.is_plain() || document.is_local)
                    .ok_or("the jwks_uri of the discovery document is no URL with https")?
                    .get()
                    .await?
            }
        };
        KeySet::parse(&keys)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::components::middleware::bearer::tests::{AUDIENCE, bearer, reason};
    use crate::testing::issuer::{Issuer, SigningKey, in_seconds};
    use serde_json::json;

    #[test]
    fn keys_come_over_tls_or_from_this_machine() {
        for (url, is_local) in [
            ("https://issuer.example/keys?x=1", false),
            ("https://127.0.0.1/", true),
            ("http://127.0.0.1:8080/keys", true),
            ("http://127.9.9.9/", true),
            ("http://localhost/", true),
            ("http://LOCALHOST:1/", true),
            ("http://[::1]:1/", true),
            ("http://[::ffff:127.0.0.1]/", true),
        ] {
            let endpoint = Endpoint::parse(url).map(|endpoint| endpoint.is_local);
            assert_eq!(endpoint, Some(is_local), "{url}");
        }
        for url in [
            "",
            "issuer.example",
            "/keys",
            "http://issuer.example/",
            "http://127.0.0.1.example/",
            "http://localhost.example/",
            "http://169.254.169.254/",
            "http://10.0.0.1/",
            "http://0.0.0.0/",
            "http://127.0.0.1@issuer.example/",
            "https://user:password@issuer.example/",
            "https://issuer.example/#fragment",
            "ftp://issuer.example/",
            "file:///etc/passwd",
            "unix:/socket",
        ] {
            assert_eq!(Endpoint::parse(url), None, "{url}");
        }
        assert!(Source::discovery("https://issuer.example?a=b").is_none());
    }

    #[test]
    fn the_document_stands_behind_the_issuer() {
        for issuer in ["https://i.example/realm", "https://i.example/realm/"] {
            let Some(Source::Discovery { document, .. }) = Source::discovery(issuer) else {
                panic!("{issuer}")
            };
            let expected = "https://i.example/realm/.well-known/openid-configuration";
            assert_eq!(document.uri, expected);
        }
    }

    #[tokio::test]
    async fn an_issuer_has_to_be_who_it_is_said_to_be() {
        let key = SigningKey::p256("p256");
        let issuer = Issuer::start(&[&key]).await;
        let url = issuer.url();
        let settings = [("issuer", &*url), ("audience", AUDIENCE)];
        let no_https = "the jwks_uri of the discovery document is no URL with https";
        let another = "the discovery document is of another issuer";
        for (fields, expected) in [
            (json!({"issuer": "https://other.example"}), another),
            (json!({"issuer": format!("{url}/")}), another),
            (
                json!({"issuer": null}),
                "the answer is no discovery document",
            ),
            (json!({"jwks_uri": "http://169.254.169.254/keys"}), no_https),
            (json!({"jwks_uri": "file:///etc/passwd"}), no_https),
            (json!({"jwks_uri": "/keys"}), no_https),
            (
                json!({"jwks_uri": format!("{url}/elsewhere")}),
                "the answer is no set of keys (RFC 7517)",
            ),
        ] {
            issuer.discover(fields.clone());
            let error = bearer(&settings).await.err().unwrap();
            let expected = format!("the keys of the issuer cannot be read: {expected}");
            assert_eq!(error, expected, "{fields}");
        }
        issuer.discover(json!({}));
        assert!(bearer(&settings).await.is_ok());
        issuer.publish_raw(vec![json!({"kty": "oct", "kid": "p256", "k": "c2VjcmV0"})]);
        let error = bearer(&settings).await.err().unwrap();
        assert!(error.ends_with("the set has no key with an id that can verify a signature"));
        issuer.publish_raw(vec![json!("x".repeat(1 << 20))]);
        let error = bearer(&settings).await.err().unwrap();
        assert!(
            error.ends_with("the answer has more than 524288 bytes"),
            "{error}"
        );
        issuer.fail(true);
        let error = bearer(&settings).await.err().unwrap();
        assert!(error.ends_with("127.0.0.1 answered 503"), "{error}");
    }

    #[tokio::test]
    async fn the_url_of_the_keys_may_be_given() {
        let key = SigningKey::p256("p256");
        let issuer = Issuer::start(&[&key]).await;
        let keys = format!("{}/keys", issuer.url());
        let name = "urn:some:issuer";
        let settings = [
            ("issuerURL", name),
            ("clientID", AUDIENCE),
            ("jwksURL", &*keys),
        ];
        let bearer = bearer(&settings).await.unwrap();
        assert_eq!(issuer.paths(), ["/keys"]);
        let claims = json!({"iss": name, "aud": AUDIENCE, "exp": in_seconds(60)});
        let token = key.token("ES256", &claims);
        assert_eq!(reason(&bearer, &format!("Bearer {token}")).await, None);
    }

    #[tokio::test]
    async fn settings_are_checked_before_anybody_is_asked() {
        let accepted = "is not a URL with https, or with http where the host is this machine";
        let no_issuer = format!("the value of \"issuer\" {accepted}");
        let no_keys = format!("the value of \"jwksURL\" {accepted}");
        for (settings, expected) in [
            (&[("audience", "a")][..], "missing issuer in metadata"),
            (
                &[("issuer", "https://i.example")],
                "missing audience in metadata",
            ),
            (
                &[("issuer", "https://i.example"), ("audience", "")],
                "missing audience in metadata",
            ),
            (
                &[("issuer", "http://i.example"), ("audience", "a")],
                &no_issuer,
            ),
            (&[("issuer", "urn:x"), ("audience", "a")], &no_issuer),
            (
                &[
                    ("issuer", "urn:x"),
                    ("audience", "a"),
                    ("jwksURL", "http://i.example/keys"),
                ],
                &no_keys,
            ),
        ] {
            assert_eq!(
                bearer(settings).await.err().as_deref(),
                Some(expected),
                "{settings:?}"
            );
        }
    }
}
