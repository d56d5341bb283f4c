//! Text that must never be printed.

use std::fmt;

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// A secret text. It has no `Display` and no `Serialize`, its `Debug` shows nothing of it, and its
/// memory is overwritten when it is dropped.
///
/// Invariant: the only way to the text is [`Secret::expose`], so that a search for that word finds
/// every place where a secret leaves this type.
#[derive(Clone, Default)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Wraps a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// The text itself. Name the reason at the call site when it is not plain.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether the text is empty.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Compares with bytes that a caller sent, in a time that depends on the length of the
    /// candidate only, never on how much of it matches.
    pub fn matches(&self, candidate: &[u8]) -> bool {
        let own = self.0.as_bytes();
        // A candidate of another length is compared with itself, so that the time says nothing
        // about the length of the secret.
        let same_length = own.len().ct_eq(&candidate.len());
        let against = if own.len() == candidate.len() {
            own
        } else {
            candidate
        };
        (same_length & against.ct_eq(candidate)).into()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// As [`Secret::matches`]: the time depends on the length of `other` only.
impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.matches(other.0.as_bytes())
    }
}

impl Eq for Secret {}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_nothing_of_its_text() {
        assert_eq!(format!("{:?}", Secret::new("hunter2")), "Secret(…)");
    }

    #[test]
    fn matches_only_the_whole_text() {
        let secret = Secret::new("abc");
        assert!(secret.matches(b"abc"));
        for wrong in [&b""[..], b"ab", b"abcd", b"abd", b"ABC"] {
            assert!(!secret.matches(wrong), "{wrong:?}");
        }
        assert!(secret == Secret::new("abc"));
        assert!(secret != Secret::new("abd"));
    }

    #[test]
    fn empty_matches_only_empty() {
        assert!(Secret::default().matches(b""));
        assert!(!Secret::default().matches(b"a"));
    }
}
