//! The settings of `state.sqlite`. Names and defaults are those of Dapr 1.18.

use std::time::Duration;

use super::address::Address;
use crate::components::metadata::{Error, Reader};

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(20);
const DEFAULT_BUSY_TIMEOUT: Duration = Duration::from_secs(2);
/// The least `timeout`.
const LEAST_TIMEOUT: Duration = Duration::from_secs(1);

/// How the database is opened and used.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    /// Where it is.
    pub(super) address: Address,
    /// The table of the values: letters, digits and `_`.
    pub(super) table: String,
    /// The table with the version of the schema: letters, digits and `_`.
    pub(super) metadata_table: String,
    /// The longest that one piece of work may take, the wait for those before it included.
    pub(super) timeout: Duration,
    /// The longest wait for other programs that write.
    pub(super) busy_timeout: Duration,
    /// How often rows are deleted that ended. None for never.
    pub(super) cleanup_interval: Option<Duration>,
    /// Whether the database is kept without a write-ahead log.
    pub(super) disable_wal: bool,
}

impl Settings {
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, Error> {
        let address = ["connectionString", "url"];
        let settings = Self {
            address: Address::parse(reader.required(&address, "missing connection string")?)?,
            table: table(reader, "tableName", "state")?,
            metadata_table: table(reader, "metadataTableName", "metadata")?,
            timeout: reader
                .duration(&["timeout", "timeoutInSeconds"])?
                .unwrap_or(DEFAULT_TIMEOUT),
            busy_timeout: positive(reader, &["busyTimeout"], DEFAULT_BUSY_TIMEOUT)?,
            cleanup_interval: Some(positive(
                reader,
                &["cleanupInterval", "cleanupIntervalInSeconds"],
                Duration::ZERO,
            )?)
            .filter(|interval| !interval.is_zero()),
            disable_wal: reader.truthy(&["disableWAL"])?,
        };
        if settings.timeout < LEAST_TIMEOUT {
            return Err(Error::Invalid {
                name: "timeout",
                accepted: "a duration of at least 1s",
            });
        }
        if settings
            .table
            .eq_ignore_ascii_case(&settings.metadata_table)
        {
            return Err(Error::Invalid {
                name: "metadataTableName",
                accepted: "another table than \"tableName\"",
            });
        }
        Ok(settings)
    }
}

/// The name of a table, which becomes part of statements.
fn table(reader: &mut Reader<'_>, name: &'static str, default: &str) -> Result<String, Error> {
    let table = reader.text(&[name])?.unwrap_or(default);
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    if table.is_empty() || !table.bytes().all(is_plain) {
        return Err(Error::Invalid {
            name,
            accepted: "the name of a table, of letters, digits and \"_\"",
        });
    }
    Ok(table.to_owned())
}

/// A duration of which a negative one is none, as in Dapr.
fn positive(
    reader: &mut Reader<'_>,
    names: &[&'static str],
    default: Duration,
) -> Result<Duration, Error> {
    let text = reader.text(names)?.unwrap_or_default();
    if text.trim_start().starts_with('-') {
        return Ok(Duration::ZERO);
    }
    Ok(reader.duration(names)?.unwrap_or(default))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::contract::component;

    fn read(properties: &[(&str, &str)]) -> Result<Settings, String> {
        let component = component("state.sqlite", properties);
        let mut reader = Reader::new(&component).unwrap();
        Settings::read(&mut reader).map_err(|error| error.to_string())
    }

    #[test]
    fn has_daprs_names_and_defaults() {
        let settings = read(&[("connectionString", "data.db")]).unwrap();
        assert_eq!(settings.table, "state");
        assert_eq!(settings.metadata_table, "metadata");
        assert_eq!(settings.timeout, Duration::from_secs(20));
        assert_eq!(settings.busy_timeout, Duration::from_secs(2));
        assert_eq!(settings.cleanup_interval, None);
        assert!(!settings.disable_wal);
        let settings = read(&[
            ("url", "data.db"),
            ("timeoutInSeconds", "30"),
            ("cleanupIntervalInSeconds", "60"),
            ("busyTimeout", "100ms"),
            ("disableWal", "yes"),
            ("tableName", "T_1"),
            ("metadataTableName", "_m"),
        ])
        .unwrap();
        assert_eq!(settings.timeout, Duration::from_secs(30));
        let minute = Some(Duration::from_secs(60));
        assert_eq!(settings.cleanup_interval, minute);
        assert_eq!(settings.busy_timeout, Duration::from_millis(100));
        assert!(settings.disable_wal);
        assert_eq!(settings.table, "T_1");
        for never in ["0", "-1", "-1h", ""] {
            let settings = [("connectionString", "x"), ("cleanupInterval", never)];
            assert_eq!(read(&settings).unwrap().cleanup_interval, None, "{never}");
        }
    }

    #[test]
    fn refuses_what_is_no_name_of_a_table() {
        for name in [
            "",
            "a b",
            "state;",
            "state\"",
            "x--",
            "main.state",
            "tä",
            "'",
        ] {
            for field in ["tableName", "metadataTableName"] {
                let error = read(&[("connectionString", "data.db"), (field, name)]);
                let expected = format!(
                    "the value of {field:?} is not the name of a table, of letters, digits and \
                     \"_\""
                );
                assert_eq!(error.unwrap_err(), expected, "{name:?}");
            }
        }
        let same = [("connectionString", "x"), ("tableName", "Metadata")];
        assert_eq!(
            read(&same).unwrap_err(),
            "the value of \"metadataTableName\" is not another table than \"tableName\""
        );
    }

    #[test]
    fn says_what_is_missing_or_wrong() {
        assert_eq!(read(&[]).unwrap_err(), "missing connection string");
        let short = [("connectionString", "x"), ("timeout", "999ms")];
        assert_eq!(
            read(&short).unwrap_err(),
            "the value of \"timeout\" is not a duration of at least 1s"
        );
    }
}
