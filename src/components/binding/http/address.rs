//! Where requests of `bindings.http` go: always below the URL of the component.

use http::Uri;
use http::uri::{Authority, PathAndQuery, Scheme};
use percent_encoding::{AsciiSet, percent_decode_str, utf8_percent_encode};

use crate::base::http_url::HttpUrl;
use crate::base::method_path::{self, MethodPath, has_valid_escapes};

/// What stands encoded in a path. `%` is not in the set: escapes stay as they are.
const ENCODED: &AsciiSet = &method_path::ENCODED.remove(b'%').remove(b'?');

/// The URL of the component. Its path and query are escaped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    scheme: Scheme,
    authority: Authority,
    path: String,
    query: Option<String>,
}

impl Address {
    /// Reads a URL with the scheme `http` or `https`, a host, and perhaps a port, a path and a
    /// query.
    ///
    /// # Errors
    ///
    /// What is wrong, without the text: it may hold a password.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (location, query) = split_query(text);
        let url = HttpUrl::parse(location).map_err(|error| error.to_string())?;
        let root = MethodPath::from_decoded("").map_err(|error| error.to_string())?;
        let root = url.of_method(&root, None);
        let parts = root.map_err(|error| error.to_string())?.into_parts();
        let (Some(scheme), Some(authority)) = (parts.scheme, parts.authority) else {
            return Err("it has no host".to_owned());
        };
        let after_scheme = location.split_once("://").map_or("", |(_, rest)| rest);
        let path = after_scheme.find('/').map_or("", |at| &after_scheme[at..]);
        Ok(Self {
            scheme,
            authority,
            path: escaped(path)?,
            query: query.map(encoded),
        })
    }

    /// The URL below this one that `path` names, which may have a query; this one itself where it
    /// is empty. The query of this one goes along.
    ///
    /// # Errors
    ///
    /// A path that leads elsewhere, or cannot stand in a URL.
    pub(super) fn below(&self, path: &str) -> Result<Uri, String> {
        let (path, query) = split_query(path);
        let mut target = self.path.clone();
        if !path.is_empty() {
            target.truncate(target.trim_end_matches('/').len());
            target.push('/');
            target.push_str(&escaped(path.trim_start_matches('/'))?);
        }
        if target.is_empty() {
            target.push('/');
        }
        let queries = [self.query.clone(), query.map(encoded)];
        let queries: Vec<_> = queries.into_iter().flatten().collect();
        if !queries.is_empty() {
            target.push('?');
            target.push_str(&queries.join("&"));
        }
        let target = PathAndQuery::try_from(target).map_err(|error| error.to_string())?;
        Uri::builder()
            .scheme(self.scheme.clone())
            .authority(self.authority.clone())
            .path_and_query(target)
            .build()
            .map_err(|error| error.to_string())
    }
}

fn split_query(text: &str) -> (&str, Option<&str>) {
    match text.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (text, None),
    }
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, ENCODED).to_string()
}

/// A path as it stands in a URL. Neither it nor what a server may decode it to has segments that
/// lead upwards.
fn escaped(path: &str) -> Result<String, String> {
    if path.contains('#') {
        return Err("it holds \"#\"".to_owned());
    }
    if !has_valid_escapes(path) {
        return Err("it has an escape that is not valid".to_owned());
    }
    let decoded = percent_decode_str(path).decode_utf8();
    let decoded = decoded.map_err(|_| "it is not valid UTF-8".to_owned())?;
    let mut segments = decoded.split(['/', '\\']);
    if segments.any(|segment| matches!(segment, "." | "..")) {
        return Err("it has a segment \".\" or \"..\"".to_owned());
    }
    Ok(encoded(path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn below(base: &str, path: &str) -> Result<String, String> {
        let uri = Address::parse(base).unwrap().below(path);
        uri.map(|uri| uri.to_string())
    }

    #[test]
    fn a_path_goes_below_the_url() {
        for (base, path, expected) in [
            ("http://h", "", "http://h/"),
            ("http://h:8000/customers", "", "http://h:8000/customers"),
            ("http://h/customers/", "", "http://h/customers/"),
            ("http://h/customers/", "/7", "http://h/customers/7"),
            ("http://h/a", "b/c/", "http://h/a/b/c/"),
            ("http://h/a", "b%2Fc", "http://h/a/b%2Fc"),
            ("http://h/a", "b c", "http://h/a/b%20c"),
            ("http://h/a", "x?y=z", "http://h/a/x?y=z"),
            ("http://h/a?code=1", "x?y=z", "http://h/a/x?code=1&y=z"),
            ("http://h/a?code=1", "", "http://h/a?code=1"),
            (
                "http://h/a",
                "//other.example/x",
                "http://h/a/other.example/x",
            ),
            ("http://h/a", "http://other/", "http://h/a/http://other/"),
            ("http://h/a", "@other/", "http://h/a/@other/"),
            ("http://h/a", "x?next=../y#z", "http://h/a/x?next=../y%23z"),
            ("https://[::1]:1/a", "x", "https://[::1]:1/a/x"),
        ] {
            assert_eq!(below(base, path).as_deref(), Ok(expected), "{base} {path}");
        }
    }

    #[test]
    fn no_path_leads_upwards() {
        for path in [
            "..",
            "../x",
            "a/../../x",
            "a/./x",
            "%2e%2e/x",
            ".%2E/x",
            "a%2F..%2F..%2Fx",
            "..\\x",
            "..%5Cx",
            "a\\..\\..\\x",
        ] {
            let error = below("http://h/a", path).unwrap_err();
            assert_eq!(error, "it has a segment \".\" or \"..\"", "{path}");
        }
        for (path, expected) in [
            ("a%", "escape"),
            ("a%2", "escape"),
            ("a%zz", "escape"),
            ("a%ff", "UTF-8"),
            ("a#b", "\"#\""),
        ] {
            let error = below("http://h/a", path).unwrap_err();
            assert!(error.contains(expected), "{path}: {error}");
        }
    }

    #[test]
    fn says_what_is_no_url_without_showing_it() {
        for (url, expected) in [
            ("hunter2", "begins with http:// or https://"),
            ("ftp://hunter2", "begins with http:// or https://"),
            ("http://u:hunter2@h/", "without user info"),
            ("http:///hunter2", "host"),
            ("http://h/hunter2#x", "\"#\""),
            ("http://h/../hunter2", "\"..\""),
        ] {
            let error = Address::parse(url).unwrap_err();
            assert!(error.contains(expected), "{url}: {error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn whatever_the_path_the_host_and_the_base_stay(path in ".*") {
            let address = Address::parse("http://host:1/base").unwrap();
            if let Ok(uri) = address.below(&path) {
                prop_assert_eq!(uri.authority().unwrap().as_str(), "host:1");
                let url = reqwest_form(&uri.to_string());
                prop_assert!(url.starts_with("http://host:1/base"), "{}", url);
            }
        }
    }

    /// A URL as the HTTP client normalises it.
    fn reqwest_form(url: &str) -> String {
        crate::components::http_client::normalised(url)
    }
}
