//! The tokens that callers of the API may show.

use crate::base::token::Token;

/// The accepted API tokens. An empty set means that the API needs no token.
///
/// Dapr knows one token; this takes several, so that an old and a new one can overlap.
#[derive(Clone, Debug, Default)]
pub struct ApiTokens(Vec<Token>);

/// Why a call was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// The call carries no token.
    Missing,
    /// The call carries a token that is not accepted.
    Mismatch,
}

impl Refusal {
    /// Every reason.
    pub const ALL: [Self; 2] = [Self::Missing, Self::Mismatch];

    /// A word for metrics and the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Mismatch => "mismatch",
        }
    }
}

impl ApiTokens {
    /// Accepts each of these tokens.
    pub fn new(tokens: impl IntoIterator<Item = Token>) -> Self {
        Self(tokens.into_iter().collect())
    }

    /// Whether a call needs a token at all.
    pub fn are_required(&self) -> bool {
        !self.0.is_empty()
    }

    /// Judges the token that a call carries, byte for byte.
    ///
    /// Invariant: the time depends on the length of the candidate and the number of accepted
    /// tokens only. Every token is compared, whichever of them matches.
    pub fn check(&self, candidate: Option<&[u8]>) -> Result<(), Refusal> {
        if !self.are_required() {
            return Ok(());
        }
        let candidate = candidate.ok_or(Refusal::Missing)?;
        let matched = self.0.iter().fold(false, |matched, token| {
            matched | token.secret().matches(candidate)
        });
        if matched {
            Ok(())
        } else {
            Err(Refusal::Mismatch)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(values: &[&str]) -> ApiTokens {
        ApiTokens::new(values.iter().map(|value| {
            Token::parse("DAPR_API_TOKEN", Some(value))
                .unwrap()
                .unwrap()
                .token
        }))
    }

    #[test]
    fn without_tokens_every_call_passes() {
        assert_eq!(ApiTokens::default().check(None), Ok(()));
        assert_eq!(ApiTokens::default().check(Some(b"x")), Ok(()));
    }

    #[test]
    fn accepts_each_token_and_nothing_else() {
        let both = tokens(&["old", "new"]);
        assert_eq!(both.check(Some(b"old")), Ok(()));
        assert_eq!(both.check(Some(b"new")), Ok(()));
        assert_eq!(both.check(None), Err(Refusal::Missing));
        for wrong in [&b""[..], b" ", b"o", b"old ", b"OLD", b"oldnew", b"old\n"] {
            assert_eq!(both.check(Some(wrong)), Err(Refusal::Mismatch), "{wrong:?}");
        }
    }

    #[test]
    fn judges_tokens_of_any_size() {
        let jwt = "e".repeat(2048);
        let one = tokens(&[&jwt]);
        assert_eq!(one.check(Some(jwt.as_bytes())), Ok(()));
        assert_eq!(one.check(Some(&[b'e'; 65536])), Err(Refusal::Mismatch));
        assert_eq!(one.check(Some("é".as_bytes())), Err(Refusal::Mismatch));
    }

    proptest::proptest! {
        #[test]
        fn only_the_token_itself_passes(candidate: Vec<u8>) {
            let passes = tokens(&["s3cret"]).check(Some(&candidate)).is_ok();
            proptest::prop_assert_eq!(passes, candidate == b"s3cret");
        }
    }
}
