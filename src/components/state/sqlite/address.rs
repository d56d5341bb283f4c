//! Where a database is: the forms of `connectionString`, and a connection.

use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::settings::Settings;
use crate::components::metadata::Error;

/// What only the settings of the component set (Dapr 1.18).
const OWN_PRAGMAS: [&str; 3] = ["busy_timeout", "journal_mode", "foreign_keys"];
const ACCEPTED: &str = "a path, \":memory:\" or a \"file:\" URI, with no _pragma but such as \
                        \"synchronous(1)\", and none of busy_timeout, journal_mode, foreign_keys";

/// Between two tries to set the mode of the journal.
const PAUSE: Duration = Duration::from_millis(10);

/// A path, a `file:` URI, or `:memory:`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    /// As SQLite takes it.
    text: String,
    /// Whether it ends with the process. Such a database has one connection.
    pub(super) in_memory: bool,
    /// Options of each connection, as Dapr's driver takes them (`_pragma=name(value)`).
    pragmas: Vec<(String, String)>,
}

impl Address {
    pub(super) fn parse(text: &str) -> Result<Self, Error> {
        let lower = text.to_ascii_lowercase();
        let (path, query) = text.split_once('?').unwrap_or((text, ""));
        let mut in_memory = lower.starts_with(":memory:") || lower.starts_with("file::memory:");
        let mut pragmas = Vec::new();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match name.as_ref() {
                "mode" if value == "memory" => in_memory = true,
                "_pragma" => pragmas.push(pragma(&value)?),
                // Others SQLite knows itself, or ignores.
                _ => {}
            }
        }
        let invalid = Error::Invalid {
            name: "connectionString",
            accepted: ACCEPTED,
        };
        if path.is_empty() || text.contains('\0') {
            return Err(invalid);
        }
        let text = if in_memory {
            ":memory:".to_owned()
        } else if lower.starts_with("file:") || query.is_empty() {
            text.to_owned()
        } else {
            // As in Dapr, what has a query is a URI.
            format!("file:{text}")
        };
        Ok(Self {
            text,
            in_memory,
            pragmas,
        })
    }

    /// Opens a connection that waits for others as long as `patience`.
    pub(super) fn connect(
        &self,
        settings: &Settings,
        patience: Duration,
    ) -> rusqlite::Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_URI
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(Path::new(&self.text), flags)?;
        connection.busy_timeout(patience)?;
        let journal = match (self.in_memory, settings.disable_wal) {
            (true, _) => "MEMORY",
            (false, true) => "DELETE",
            (false, false) => "WAL",
        };
        keep_journal(&connection, journal, patience)?;
        for (name, value) in &self.pragmas {
            connection.pragma_update(None, name, value)?;
        }
        Ok(connection)
    }
}

/// Sets the mode of the journal. Where two do so at once in a new file, SQLite refuses one of them
/// without waiting, whatever its patience.
fn keep_journal(connection: &Connection, mode: &str, patience: Duration) -> rusqlite::Result<()> {
    let start = Instant::now();
    loop {
        let set = connection.pragma_update_and_check(None, "journal_mode", mode, |_| Ok(()));
        match set {
            Err(error) if is_busy(&error) && start.elapsed() < patience => sleep(PAUSE),
            outcome => return outcome,
        }
    }
}

fn is_busy(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy)
}

/// `name(value)` or `name=value`.
fn pragma(text: &str) -> Result<(String, String), Error> {
    let parts = match text.split_once('(') {
        Some((name, rest)) => rest.strip_suffix(')').map(|value| (name, value)),
        None => text.split_once('='),
    };
    let is_word = |text: &str| {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        !text.is_empty() && text.bytes().all(is_plain)
    };
    let parts = parts.map(|(name, value)| {
        let value = value.trim();
        let number = value.strip_prefix('-').unwrap_or(value);
        (name.trim().to_ascii_lowercase(), value, number)
    });
    match parts {
        Some((name, value, number))
            if is_word(&name) && is_word(number) && !OWN_PRAGMAS.contains(&name.as_str()) =>
        {
            Ok((name, value.to_owned()))
        }
        _ => Err(Error::Invalid {
            name: "connectionString",
            accepted: ACCEPTED,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_the_forms_of_daprs_driver() {
        for (text, expected, in_memory) in [
            ("data.db", "data.db", false),
            ("/mnt/my data/100%.db", "/mnt/my data/100%.db", false),
            ("file:data.db", "file:data.db", false),
            ("FILE:data.db?mode=rwc", "FILE:data.db?mode=rwc", false),
            ("data.db?cache=shared", "file:data.db?cache=shared", false),
            (":memory:", ":memory:", true),
            (":MEMORY:?cache=shared", ":memory:", true),
            ("file::memory:?cache=shared", ":memory:", true),
            ("file:x?mode=memory&cache=shared", ":memory:", true),
        ] {
            let address = Address::parse(text).unwrap();
            assert_eq!(address.text, expected, "{text}");
            assert_eq!(address.in_memory, in_memory, "{text}");
        }
    }

    #[test]
    fn takes_options_that_the_settings_do_not_set() {
        let text = "a.db?_txlock=immediate&_pragma=synchronous(NORMAL)&_pragma=cache_size%3D-2000";
        let pragma = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let pragmas = Address::parse(text).unwrap().pragmas;
        let expected = [
            pragma("synchronous", "NORMAL"),
            pragma("cache_size", "-2000"),
        ];
        assert_eq!(pragmas, expected);
        for refused in [
            "",
            "?mode=ro",
            "a\0b",
            "a.db?_pragma=busy_timeout(1)",
            "a.db?_pragma=Journal_Mode(OFF)",
            "a.db?_pragma=foreign_keys=1",
            "a.db?_pragma=x",
            "a.db?_pragma=x(1",
            "a.db?_pragma=x(1);DROP",
            "a.db?_pragma=user_version(1);x(2)",
        ] {
            assert!(Address::parse(refused).is_err(), "{refused:?}");
        }
    }
}
