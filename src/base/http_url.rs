//! The URL of an HTTP server, below which methods are called.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use http::Uri;
use http::uri::{Authority, PathAndQuery, Scheme};

use super::method_path::{MethodPath, MethodPathError};

/// The longest name of a host (RFC 1035, section 2.3.4, as text).
const MAX_HOST: usize = 253;

/// Why a text is no such URL. No message shows the text, which may hold a password.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum HttpUrlError {
    /// Another scheme, or none.
    #[error("a URL begins with http:// or https://")]
    Scheme,
    /// A query or a fragment, which a method could not follow.
    #[error("a URL without query and fragment is accepted: it holds \"?\" or \"#\"")]
    Query,
    /// A name or a password.
    #[error("a URL without user info is accepted: it holds \"@\" before its host")]
    UserInfo,
    /// No host, or one that is no name and no address.
    #[error(
        "the host of a URL is a name of A-Z, a-z, 0-9, \"-\", \"_\" and \".\" (others in their \
         \"xn--\" form), an IPv4 address, or an IPv6 address in brackets"
    )]
    Host,
    /// A port that is none.
    #[error("the port of a URL is a number from 1 to 65535")]
    Port,
    /// A path that is none.
    #[error("the path of the URL cannot be used: {0}")]
    Path(#[from] MethodPathError),
}

/// A URL with the scheme `http` or `https`, a host, perhaps a port, and a path that is normalised
/// once and for all. It has no user info, query or fragment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpUrl {
    scheme: Scheme,
    authority: Authority,
    base: MethodPath,
}

impl HttpUrl {
    /// Reads a URL.
    ///
    /// # Errors
    ///
    /// Whatever is not such a URL.
    pub fn parse(text: &str) -> Result<Self, HttpUrlError> {
        let (scheme, rest) = split_scheme(text).ok_or(HttpUrlError::Scheme)?;
        if rest.contains(['?', '#']) {
            return Err(HttpUrlError::Query);
        }
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        if authority.contains('@') {
            return Err(HttpUrlError::UserInfo);
        }
        check_authority(authority)?;
        let authority = authority.to_ascii_lowercase();
        Ok(Self {
            scheme,
            authority: authority.parse().map_err(|_| HttpUrlError::Host)?,
            base: MethodPath::from_encoded(path)?,
        })
    }

    /// The URL of a method: this one, `/`, the method, and the query (escaped, without `?`) where
    /// there is one.
    ///
    /// # Errors
    ///
    /// A query that can stand in no URL.
    pub fn of_method(&self, method: &MethodPath, query: Option<&str>) -> Result<Uri, http::Error> {
        let mut target = String::new();
        for part in [&self.base, method] {
            if !part.as_str().is_empty() {
                target.push('/');
                target.push_str(&part.encoded());
            }
        }
        if method.as_str().is_empty() {
            target.push('/');
        }
        if let Some(query) = query {
            target.push('?');
            target.push_str(query);
        }
        Uri::builder()
            .scheme(self.scheme.clone())
            .authority(self.authority.clone())
            .path_and_query(PathAndQuery::try_from(target)?)
            .build()
    }

    /// Whether it is reached over TLS.
    pub fn is_https(&self) -> bool {
        self.scheme == Scheme::HTTPS
    }

    /// The host, an IPv6 address without its brackets.
    pub fn host(&self) -> &str {
        self.authority.host().trim_matches(['[', ']'])
    }

    /// The address, where the host is one and no name.
    pub fn address(&self) -> Option<IpAddr> {
        self.host().parse().ok()
    }
}

/// The URL as it is normalised: it holds no secret.
impl fmt::Display for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.authority)?;
        match self.base.as_str() {
            "" => Ok(()),
            _ => write!(f, "/{}", self.base.encoded()),
        }
    }
}

fn split_scheme(text: &str) -> Option<(Scheme, &str)> {
    let (scheme, rest) = text.split_once("://")?;
    if scheme.eq_ignore_ascii_case("http") {
        Some((Scheme::HTTP, rest))
    } else if scheme.eq_ignore_ascii_case("https") {
        Some((Scheme::HTTPS, rest))
    } else {
        None
    }
}

fn check_authority(authority: &str) -> Result<(), HttpUrlError> {
    let (is_host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']').ok_or(HttpUrlError::Host)?;
            (host.parse::<Ipv6Addr>().is_ok(), port)
        }
        None => {
            let end = authority.find(':').unwrap_or(authority.len());
            let (host, port) = authority.split_at(end);
            (is_name(host), port)
        }
    };
    if !is_host {
        return Err(HttpUrlError::Host);
    }
    match port.strip_prefix(':') {
        None if port.is_empty() => Ok(()),
        None => Err(HttpUrlError::Host),
        Some(port) => {
            let is_number = port.bytes().all(|byte| byte.is_ascii_digit());
            let is_port = is_number && port.parse::<u16>().is_ok_and(|port| port != 0);
            is_port.then_some(()).ok_or(HttpUrlError::Port)
        }
    }
}

/// Underscores are in no host name of DNS, and yet in names of containers and of cloud services.
fn is_name(host: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (1..=MAX_HOST).contains(&host.len()) && host.bytes().all(is_part)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn url(text: &str) -> HttpUrl {
        HttpUrl::parse(text).unwrap()
    }

    #[test]
    fn reads_what_is_below_a_server() {
        for (text, shown, host) in [
            ("http://a", "http://a", "a"),
            (
                "HTTPS://Api.Example.com:8443/",
                "https://api.example.com:8443",
                "api.example.com",
            ),
            ("http://a//v1/./x/../y/", "http://a/v1/y", "a"),
            ("http://a/b%20c", "http://a/b%20c", "a"),
            ("http://[::1]:80/x", "http://[::1]:80/x", "::1"),
            ("http://10.0.0.1", "http://10.0.0.1", "10.0.0.1"),
            ("http://my_app.ns", "http://my_app.ns", "my_app.ns"),
        ] {
            let url = url(text);
            assert_eq!(
                (url.to_string().as_str(), url.host()),
                (shown, host),
                "{text}"
            );
        }
    }

    #[test]
    fn refuses_what_is_no_url_of_a_server() {
        use HttpUrlError::{Host, Port, Query, Scheme, UserInfo};
        for (text, expected) in [
            ("", Scheme),
            ("a.example.com", Scheme),
            ("ftp://a", Scheme),
            ("//a", Scheme),
            ("http:/a", Scheme),
            ("http://", Host),
            ("http:///path", Host),
            ("http://:80", Host),
            ("http://a b", Host),
            ("http://a%2eb", Host),
            ("http://ä.example.com", Host),
            ("http://a\\b", Host),
            ("http://[::1", Host),
            ("http://[::1]x", Host),
            ("http://[fe80::1%25eth0]", Host),
            ("http://::1", Host),
            ("http://a:", Port),
            ("http://a:0", Port),
            ("http://a:+1", Port),
            ("http://a:65536", Port),
            ("http://a?x", Query),
            ("http://a/#x", Query),
            ("http://user:password@a", UserInfo),
        ] {
            assert_eq!(HttpUrl::parse(text), Err(expected), "{text}");
        }
    }

    #[test]
    fn errors_show_nothing_of_the_text() {
        for text in ["hunter2", "http://u:hunter2@a", "http://a?hunter2"] {
            let error = HttpUrl::parse(text).unwrap_err().to_string();
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn a_method_comes_below_the_url() {
        for (base, method, query, expected) in [
            ("http://a", "", None, "http://a/"),
            ("http://a/v1", "", None, "http://a/v1/"),
            ("http://a/v1/", "x/y", Some("q=1"), "http://a/v1/x/y?q=1"),
            ("http://a", "ä b", Some(""), "http://a/%C3%A4%20b?"),
            ("http://a/v1", "../x", None, "http://a/v1/x"),
            ("http://a/v1", "%2e%2e%2fx", None, "http://a/v1/x"),
        ] {
            let method = MethodPath::from_encoded(method).unwrap();
            let uri = url(base).of_method(&method, query).unwrap();
            assert_eq!(uri.to_string(), expected);
        }
    }

    proptest! {
        #[test]
        fn no_method_leaves_the_url(base in "(/[a-z]{1,3}){0,2}", method in ".*") {
            let url = url(&format!("http://host{base}"));
            if let Ok(method) = MethodPath::from_encoded(&method) {
                let uri = url.of_method(&method, None).unwrap();
                prop_assert_eq!(uri.host(), Some("host"));
                let below = format!("{base}/");
                prop_assert!(uri.path().starts_with(&below), "{}", uri);
            }
        }

        #[test]
        fn what_is_shown_is_the_same_url(text in "https?://[ -~]{0,20}") {
            if let Ok(url) = HttpUrl::parse(&text) {
                prop_assert_eq!(HttpUrl::parse(&url.to_string()).unwrap(), url);
            }
        }
    }
}
