//! The one form of ETags.

use std::fmt;

use super::StateError;

/// Says which write a value is of. Opaque to apps. Of this build's own stores it is the decimal
/// form of a number from 1 on, the same for all; a pluggable store has its own.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ETag(String);

impl ETag {
    /// As an app or a pluggable store writes it.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Of the number of a write.
    pub fn of_version(version: u128) -> Self {
        Self(version.to_string())
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The number of a write: digits only, without zeros before them.
    pub fn version(&self) -> Result<u128, StateError> {
        let is_plain = self.0.bytes().all(|byte| byte.is_ascii_digit());
        if !is_plain || self.0.is_empty() || self.0.starts_with('0') {
            return Err(StateError::ETagInvalid);
        }
        self.0.parse().map_err(|_| StateError::ETagInvalid)
    }
}

impl fmt::Display for ETag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_has_one_spelling() {
        for version in [1, u128::from(u64::MAX), u128::MAX] {
            assert_eq!(ETag::of_version(version).version(), Ok(version));
        }
        let longest = "340282366920938463463374607431768211456";
        for text in [
            "", "0", "01", "+1", "-1", " 1", "1.0", "one", "1\n", longest,
        ] {
            let version = ETag::new(text).version();
            assert_eq!(version, Err(StateError::ETagInvalid), "{text:?}");
        }
    }
}
