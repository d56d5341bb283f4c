//! The values of the chart: each with its default and the comment above it.

use serde_json::{Map, Value};

/// A value that has a comment.
pub(crate) struct Documented {
    /// Its keys, from the top.
    pub(crate) path: Vec<String>,
    /// The comment.
    pub(crate) text: String,
    /// What it is unless set.
    pub(crate) default: Value,
}

/// Reads the text of values.yaml: two spaces a level, a comment above each value.
pub(crate) fn read(text: &str) -> Vec<Documented> {
    let defaults: Value = serde_saphyr::from_str(text).unwrap();
    let mut path: Vec<String> = Vec::new();
    let mut comment: Vec<&str> = Vec::new();
    let mut values = Vec::new();
    for line in text.lines() {
        let content = line.trim_start();
        if let Some(text) = content.strip_prefix("# ") {
            comment.push(text);
            continue;
        }
        let comment = std::mem::take(&mut comment);
        let key = content
            .split_once(':')
            .filter(|_| !content.starts_with("- "));
        if let Some((key, _)) = key {
            path.truncate((line.len() - content.len()) / 2);
            path.push(key.to_owned());
            if !comment.is_empty() {
                let pointer = format!("/{}", path.join("/"));
                values.push(Documented {
                    path: path.clone(),
                    text: comment.join(" "),
                    default: defaults.pointer(&pointer).unwrap().clone(),
                });
            }
        }
    }
    values
}

/// The table of the README.
pub(crate) fn table(values: &[Documented]) -> String {
    let mut table = String::from("\n| value | default | meaning |\n|---|---|---|\n");
    for (at, value) in values.iter().enumerate() {
        let next = values.get(at + 1);
        let is_parent = next.is_some_and(|next| next.path.starts_with(&value.path));
        let default = match is_parent {
            true => String::new(),
            false => format!("`{}`", value.default),
        };
        let cell = |text: &str| text.replace('|', "\\|");
        let name = value.path.join(".");
        let text = cell(&value.text);
        table.push_str(&format!("| `{name}` | {} | {text} |\n", cell(&default)));
    }
    table
}

/// The schema with the comments as descriptions. Fails where one has a value that the other has
/// not.
pub(crate) fn described(schema: &str, values: &[Documented]) -> String {
    let mut schema: Value = serde_json::from_str(schema).unwrap();
    let mut described = 0;
    describe(&mut schema, &[], values, &mut described);
    assert_eq!(described, values.len(), "a value is not in the schema");
    format!("{schema:#}\n")
}

/// Describes what is right below the value `above`, whose own values have comments.
fn describe(schema: &mut Value, above: &[String], values: &[Documented], described: &mut usize) {
    let properties = schema["properties"].as_object_mut().unwrap();
    // Helm adds it for charts of charts; this one has no such values.
    for (key, property) in properties.iter_mut().filter(|(key, _)| *key != "global") {
        let path = [above, std::slice::from_ref(key)].concat();
        let value = values.iter().find(|value| value.path == path);
        let value = value.unwrap_or_else(|| panic!("values.yaml lacks {}", path.join(".")));
        *described += 1;
        let own = property.as_object_mut().unwrap();
        let mut all = Map::from_iter([("description".to_owned(), value.text.clone().into())]);
        all.extend(
            std::mem::take(own)
                .into_iter()
                .filter(|(key, _)| key != "description"),
        );
        *own = all;
        let is_below =
            |other: &Documented| other.path.len() > path.len() && other.path.starts_with(&path);
        if values.iter().any(is_below) {
            describe(property, &path, values, described);
        }
    }
}
