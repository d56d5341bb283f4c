//! The addresses of collectors. Pure.

use http::Uri;
use http::uri::{Authority, PathAndQuery, Scheme};

/// How an OTLP collector is spoken to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// gRPC.
    #[default]
    Grpc,
    /// HTTP, with protobuf bodies.
    Http,
}

/// The path of traces over HTTP (OTLP 1.x, "OTLP/HTTP Request").
const HTTP_PATH: &str = "/v1/traces";

/// An address that cannot be used. The text tells nothing of the address but its scheme: paths of
/// some collectors are secrets.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum EndpointError {
    /// No address at all.
    #[error("is not an address; accepted are HOST:PORT, http://HOST:PORT and https://HOST:PORT")]
    Address,
    /// No URL, where one is needed.
    #[error(
        "is not a URL; accepted are those of http and https, such as \
             \"http://zipkin:9411/api/v2/spans\""
    )]
    Url,
    /// Another scheme.
    #[error("has the scheme {0:?}; accepted are http and https")]
    Scheme(String),
    /// A scheme that `isSecure` contradicts.
    #[error("begins with \"{0}://\", which isSecure contradicts; leave one of them out")]
    Contradiction(Scheme),
    /// A user's name in it.
    #[error("holds a user name, which is not sent; give credentials as headers")]
    User,
    /// A query, or a path where gRPC has none.
    #[error("has a path or query, which {0} does not have")]
    Path(&'static str),
}

/// The URL of an OTLP collector, from `HOST:PORT` or a URL. A scheme in the address decides on TLS,
/// else `is_secure`, else there is TLS. Over HTTP the path of traces is added where it is missing.
///
/// # Errors
///
/// An address that cannot be used.
pub fn otlp(text: &str, protocol: Protocol, is_secure: Option<bool>) -> Result<Uri, EndpointError> {
    let (scheme, rest) = match text.split_once("://") {
        Some((name, rest)) => (Some(scheme(name)?), rest),
        None => (None, text),
    };
    let asked = is_secure.map(|is_secure| {
        if is_secure {
            Scheme::HTTPS
        } else {
            Scheme::HTTP
        }
    });
    let scheme = match (scheme, asked) {
        (Some(scheme), Some(asked)) if scheme != asked => {
            return Err(EndpointError::Contradiction(scheme));
        }
        (Some(scheme), _) | (None, Some(scheme)) => scheme,
        (None, None) => Scheme::HTTPS,
    };
    let (host, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let path = path.trim_end_matches('/');
    let path = match protocol {
        Protocol::Grpc if path.is_empty() => "/".to_owned(),
        Protocol::Grpc => return Err(EndpointError::Path("gRPC")),
        Protocol::Http if path.contains(['?', '#']) => return Err(EndpointError::Path("OTLP")),
        Protocol::Http if path.ends_with(HTTP_PATH) => path.to_owned(),
        Protocol::Http => format!("{path}{HTTP_PATH}"),
    };
    build(scheme, host, &path, &EndpointError::Address)
}

/// The URL of a Zipkin collector, whose path is taken as it is.
///
/// # Errors
///
/// No URL of `http` and `https`.
pub fn zipkin(text: &str) -> Result<Uri, EndpointError> {
    let (name, rest) = text.split_once("://").ok_or(EndpointError::Url)?;
    let scheme = scheme(name)?;
    let (host, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let path = if path.starts_with('/') {
        path.to_owned()
    } else {
        format!("/{path}")
    };
    build(scheme, host, &path, &EndpointError::Url)
}

fn scheme(name: &str) -> Result<Scheme, EndpointError> {
    match name.to_ascii_lowercase().as_str() {
        "http" => Ok(Scheme::HTTP),
        "https" => Ok(Scheme::HTTPS),
        _ => Err(EndpointError::Scheme(name.to_owned())),
    }
}

fn build(
    scheme: Scheme,
    host: &str,
    path: &str,
    bad: &EndpointError,
) -> Result<Uri, EndpointError> {
    let bad = || bad.to_owned();
    if host.contains('@') {
        return Err(EndpointError::User);
    }
    let authority: Authority = host.parse().map_err(|_| bad())?;
    // `http` takes ports that are none for no port.
    let port = authority.as_str().strip_prefix(authority.host());
    let is_port_bad = match port.unwrap_or_default().strip_prefix(':') {
        Some(port) => port.parse::<u16>().is_err(),
        None => false,
    };
    if authority.host().is_empty() || is_port_bad {
        return Err(bad());
    }
    let path: PathAndQuery = path.parse().map_err(|_| bad())?;
    let uri = Uri::builder().scheme(scheme).authority(authority);
    uri.path_and_query(path).build().map_err(|_| bad())
}

/// Host and port of a collector, which is all that logs tell of it.
pub(super) fn server(uri: &Uri) -> String {
    uri.authority().map(ToString::to_string).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_address_becomes_a_url() {
        use Protocol::{Grpc, Http};
        for (text, protocol, is_secure, expected) in [
            ("otel:4317", Grpc, None, "https://otel:4317/"),
            ("otel:4317", Grpc, Some(false), "http://otel:4317/"),
            ("http://otel:4317/", Grpc, None, "http://otel:4317/"),
            ("HTTPS://otel", Grpc, Some(true), "https://otel/"),
            (
                "[::1]:4318",
                Http,
                Some(false),
                "http://[::1]:4318/v1/traces",
            ),
            ("http://otel:4318", Http, None, "http://otel:4318/v1/traces"),
            ("http://otel/a/", Http, None, "http://otel/a/v1/traces"),
            ("otel/v1/traces", Http, None, "https://otel/v1/traces"),
        ] {
            let uri = otlp(text, protocol, is_secure).unwrap();
            assert_eq!(uri.to_string(), expected, "{text}");
        }
        let url = "http://zipkin:9411/api/v2/spans?x=1";
        assert_eq!(zipkin(url).unwrap().to_string(), url);
    }

    #[test]
    fn what_is_no_address_says_what_is_accepted() {
        for (text, expected) in [
            ("", EndpointError::Address),
            (":4317", EndpointError::Address),
            ("otel:99999", EndpointError::Address),
            ("otel:", EndpointError::Address),
            ("a b", EndpointError::Address),
            ("ftp://otel", EndpointError::Scheme("ftp".to_owned())),
            ("http://otel", EndpointError::Contradiction(Scheme::HTTP)),
            ("https://u:p@otel", EndpointError::User),
            ("otel:4317/path", EndpointError::Path("gRPC")),
        ] {
            assert_eq!(
                otlp(text, Protocol::Grpc, Some(true)),
                Err(expected),
                "{text}"
            );
        }
        assert_eq!(zipkin("zipkin:9411"), Err(EndpointError::Url));
        assert_eq!(
            EndpointError::Address.to_string(),
            "is not an address; accepted are HOST:PORT, http://HOST:PORT and https://HOST:PORT"
        );
    }

    proptest! {
        #[test]
        fn a_url_is_absolute(text in "\\PC{0,40}") {
            for uri in [otlp(&text, Protocol::Http, None), zipkin(&text)].into_iter().flatten() {
                prop_assert!(uri.scheme().is_some() && uri.host().is_some());
            }
        }
    }
}
