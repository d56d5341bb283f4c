//! The two layouts of state in a table, as Dapr 1.18 has them.

use super::migrate::Plan;
use crate::components::postgres::Table;
use crate::components::state::{ETag, StateError};

/// Which of Dapr's components it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// JSON in `jsonb`, and the number of the transaction that wrote a row as its ETag.
    V1,
    /// Bytes, and a random ETag.
    V2,
}

/// The statements of a layout. Their parameters: `$1` the key or keys; of a set `$2` the seconds
/// until it ends, `$3` the value, in the first version `$4` whether it is bytes; last the ETag.
///
/// What is read: the key, the bytes of the value, whether it is JSON, the ETag as text, and when
/// it ends.
#[derive(Debug)]
pub(super) struct Statements {
    pub(super) get: String,
    pub(super) get_all: String,
    pub(super) set: String,
    pub(super) set_absent: String,
    pub(super) set_matching: String,
    pub(super) delete: String,
    pub(super) delete_matching: String,
    /// Without parameters.
    pub(super) clean: String,
}

/// A layout, in a table.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) version: Version,
    pub(super) statements: Statements,
}

impl Layout {
    pub(super) fn new(version: Version, table: &Table) -> Self {
        let statements = match version {
            Version::V1 => first(table),
            Version::V2 => second(table),
        };
        Self {
            version,
            statements,
        }
    }

    /// An ETag as a statement takes it.
    pub(super) fn etag_text(&self, etag: &ETag) -> Result<String, StateError> {
        let number = etag.version()?;
        match self.version {
            // No transaction has a longer number, so that no row matches.
            Version::V1 if number > u128::from(u32::MAX) => Err(StateError::Mismatch),
            Version::V1 => Ok(number.to_string()),
            Version::V2 => Ok(format!("{number:032x}")),
        }
    }

    /// The ETag of a row. `None` where it is none of any write.
    pub(super) fn etag(&self, text: &str) -> Option<ETag> {
        let number = match self.version {
            Version::V1 => text.parse().ok()?,
            Version::V2 => u128::from_str_radix(&text.replace('-', ""), 16).ok()?,
        };
        (number > 0).then(|| ETag::of_version(number))
    }

    /// How the table comes to be, in the steps of Dapr 1.18, which counts them under `key`.
    pub(super) fn plan(&self, tables: Tables<'_>) -> Plan {
        let Tables {
            state: table,
            metadata,
            prefix,
        } = tables;
        let (key, steps) = match self.version {
            Version::V1 => (
                "migrations".to_owned(),
                vec![
                    format!(
                        "CREATE TABLE IF NOT EXISTS {table} (\
                         key text NOT NULL PRIMARY KEY, value jsonb NOT NULL, \
                         isbinary boolean NOT NULL, \
                         insertdate timestamp with time zone NOT NULL DEFAULT now(), \
                         updatedate timestamp with time zone)"
                    ),
                    format!(
                        "ALTER TABLE {table} \
                         ADD COLUMN IF NOT EXISTS expiredate timestamp with time zone"
                    ),
                ],
            ),
            Version::V2 => (
                format!("migrations-state-v2-{prefix}"),
                vec![format!(
                    "CREATE TABLE IF NOT EXISTS {table} (\
                     key text NOT NULL PRIMARY KEY, value bytea NOT NULL, \
                     etag uuid NOT NULL DEFAULT gen_random_uuid(), \
                     created_at timestamp with time zone NOT NULL DEFAULT now(), \
                     updated_at timestamp with time zone, \
                     expires_at timestamp with time zone); \
                     CREATE INDEX ON {table} (expires_at)"
                )],
            ),
        };
        Plan {
            metadata: metadata.clone(),
            table: table.clone(),
            key,
            steps,
            probe: self.statements.get.clone(),
        }
    }
}

/// How the moment at which a value ends is shown: RFC 3339 in UTC, as Dapr 1.18 has it.
fn shown(column: &str) -> String {
    format!(r#"to_char({column} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')"#)
}

fn first(table: &Table) -> Statements {
    let live = "(expiredate IS NULL OR expiredate > now())";
    let set = "value = $3::text::jsonb, isbinary = $4, updatedate = now(), \
               expiredate = now() + make_interval(secs => $2)";
    let read = format!(
        "SELECT key, CASE WHEN isbinary THEN decode(value #>> '{{}}', 'base64') \
         ELSE convert_to(value::text, 'UTF8') END, NOT isbinary, xmin::text, {} FROM {table} \
         WHERE {live} AND key =",
        shown("expiredate")
    );
    let insert = format!(
        "INSERT INTO {table} AS old (key, value, isbinary, expiredate) \
         VALUES ($1, $3::text::jsonb, $4, now() + make_interval(secs => $2)) \
         ON CONFLICT (key) DO UPDATE SET {set}"
    );
    Statements {
        get: format!("{read} $1"),
        get_all: format!("{read} ANY($1)"),
        set_absent: format!("{insert} WHERE old.expiredate <= now()"),
        set: insert,
        set_matching: format!(
            "UPDATE {table} SET {set} WHERE key = $1 AND xmin = ($5::text)::xid AND {live}"
        ),
        delete: format!("DELETE FROM {table} WHERE key = $1"),
        delete_matching: format!(
            "DELETE FROM {table} WHERE key = $1 AND xmin = ($2::text)::xid AND {live}"
        ),
        clean: format!("DELETE FROM {table} WHERE expiredate < now()"),
    }
}

fn second(table: &Table) -> Statements {
    let live = "(expires_at IS NULL OR expires_at > now())";
    let set = "value = $3, etag = gen_random_uuid(), updated_at = now(), \
               expires_at = now() + make_interval(secs => $2)";
    let read = format!(
        "SELECT key, value, false, etag::text, {} FROM {table} WHERE {live} AND key =",
        shown("expires_at")
    );
    let insert = format!(
        "INSERT INTO {table} AS old (key, value, etag, expires_at) \
         VALUES ($1, $3, gen_random_uuid(), now() + make_interval(secs => $2)) \
         ON CONFLICT (key) DO UPDATE SET {set}"
    );
    Statements {
        get: format!("{read} $1"),
        get_all: format!("{read} ANY($1)"),
        set_absent: format!("{insert} WHERE old.expires_at <= now()"),
        set: insert,
        set_matching: format!(
            "UPDATE {table} SET {set} WHERE key = $1 AND etag = ($4::text)::uuid AND {live}"
        ),
        delete: format!("DELETE FROM {table} WHERE key = $1"),
        delete_matching: format!(
            "DELETE FROM {table} WHERE key = $1 AND etag = ($2::text)::uuid AND {live}"
        ),
        clean: format!("DELETE FROM {table} WHERE expires_at < now()"),
    }
}

/// The tables of a store.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tables<'a> {
    pub(super) state: &'a Table,
    pub(super) metadata: &'a Table,
    /// What is in front of the name of the first, as written; of the second version only.
    pub(super) prefix: &'a str,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(version: Version) -> Layout {
        Layout::new(version, &Table::parse("state").unwrap())
    }

    #[test]
    fn etags_are_numbers_whatever_the_column_holds() {
        let uuid = "0f8fad5b-d9cb-469f-a165-70867728950e";
        let etag = layout(Version::V2).etag(uuid).unwrap();
        assert_eq!(etag.as_str(), "20684434521572431564404614332563363086");
        let text = layout(Version::V2).etag_text(&etag).unwrap();
        assert_eq!(text, uuid.replace('-', ""));
        let etag = layout(Version::V1).etag("731").unwrap();
        assert_eq!(layout(Version::V1).etag_text(&etag), Ok("731".to_owned()));
        assert_eq!(layout(Version::V1).etag("0"), None);
        assert_eq!(layout(Version::V2).etag("x"), None);
    }

    #[test]
    fn tells_an_etag_of_nothing_from_one_that_is_none() {
        let long = ETag::of_version(u128::from(u32::MAX) + 1);
        assert_eq!(
            layout(Version::V1).etag_text(&long),
            Err(StateError::Mismatch)
        );
        for version in [Version::V1, Version::V2] {
            let found = layout(version).etag_text(&ETag::new("x"));
            assert_eq!(found, Err(StateError::ETagInvalid));
        }
    }
}
