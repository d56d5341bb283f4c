//! The fields of the tables, as Dapr 1.18 has them.

use std::time::Duration;

use super::layout::Version;
use crate::components::metadata::{self, Reader};
use crate::components::postgres::{TABLE_ACCEPTED, Table};

/// How often values that ended are deleted where nobody says, as in Dapr 1.18.
const CLEANUP: Duration = Duration::from_secs(60 * 60);

/// The table with the versions, in two pieces since it is no metric.
const METADATA: &str = concat!("dapr", "_metadata");

/// Which tables, and how often they are cleaned.
pub(super) struct TableSettings {
    pub(super) state: Table,
    pub(super) metadata: Table,
    /// What is in front of the name of the first, as written.
    pub(super) prefix: String,
    /// Never, where it is `None`.
    pub(super) cleanup: Option<Duration>,
}

impl TableSettings {
    pub(super) fn read(reader: &mut Reader<'_>, version: Version) -> Result<Self, metadata::Error> {
        let given = |text: Option<&str>, usual: &str| match text {
            None | Some("") => usual.to_owned(),
            Some(text) => text.to_owned(),
        };
        let (field, prefix, name) = match version {
            Version::V1 => {
                let name = given(reader.text(&["tableName"])?, "state");
                ("tableName", String::new(), name)
            }
            Version::V2 => {
                let prefix = given(reader.text(&["tablePrefix"])?, "");
                let name = format!("{prefix}state");
                ("tablePrefix", prefix, name)
            }
        };
        let metadata = given(reader.text(&["metadataTableName"])?, METADATA);
        Ok(Self {
            state: table(field, &name)?,
            metadata: table("metadataTableName", &metadata)?,
            prefix,
            cleanup: cleanup(reader)?,
        })
    }
}

fn table(name: &'static str, text: &str) -> Result<Table, metadata::Error> {
    Table::parse(text).ok_or(metadata::Error::Invalid {
        name,
        accepted: TABLE_ACCEPTED,
    })
}

/// Zero and less are never.
fn cleanup(reader: &mut Reader<'_>) -> Result<Option<Duration>, metadata::Error> {
    let names = ["cleanupInterval", "cleanupIntervalInSeconds"];
    let is_negative = |text: &str| {
        let digit = text.strip_prefix('-').and_then(|rest| rest.chars().next());
        digit.is_some_and(|digit| digit.is_ascii_digit())
    };
    if reader.text(&names)?.is_some_and(is_negative) {
        return Ok(None);
    }
    let interval = reader.duration(&names)?.unwrap_or(CLEANUP);
    Ok((!interval.is_zero()).then_some(interval))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::contract;

    fn read(version: Version, properties: &[(&str, &str)]) -> Result<TableSettings, String> {
        let component = contract::component("state.postgresql", properties);
        let mut reader = Reader::new(&component).unwrap();
        TableSettings::read(&mut reader, version).map_err(|error| error.to_string())
    }

    #[test]
    fn names_the_tables_of_dapr() {
        let first = read(Version::V1, &[]).unwrap();
        assert_eq!(first.state.to_string(), "\"state\"");
        assert_eq!(first.metadata.to_string(), "\"dapr_metadata\"");
        assert_eq!(first.cleanup, Some(CLEANUP));
        let fields = [("tablePrefix", "My.App_"), ("metadataTableName", "m")];
        let second = read(Version::V2, &fields).unwrap();
        assert_eq!(second.state.to_string(), "\"my\".\"app_state\"");
        assert_eq!(second.prefix, "My.App_");
    }

    #[test]
    fn cleans_never_where_the_interval_is_none() {
        for never in ["0", "-1", "-5m"] {
            let found = read(Version::V1, &[("cleanupIntervalInSeconds", never)]);
            assert_eq!(found.unwrap().cleanup, None, "{never}");
        }
        let found = read(Version::V2, &[("cleanupInterval", "30m")]).unwrap();
        assert_eq!(found.cleanup, Some(Duration::from_secs(1800)));
        assert!(read(Version::V1, &[("cleanupInterval", "often")]).is_err());
    }

    #[test]
    fn refuses_names_that_are_none() {
        let fields = [("tableName", "state; drop table state")];
        let error = read(Version::V1, &fields).err().unwrap();
        assert!(
            error.starts_with("the value of \"tableName\" is not the name of"),
            "{error}"
        );
    }
}
