//! The two shared tokens, as they come from the environment.

use super::secret::Secret;

/// The header and gRPC metadata key of both tokens, in lower case.
pub const TOKEN_HEADER: &str = "dapr-api-token";

/// Why a token that is set cannot be used. A token that is set and unusable is always an error:
/// it must never turn into "no authentication".
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum TokenError {
    /// Empty or only white space.
    #[error("{variable} is set but blank; give it a token, or unset it to run without one")]
    Blank {
        /// The environment variable.
        variable: &'static str,
    },
    /// A byte that can stand in no HTTP header value.
    #[error(
        "{variable} cannot be sent as an HTTP header: byte {position} is not visible ASCII; \
         accepted are the characters from \"!\" to \"~\", and spaces inside"
    )]
    NotAHeaderValue {
        /// The environment variable.
        variable: &'static str,
        /// Position of the first bad byte, from 1.
        position: usize,
    },
}

/// A token that is not blank and can be sent as a header value.
#[derive(Clone, Debug)]
pub struct Token(Secret);

impl Token {
    /// Checks the value of `variable`. `Ok(None)` where the variable is not set.
    ///
    /// One trailing newline (`\n` or `\r\n`) is cut, since `echo TOKEN | base64` leaves one in many
    /// Secrets; [`Parsed::newline_cut`] says so.
    pub fn parse(
        variable: &'static str,
        value: Option<&str>,
    ) -> Result<Option<Parsed>, TokenError> {
        let Some(raw) = value else { return Ok(None) };
        let text = raw
            .strip_suffix('\n')
            .map_or(raw, |t| t.strip_suffix('\r').unwrap_or(t));
        if text.trim().is_empty() {
            return Err(TokenError::Blank { variable });
        }
        let edge = |byte: u8| !byte.is_ascii_graphic();
        let bytes = text.as_bytes();
        let bad = bytes.iter().enumerate().position(|(at, &byte)| {
            let at_edge = at == 0 || at + 1 == bytes.len();
            if at_edge {
                edge(byte)
            } else {
                edge(byte) && byte != b' '
            }
        });
        if let Some(at) = bad {
            return Err(TokenError::NotAHeaderValue {
                variable,
                position: at + 1,
            });
        }
        let newline_cut = text.len() != raw.len();
        Ok(Some(Parsed {
            token: Self(Secret::new(text)),
            newline_cut,
        }))
    }

    /// The token as a secret.
    pub fn secret(&self) -> &Secret {
        &self.0
    }
}

/// What [`Token::parse`] made of a value.
#[derive(Clone, Debug)]
pub struct Parsed {
    /// The usable token.
    pub token: Token,
    /// A newline at the end was cut: worth a warning.
    pub newline_cut: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(value: &str) -> Result<(String, bool), TokenError> {
        Token::parse("DAPR_API_TOKEN", Some(value))
            .map(|parsed| parsed.expect("a value was given"))
            .map(|parsed| {
                (
                    parsed.token.secret().expose().to_owned(),
                    parsed.newline_cut,
                )
            })
    }

    #[test]
    fn unset_is_no_token() {
        assert!(Token::parse("DAPR_API_TOKEN", None).unwrap().is_none());
    }

    #[test]
    fn blank_is_an_error_and_never_no_authentication() {
        for blank in ["", " ", "\n", "\r\n", "\t \n"] {
            let error = parse(blank).unwrap_err();
            assert_eq!(
                error,
                TokenError::Blank {
                    variable: "DAPR_API_TOKEN"
                },
                "{blank:?}"
            );
        }
    }

    #[test]
    fn cuts_one_trailing_newline_and_says_so() {
        assert_eq!(parse("abc\n").unwrap(), ("abc".into(), true));
        assert_eq!(parse("abc\r\n").unwrap(), ("abc".into(), true));
        assert_eq!(parse("abc").unwrap(), ("abc".into(), false));
    }

    #[test]
    fn refuses_what_is_no_header_value() {
        for (bad, position) in [("a\nb", 2), ("abc\n\n", 4), ("ä", 1), (" a", 1), ("a ", 2)] {
            let error = parse(bad).unwrap_err();
            let expected = TokenError::NotAHeaderValue {
                variable: "DAPR_API_TOKEN",
                position,
            };
            assert_eq!(error, expected, "{bad:?}");
        }
    }

    #[test]
    fn takes_a_long_opaque_token() {
        let jwt = "e".repeat(2048);
        assert_eq!(parse(&jwt).unwrap(), (jwt, false));
    }

    proptest::proptest! {
        #[test]
        fn whatever_it_accepts_is_a_header_value(raw in ".*") {
            if let Ok((text, _)) = parse(&raw) {
                proptest::prop_assert!(http::HeaderValue::from_str(&text).is_ok());
                proptest::prop_assert_eq!(text.trim(), text.as_str());
            }
        }
    }
}
