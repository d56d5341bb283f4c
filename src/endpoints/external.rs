//! Services that a caller names by URL.

use std::borrow::Cow;
use std::sync::OnceLock;

use http::{HeaderMap, Response};
use percent_encoding::percent_decode_str;

use super::addresses::is_refused;
use super::client::Client;
use super::connect::Reach;
use super::endpoint::system_tls;
use super::headers::Outgoing;
use super::{Body, Call, Error};
use crate::base::http_url::{HttpUrl, HttpUrlError};
use crate::resources::sidecar_policy::ExternalUrls;

/// The metric label of all URLs: callers could make any number of them.
const LABEL: &str = "";

/// A URL as the target of an invocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawUrl(HttpUrl);

/// A target that is meant as a URL and is none that can be invoked. The text does not show it: it
/// may hold a password.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("invalid URL as the target of an invocation: {0}")]
pub struct RawUrlError(String);

impl RawUrl {
    /// Reads a target in the forms in which a URL stands in a path: `http://host`, `http:/host`
    /// (where slashes were merged on the way), and either of them percent-encoded as a whole.
    /// `None` where the target is the name of something and no URL.
    ///
    /// # Errors
    ///
    /// A URL with user info, a query or a fragment, or without a usable host.
    pub fn parse(target: &str) -> Option<Result<Self, RawUrlError>> {
        let (scheme, rest) = split(target)?;
        let rest = match rest.starts_with(":/") {
            true => Cow::Borrowed(rest),
            // Decoded once as a whole; its path may be encoded within.
            false => match percent_decode_str(rest).decode_utf8() {
                Ok(rest) => rest,
                Err(_) => return Some(Err(error("it is not valid UTF-8"))),
            },
        };
        let below = rest.strip_prefix(":/")?.trim_start_matches('/');
        let url = HttpUrl::parse(&format!("{scheme}://{below}"));
        Some(match url {
            Ok(url) => Ok(Self(url)),
            Err(HttpUrlError::UserInfo) => Err(error(
                "it holds user info; credentials belong into the header \"authorization\"",
            )),
            Err(problem) => Err(error(&problem.to_string())),
        })
    }

    /// The URL, normalised.
    pub fn url(&self) -> &HttpUrl {
        &self.0
    }
}

fn error(problem: &str) -> RawUrlError {
    RawUrlError(problem.to_owned())
}

/// The scheme of what may be a URL, and the rest, which begins with `:` or with that encoded.
fn split(target: &str) -> Option<(&'static str, &str)> {
    for scheme in ["https", "http"] {
        let Some((head, rest)) = target.split_at_checked(scheme.len()) else {
            continue;
        };
        let colon = rest.get(..3).is_some_and(|a| a.eq_ignore_ascii_case("%3a"));
        if head.eq_ignore_ascii_case(scheme) && (rest.starts_with(':') || colon) {
            return Some((scheme, rest));
        }
    }
    None
}

/// All services that callers name by URL, with one pool of connections.
#[derive(Debug)]
pub struct External {
    plain: Client,
    /// Made when it is first needed, since it reads the CA certificates of the system.
    secure: OnceLock<Client>,
}

impl Default for External {
    fn default() -> Self {
        Self::new()
    }
}

impl External {
    /// Nothing is connected yet.
    pub fn new() -> Self {
        Self {
            plain: Client::new(LABEL, None, Reach::Callers),
            secure: OnceLock::new(),
        }
    }

    /// Calls a method below a URL, where the policy of the moment allows URLs. Whatever comes back
    /// is no error, redirects included.
    ///
    /// # Errors
    ///
    /// A URL that may not be called, a call that cannot be sent, or one without an answer.
    pub async fn send(
        &self,
        policy: ExternalUrls,
        RawUrl(url): &RawUrl,
        call: Call<'_>,
    ) -> Result<Response<Body>, Error> {
        if policy == ExternalUrls::Deny {
            return Err(Error::UrlsDenied);
        }
        // A name is judged by its addresses, when it is connected.
        if url.address().is_some_and(is_refused) {
            let host = url.host().to_owned();
            return Err(Error::AddressRefused { host });
        }
        let uri = url.of_method(call.path, call.query);
        let uri = uri.map_err(|_| Error::Request)?;
        let client = if url.is_https() {
            self.secure()?
        } else {
            &self.plain
        };
        let headers = Outgoing::new(call.headers, &HeaderMap::new());
        client.send(call.method, uri, headers, call.body).await
    }

    fn secure(&self) -> Result<&Client, Error> {
        if let Some(client) = self.secure.get() {
            return Ok(client);
        }
        let tls = system_tls().map_err(|_| Error::NoSystemRoots)?;
        let made = || Client::new(LABEL, Some(tls), Reach::Callers);
        Ok(self.secure.get_or_init(made))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_url_in_the_forms_of_a_path() {
        for (target, expected) in [
            ("http://a.example.com", "http://a.example.com"),
            ("http:/a.example.com:8080", "http://a.example.com:8080"),
            ("https:///a/v1", "https://a/v1"),
            ("HTTPS://A", "https://a"),
            ("http%3A%2F%2Fa%3A8080%2Fv1", "http://a:8080/v1"),
            ("https%3a//a", "https://a"),
            ("http:%2F%2Fa", "http://a"),
            ("http%3A%2Fa", "http://a"),
            // An encoded URL is decoded once, and its path once more, as every path is.
            ("http%3A%2F%2Fa%2Fb%2520c", "http://a/b%20c"),
            ("http://a/b%2520c", "http://a/b%2520c"),
            ("http://a/../b", "http://a/b"),
        ] {
            let read = RawUrl::parse(target).unwrap().unwrap();
            assert_eq!(read.url().to_string(), expected, "{target}");
        }
    }

    #[test]
    fn names_are_no_urls() {
        for target in [
            "",
            "app",
            "http",
            "https",
            "app.ns",
            "httpbin",
            "http:app",
            "http-a:/b",
            "ftp://a",
            "http%3Aapp",
            "ä",
            "httä",
        ] {
            assert_eq!(RawUrl::parse(target), None, "{target}");
        }
    }

    #[test]
    fn refuses_urls_that_hold_more_than_a_place() {
        for (target, expected) in [
            (
                "http://u:hunter2@a",
                "it holds user info; credentials belong into the header \"authorization\"",
            ),
            (
                "http%3A%2F%2Fa%3Fhunter2",
                "a URL without query and fragment is accepted: it holds \"?\" or \"#\"",
            ),
            ("http%3A%2F%2F%FF", "it is not valid UTF-8"),
            (
                "http://a:b",
                "the port of a URL is a number from 1 to 65535",
            ),
        ] {
            let error = RawUrl::parse(target).unwrap().unwrap_err().to_string();
            let start = "invalid URL as the target of an invocation: ";
            assert_eq!(error, format!("{start}{expected}"), "{target}");
        }
    }
}
