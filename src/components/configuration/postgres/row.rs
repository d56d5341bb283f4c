//! Items as rows, and as what a trigger tells of a row.

use serde_json::{Map, Value};
use tokio_postgres::Row;

use crate::components::configuration::{Item, Items};
use crate::components::message::Metadata;

/// What a trigger told.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Told {
    /// The table, where it says so.
    pub(super) table: Option<String>,
    /// The key of the item.
    pub(super) key: String,
    /// The item. One that was deleted has an empty value.
    pub(super) item: Item,
}

/// An item, of the columns key, value, version and metadata as text.
pub(super) fn item(row: &Row) -> (String, Item) {
    let column = |at: usize| row.get::<_, Option<String>>(at).unwrap_or_default();
    let metadata = serde_json::from_str(&column(3)).ok();
    let item = Item {
        value: column(1),
        version: column(2),
        metadata: of_json(metadata),
    };
    (column(0), item)
}

/// Of items with one key the one with the highest version, as in Dapr 1.18. A version that is no
/// number is lower than any.
pub(super) fn latest(found: impl Iterator<Item = (String, Item)>) -> Items {
    let mut items = Items::new();
    let number = |item: &Item| item.version.parse::<i64>().unwrap_or(-1);
    for (key, item) in found {
        match items.get(&key) {
            Some(other) if number(other) >= number(&item) => {}
            _ => {
                items.insert(key, item);
            }
        }
    }
    items
}

/// Reads `{"table": …, "action": …, "data": {"key": …, "value": …, "version": …, "metadata": …}}`.
pub(super) fn told(text: &str) -> Option<Told> {
    let mut told: Map<String, Value> = serde_json::from_str(text).ok()?;
    let Some(Value::Object(row)) = told.remove("data") else {
        return None;
    };
    let mut row: Map<String, Value> = row
        .into_iter()
        .map(|(name, value)| (name.to_lowercase(), value))
        .collect();
    let mut column = |name: &str| row.remove(name).map(text_of).unwrap_or_default();
    let key = column("key");
    if key.is_empty() {
        return None;
    }
    let is_gone = told.get("action").and_then(Value::as_str) == Some("DELETE");
    let value = column("value");
    let version = column("version");
    Some(Told {
        table: told.remove("table").map(text_of),
        key,
        item: Item {
            value: if is_gone { String::new() } else { value },
            version,
            metadata: of_json(row.remove("metadata")),
        },
    })
}

fn of_json(value: Option<Value>) -> Metadata {
    let Some(Value::Object(fields)) = value else {
        return Metadata::new();
    };
    let fields = fields.into_iter();
    fields.map(|(name, value)| (name, text_of(value))).collect()
}

/// A text as it is, and anything else as JSON; null is nothing.
fn text_of(value: Value) -> String {
    match value {
        Value::String(text) => text,
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(value: &str, version: &str) -> Item {
        Item {
            value: value.to_owned(),
            version: version.to_owned(),
            metadata: Metadata::new(),
        }
    }

    #[test]
    fn takes_the_latest_of_several_rows() {
        let rows = [
            ("a", of("1", "9")),
            ("a", of("2", "10")),
            ("a", of("3", "x")),
            ("b", of("1", "x")),
            ("b", of("2", "y")),
        ];
        let found = latest(rows.into_iter().map(|(key, item)| (key.to_owned(), item)));
        assert_eq!(found["a"], of("2", "10"));
        assert_eq!(found["b"], of("1", "x"));
    }

    #[test]
    fn reads_what_a_trigger_tells() {
        let text = r#"{"table": "t", "action": "UPDATE", "data":
            {"KEY": "k", "value": "v", "version": 2, "metadata": {"a": "b", "n": 1}}}"#;
        let told = super::told(text).unwrap();
        assert_eq!(told.table.as_deref(), Some("t"));
        assert_eq!((told.key.as_str(), told.item.value.as_str()), ("k", "v"));
        assert_eq!(told.item.version, "2");
        assert_eq!(told.item.metadata["a"], "b");
        assert_eq!(told.item.metadata["n"], "1");
        let gone = r#"{"action": "DELETE", "data": {"key": "k", "value": "v", "metadata": null}}"#;
        assert_eq!(super::told(gone).unwrap().item, of("", ""));
        for text in [
            "",
            "[]",
            "{}",
            r#"{"data": 1}"#,
            r#"{"data": {"value": "v"}}"#,
        ] {
            assert_eq!(super::told(text), None, "{text}");
        }
    }
}
