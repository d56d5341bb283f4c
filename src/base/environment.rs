//! The environment of the process, as a value.

use std::collections::BTreeMap;

/// Whether a variable is the sidecar's own and must not reach an app or a component: both tokens
/// and everything that begins with `DAPR_`, in any case (Dapr 1.18).
pub fn is_reserved(name: &str) -> bool {
    let upper = name.to_uppercase();
    upper == "APP_API_TOKEN" || upper.starts_with("DAPR_")
}

/// The environment variables of the process, read once at start and handed to whoever needs one.
///
/// Values that are no UTF-8 are left out. `Debug` shows names only, since values may be secrets.
#[derive(Clone, Default)]
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    /// The value of a variable, where it is set.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// The value of a variable that is set and not empty.
    pub fn non_empty(&self, name: &str) -> Option<&str> {
        self.value(name).filter(|value| !value.is_empty())
    }

    /// All variables in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        Self(
            pairs
                .into_iter()
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
        )
    }
}

impl std::fmt::Debug for Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::is_reserved;

    #[test]
    fn reserves_the_sidecars_own_in_any_case() {
        for reserved in [
            "APP_API_TOKEN",
            "app_api_token",
            "DAPR_API_TOKEN",
            "dapr_",
            "Dapr_x",
        ] {
            assert!(is_reserved(reserved), "{reserved}");
        }
        for free in ["", "APP_API_TOKEN_2", "DAPR", "XDAPR_API_TOKEN", "PATH"] {
            assert!(!is_reserved(free), "{free}");
        }
    }
}
