//! `middleware.http.bearer`: requests with a token of one OpenID Connect issuer.
//!
//! ```text
//! Authorization → token (sizes, header) → keys (by id, read from the issuer) → signature → claims
//! ```
//! A client is told that its token does not count, and never why: the reason is in the log.

use std::time::Instant;

use async_trait::async_trait;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use tracing::debug;

use super::{Middleware, Rejection};
use crate::components::Error;
use crate::components::metadata::{self, Reader};
use crate::process::listener::Remote;
use keys::Keys;
use source::{Endpoint, Source};
use token::{Refused, Rules};

mod crypto;
mod jwks;
mod keys;
mod source;
#[cfg(test)]
mod tests;
mod token;

/// The most bytes of a token. Servers take headers of 8 KiB commonly.
const MAX_TOKEN_BYTES: usize = 8 << 10;

/// Lets requests pass whose token the issuer signed for this audience.
pub struct Bearer {
    name: String,
    rules: Rules,
    keys: Keys,
}

impl Bearer {
    /// Reads `issuer`, `audience` and `jwksURL`, and the keys of the issuer.
    ///
    /// # Errors
    ///
    /// Settings that are missing or no URLs of the accepted form; keys that cannot be read.
    pub async fn start(name: &str, reader: &mut Reader<'_>) -> Result<Self, Error> {
        let issuer = reader.required(&["issuer", "issuerURL"], "missing issuer in metadata")?;
        let audience =
            reader.required(&["audience", "clientID"], "missing audience in metadata")?;
        let jwks = reader.text(&["jwksURL"])?.filter(|url| !url.is_empty());
        let accepted = "a URL with https, or with http where the host is this machine";
        let invalid = |name| metadata::Error::Invalid { name, accepted };
        let source = match jwks {
            Some(url) => Source::Keys(Endpoint::parse(url).ok_or(invalid("jwksURL"))?),
            None => Source::discovery(issuer).ok_or(invalid("issuer"))?,
        };
        crypto::install().map_err(|problem| Error::Init(problem.to_owned()))?;
        let keys = Keys::start(name, source, Instant::now()).await;
        let keys = keys.map_err(|problem| {
            Error::Init(format!("the keys of the issuer cannot be read: {problem}"))
        })?;
        Ok(Self {
            name: name.to_owned(),
            rules: Rules::new(issuer, audience),
            keys,
        })
    }

    async fn check(&self, headers: &HeaderMap, now: Instant) -> Result<(), Refused> {
        let token = presented(headers)?;
        let header = token::header(token)?;
        let key = self.keys.find(&header.key_id, now).await;
        let key = key.ok_or(Refused("the issuer has no key of its id"))?;
        token::verify(token, header.algorithm, &key, &self.rules)
    }
}

/// The one token of a request.
fn presented(headers: &HeaderMap) -> Result<&str, Refused> {
    let mut given = headers.get_all(header::AUTHORIZATION).into_iter();
    let (Some(value), None) = (given.next(), given.next()) else {
        return Err(Refused(
            "there is no Authorization header, or more than one",
        ));
    };
    if value.len() > MAX_TOKEN_BYTES {
        return Err(Refused("it is too long"));
    }
    let text = value.to_str().map_err(|_| Refused("it is no text"))?;
    match text.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(token.trim()),
        _ => Err(Refused("the Authorization header has no bearer token")),
    }
}

#[async_trait]
impl Middleware for Bearer {
    async fn handle(&self, head: &mut Parts, caller: Remote) -> Result<(), Rejection> {
        let checked = self.check(&head.headers, Instant::now()).await;
        checked.map_err(|Refused(reason)| {
            debug!(component = self.name, %caller, reason, "A bearer token was refused");
            let mut rejection = Rejection::new(StatusCode::UNAUTHORIZED, "Unauthorized\n");
            let challenge = HeaderValue::from_static("Bearer");
            let headers = &mut rejection.headers;
            headers.insert(header::WWW_AUTHENTICATE, challenge);
            rejection
        })
    }
}
