//! Names of tables in statements.

use std::fmt;

/// The longest identifier, in bytes. PostgreSQL cuts longer ones off without a word.
const MAX_BYTES: usize = 63;

/// What a name of a table may be, for error texts.
pub(in crate::components) const ACCEPTED: &str = "the name of a table, such as \"state\" or \
     \"public.state\": letters, digits, \"_\" and \"$\", at most 63 of them, or anything in double \
     quotes";

/// The name of a table, checked, and shown in quotes so that a statement takes it as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::components) struct Table {
    schema: Option<String>,
    name: String,
}

impl Table {
    /// Reads a name with or without a schema. As in a statement, and so as in Dapr 1.18, letters
    /// outside quotes become small ones.
    pub(in crate::components) fn parse(text: &str) -> Option<Self> {
        let (first, rest) = identifier(text)?;
        if rest.is_empty() {
            return Some(Self {
                schema: None,
                name: first,
            });
        }
        let (name, rest) = identifier(rest.strip_prefix('.')?)?;
        rest.is_empty().then_some(Self {
            schema: Some(first),
            name,
        })
    }

    /// Without its schema, as `TG_TABLE_NAME` has it.
    pub(in crate::components) fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(schema) = &self.schema {
            write!(f, "{}.", quoted(schema))?;
        }
        f.write_str(&quoted(&self.name))
    }
}

/// An identifier as a statement takes it, whatever is in it.
pub(super) fn quoted(identifier: &str) -> String {
    format!("\"{}\"", identifier.replace('"', "\"\""))
}

/// The identifier at the beginning of a text, and what comes after it.
fn identifier(text: &str) -> Option<(String, &str)> {
    let (found, rest) = match text.strip_prefix('"') {
        Some(inner) => quoted_identifier(inner)?,
        None => {
            let (plain, rest) = text.split_at(text.find('.').unwrap_or(text.len()));
            let is_letter = |c: char| c.is_ascii_alphabetic() || c == '_';
            let is_inner = |c: char| is_letter(c) || c.is_ascii_digit() || c == '$';
            if !plain.starts_with(is_letter) || !plain.chars().all(is_inner) {
                return None;
            }
            (plain.to_ascii_lowercase(), rest)
        }
    };
    let is_used = !found.is_empty() && found.len() <= MAX_BYTES && !found.contains('\0');
    is_used.then_some((found, rest))
}

/// What is before the closing quote, where two quotes are one, and what comes after it.
fn quoted_identifier(text: &str) -> Option<(String, &str)> {
    let mut found = String::new();
    let mut rest = text;
    loop {
        let (before, after) = rest.split_once('"')?;
        found.push_str(before);
        match after.strip_prefix('"') {
            Some(more) => {
                found.push('"');
                rest = more;
            }
            None => return Some((found, after)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_names_as_a_statement_would_read_them() {
        for (text, expected) in [
            ("state", "\"state\""),
            ("Public.My_State$1", "\"public\".\"my_state$1\""),
            ("\"My \"\"state\".x", "\"My \"\"state\".\"x\""),
        ] {
            assert_eq!(Table::parse(text).unwrap().to_string(), expected);
        }
        assert_eq!(Table::parse("a.B").unwrap().name(), "b");
    }

    #[test]
    fn refuses_what_is_no_name() {
        let long = "a".repeat(64);
        for text in [
            "",
            ".",
            "a.",
            ".a",
            "a.b.c",
            "1a",
            "a b",
            "a;drop table b",
            "a\"b",
            "\"a",
            "\"\"",
            "a-b",
            "\"a\0\"",
            "tä",
            &long,
        ] {
            assert_eq!(Table::parse(text), None, "{text:?}");
        }
    }
}
