//! The id of an application.

use std::fmt;

use super::names::is_dns_label;

/// The longest app id: `<app-id>-dapr` names a Service, which has 63 characters at most.
pub const MAX_APP_ID_LENGTH: usize = 58;

/// The id of an app in a cluster: a DNS label of at most [`MAX_APP_ID_LENGTH`] characters.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AppId(String);

/// A text that cannot be an app id.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "{text:?} is not an app id: accepted are 1 to {MAX_APP_ID_LENGTH} of the characters a-z, 0-9 \
     and \"-\", with a letter or digit at both ends"
)]
pub struct AppIdError {
    text: String,
}

impl AppId {
    /// Checks a text, which is not trimmed.
    pub fn parse(text: &str) -> Result<Self, AppIdError> {
        if is_dns_label(text) && text.len() <= MAX_APP_ID_LENGTH {
            Ok(Self(text.to_owned()))
        } else {
            Err(AppIdError {
                text: text.to_owned(),
            })
        }
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AppId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_a_label_that_leaves_room_for_the_service_suffix() {
        let longest = "a".repeat(58);
        for good in ["app", "a-1", "0", longest.as_str()] {
            assert!(AppId::parse(good).is_ok(), "{good}");
        }
        let too_long = "a".repeat(59);
        for bad in ["", "a-", "-a", "A", "a_b", "a.b", " a", too_long.as_str()] {
            assert!(AppId::parse(bad).is_err(), "{bad}");
        }
    }
}
