//! Whether a server tells of the keys that were touched (`notify-keyspace-events`).

use std::collections::BTreeMap;

use super::Store;
use crate::components::BackendError;
use crate::components::redis::Repeat;

/// The setting of the server.
const SETTING: &str = "notify-keyspace-events";
/// What it needs: a channel for each key, and there what sets, deletes and renames, and what
/// expires.
const NEEDED: [char; 4] = ['K', '$', 'g', 'x'];
/// A word for all kinds of events.
const ALL: char = 'A';

/// What a server says of its notices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Notices {
    /// It tells of every change.
    On,
    /// It does not tell of all of them. With the setting that it has.
    Lacking(String),
    /// It does not say.
    Unknown,
}

/// Asks a server.
pub(super) async fn of(store: &Store) -> Result<Notices, BackendError> {
    if store.client.is_cluster() {
        // One server would speak for itself only.
        return Ok(Notices::Unknown);
    }
    let mut command = redis::cmd("CONFIG");
    command.arg("GET").arg(SETTING);
    let asked = store.client.ask(&command, Repeat::Allowed).await;
    let answer: BTreeMap<String, String> = match asked {
        Ok(answer) => answer,
        // Not allowed to ask, as where somebody else runs the server.
        Err(BackendError::Refused(_)) => return Ok(Notices::Unknown),
        Err(error) => return Err(error),
    };
    Ok(match answer.get(SETTING) {
        None => Notices::Unknown,
        Some(setting) if suffices(setting) => Notices::On,
        Some(setting) => Notices::Lacking(setting.clone()),
    })
}

fn suffices(setting: &str) -> bool {
    let has = |needed| setting.contains(needed) || needed != 'K' && setting.contains(ALL);
    NEEDED.into_iter().all(has)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn needs_a_channel_a_key_and_every_kind_of_change() {
        for (setting, expected) in [
            ("", false),
            ("A", false),
            ("EA", false),
            ("KA", true),
            ("AKE", true),
            ("K$gx", true),
            ("K$g", false),
            ("$gx", false),
        ] {
            assert_eq!(suffices(setting), expected, "{setting}");
        }
    }
}
