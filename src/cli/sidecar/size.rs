//! Flags that are sizes.

use super::config::Problems;
use crate::base::quantity::parse_bytes;

/// A size from its flag, or from the flag that it replaced, given in another unit. `None` without
/// either.
pub(super) fn size(
    flag: &str,
    text: Option<&str>,
    old: Option<(i64, u64)>,
    problems: &mut Problems,
) -> Option<u64> {
    match text.filter(|text| !text.is_empty()) {
        Some(text) => {
            let parsed =
                parse_bytes(text).map_err(|error| format!("invalid value for '{flag}': {error}"));
            Some(problems.or_default(parsed))
        }
        None => {
            let (count, unit) = old?;
            u64::try_from(count)
                .ok()
                .map(|count| count.saturating_mul(unit))
        }
    }
}
