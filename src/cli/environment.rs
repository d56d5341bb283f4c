//! The only place that reads the environment of the process.

use crate::base::environment::Environment;

/// Reads the environment once. Variables that are no UTF-8 are left out.
pub(super) fn read() -> Environment {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}
