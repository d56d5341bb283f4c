//! The path of a method of an app, normalised once.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

/// What stands encoded in a path: all but the `pchar` and `/` of RFC 3986, section 3.3. `%` is in
/// the set, since the path is decoded already.
pub(crate) const ENCODED: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// Whether two hexadecimal digits follow each `%`.
pub(crate) fn has_valid_escapes(path: &str) -> bool {
    let mut rest = path.as_bytes();
    while let Some(at) = rest.iter().position(|byte| *byte == b'%') {
        match rest.get(at + 1..at + 3) {
            Some(digits) if digits.iter().all(u8::is_ascii_hexdigit) => rest = &rest[at + 3..],
            _ => return false,
        }
    }
    true
}

/// Why a text is no method path.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum MethodPathError {
    /// `#`, `?` or NUL, which end a path somewhere on the way to an app.
    #[error("invalid method: method contains forbidden character: {0:?}")]
    Forbidden(String),
    /// A control character.
    #[error("invalid method: method contains control character at position {position}: {text:?}")]
    Control {
        /// Position in bytes, from 0.
        position: usize,
        /// The method as decoded.
        text: String,
    },
    /// Bytes that are no UTF-8 after decoding.
    #[error("invalid method: method is not valid UTF-8")]
    NotUtf8,
}

/// The path of a method: decoded, without `//`, `.` and `..`, without `/` at either end.
///
/// It is made once, where a request comes in, from what the client sent; whoever decides on a
/// path and whoever delivers it use this one value. (CVE-2026-41491: two normalisations that
/// differed let callers past an access policy.)
///
/// Invariant: [`MethodPath::encoded`] decodes to [`MethodPath::as_str`], and normalising either
/// again changes nothing.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MethodPath(String);

impl MethodPath {
    /// From the path of a URL: decodes it once (`%2F` becomes `/`, as in Dapr), then normalises.
    pub fn from_encoded(path: &str) -> Result<Self, MethodPathError> {
        match percent_decode_str(path).decode_utf8() {
            Ok(decoded) => Self::from_decoded(&decoded),
            Err(_) => Err(MethodPathError::NotUtf8),
        }
    }

    /// From a text that is not encoded, such as the method of a gRPC message: a `%` in it is a
    /// `%`.
    pub fn from_decoded(text: &str) -> Result<Self, MethodPathError> {
        if text.contains(['#', '?', '\0']) {
            return Err(MethodPathError::Forbidden(text.to_owned()));
        }
        if let Some(position) = text.find(char::is_control) {
            let text = text.to_owned();
            return Err(MethodPathError::Control { position, text });
        }
        let mut path = String::with_capacity(text.len());
        for segment in text.split('/') {
            match segment {
                "" | "." => {}
                // At the root there is nothing to leave: leading ".." vanish.
                ".." => path.truncate(path.rfind('/').unwrap_or(0)),
                segment => {
                    if !path.is_empty() {
                        path.push('/');
                    }
                    path.push_str(segment);
                }
            }
        }
        Ok(Self(path))
    }

    /// The path, decoded, without a leading `/`. Empty for the root.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The path as it stands in a URL, without a leading `/`.
    pub fn encoded(&self) -> Cow<'_, str> {
        utf8_percent_encode(&self.0, ENCODED).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn normalises_what_a_url_holds() {
        for (path, decoded, delivered) in [
            ("", "", ""),
            ("/", "", ""),
            ("x", "x", "x"),
            ("/a/b/", "a/b", "a/b"),
            ("a//b/./c", "a/b/c", "a/b/c"),
            ("a/../b", "b", "b"),
            ("../../x", "x", "x"),
            ("a%2Fb", "a/b", "a/b"),
            ("admin%2F..%2Fpublic", "public", "public"),
            ("%2e%2e/x", "x", "x"),
            ("a%20b", "a b", "a%20b"),
            ("%C3%A4", "ä", "%C3%A4"),
            ("neworde%2572", "neworde%72", "neworde%2572"),
            ("a%zz", "a%zz", "a%25zz"),
            ("a+b;c=d,e@f:g", "a+b;c=d,e@f:g", "a+b;c=d,e@f:g"),
            ("...", "...", "..."),
            ("a/..b", "a/..b", "a/..b"),
        ] {
            let method = MethodPath::from_encoded(path).unwrap();
            assert_eq!(method.as_str(), decoded, "{path}");
            assert_eq!(method.encoded(), delivered, "{path}");
        }
    }

    #[test]
    fn a_decoded_text_is_not_decoded_again() {
        let method = MethodPath::from_decoded("a%2Fb").unwrap();
        assert_eq!(method.as_str(), "a%2Fb");
        assert_eq!(method.encoded(), "a%252Fb");
    }

    #[test]
    fn refuses_what_would_end_or_split_a_path() {
        for (path, message) in [
            (
                "x%23y",
                "invalid method: method contains forbidden character: \"x#y\"",
            ),
            (
                "x%3Fy",
                "invalid method: method contains forbidden character: \"x?y\"",
            ),
            (
                "x%00",
                "invalid method: method contains forbidden character: \"x\\0\"",
            ),
            (
                "x%0Dy",
                "invalid method: method contains control character at position 1: \"x\\ry\"",
            ),
            (
                "%7F",
                "invalid method: method contains control character at position 0: \"\\u{7f}\"",
            ),
            ("%FF", "invalid method: method is not valid UTF-8"),
        ] {
            let error = MethodPath::from_encoded(path).unwrap_err();
            assert_eq!(error.to_string(), message, "{path}");
        }
    }

    /// Texts that are full of what normalisation is about.
    fn hostile() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            Just("/"),
            Just("."),
            Just(".."),
            Just("%2F"),
            Just("%2e"),
            Just("%25"),
            Just("%"),
            Just("a"),
            Just("ä"),
            Just("\\"),
            Just(" "),
            Just("%5c"),
        ];
        prop_oneof![
            proptest::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat()),
            ".*"
        ]
    }

    proptest! {
        #[test]
        fn what_is_delivered_is_what_was_normalised(text in hostile()) {
            for method in [MethodPath::from_encoded(&text), MethodPath::from_decoded(&text)]
                .into_iter()
                .flatten()
            {
                prop_assert_eq!(&MethodPath::from_encoded(&method.encoded()).unwrap(), &method);
                prop_assert_eq!(&MethodPath::from_decoded(method.as_str()).unwrap(), &method);
                let dots = method.as_str().split('/').any(|part| part == ".." || part == ".");
                prop_assert!(!dots, "{:?}", method);
                let delivered = format!("/{}", method.encoded());
                let uri = http::uri::PathAndQuery::try_from(&delivered).unwrap();
                prop_assert_eq!(uri.path(), delivered);
            }
        }
    }
}
