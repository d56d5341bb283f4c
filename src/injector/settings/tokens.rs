//! Which Secrets hold the two tokens, and who gets references to them.

use std::collections::BTreeSet;

use crate::injector::annotations::table as key;
use crate::injector::annotations::{Annotations, words};
use crate::injector::denial::Denial;

/// The names of the Secrets of the two tokens, which hold them under the key `token`.
#[derive(Debug)]
pub(in crate::injector) struct Tokens {
    /// Becomes `DAPR_API_TOKEN`.
    pub(in crate::injector) api: Option<String>,
    /// Becomes `APP_API_TOKEN`.
    pub(in crate::injector) app: Option<String>,
    /// The containers that get both besides the sidecar.
    pub(in crate::injector) receivers: Receivers,
}

/// App containers that get the tokens in their environment.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::injector) enum Receivers {
    /// All.
    All,
    /// Those with these names; none where it is empty.
    Named(BTreeSet<String>),
}

impl Receivers {
    /// Whether the app container with this name gets the tokens.
    pub(in crate::injector) fn include(&self, container: &str) -> bool {
        match self {
            Self::All => true,
            Self::Named(names) => names.contains(container),
        }
    }

    /// The names as written.
    pub(in crate::injector) fn names(&self) -> impl Iterator<Item = &String> {
        let names = match self {
            Self::All => None,
            Self::Named(names) => Some(names),
        };
        names.into_iter().flatten()
    }

    /// Reads the annotation's value.
    pub(in crate::injector) fn parse(text: &str) -> Self {
        if text.eq_ignore_ascii_case("true") {
            Self::All
        } else if text.eq_ignore_ascii_case("false") {
            Self::Named(BTreeSet::new())
        } else {
            Self::Named(words(text).map(str::to_owned).collect())
        }
    }
}

impl Tokens {
    pub(super) fn check(annotations: &mut Annotations<'_>) -> Result<Self, Denial> {
        let tokens = Self {
            api: annotations.secret_name(&key::API_TOKEN_SECRET)?,
            app: annotations.secret_name(&key::APP_TOKEN_SECRET)?,
            receivers: Receivers::parse(annotations.text(&key::APP_ENV_TOKENS)),
        };
        let asked = tokens.receivers != Receivers::Named(BTreeSet::new());
        if asked && tokens.api.is_none() && tokens.app.is_none() {
            annotations.warn(format!(
                "annotation {:?} has no effect without {:?} or {:?}",
                key::APP_ENV_TOKENS.key,
                key::API_TOKEN_SECRET.key,
                key::APP_TOKEN_SECRET.key
            ));
        }
        Ok(tokens)
    }
}
