//! From the text of a document to its object and back.

use serde::Serialize as _;
use serde_json::Value;
use serde_json::ser::{PrettyFormatter, Serializer};

/// How a document was written, and is to be written again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// YAML.
    Yaml,
    /// JSON; on one line where there is no indentation.
    Json { indentation: Option<String> },
}

/// Reads one document. Numbers are read as kubectl does: `0644` is octal.
pub(super) fn parse(text: &str) -> anyhow::Result<(Value, Form)> {
    if text.starts_with('{')
        && let Ok(value) = serde_json::from_str(text)
    {
        let form = Form::Json {
            indentation: indentation(text),
        };
        return Ok((value, form));
    }
    let options = serde_saphyr::options! {
        legacy_octal_numbers: true,
    };
    let value = serde_saphyr::from_str_with_options(text, options)?;
    Ok((value, Form::Yaml))
}

/// What stands before the first key of an object that has several lines.
fn indentation(text: &str) -> Option<String> {
    let (_, second) = text.trim_end().split_once('\n')?;
    let length = second.len() - second.trim_start_matches([' ', '\t']).len();
    Some(second[..length].to_owned())
}

impl Form {
    /// Writes an object, with a line feed at its end.
    pub(super) fn print(&self, object: &Value) -> anyhow::Result<String> {
        let mut text = match self {
            Self::Yaml => {
                let options = serde_saphyr::ser_options! {
                    // Long lines stay lines; only text with line feeds becomes a block.
                    folded_wrap_chars: usize::MAX,
                };
                serde_saphyr::to_string_with_options(object, options)?
            }
            Self::Json { indentation: None } => object.to_string(),
            Self::Json {
                indentation: Some(indentation),
            } => {
                let formatter = PrettyFormatter::with_indent(indentation.as_bytes());
                let mut bytes = Vec::new();
                object.serialize(&mut Serializer::with_formatter(&mut bytes, formatter))?;
                String::from_utf8(bytes)?
            }
        };
        if !text.ends_with('\n') {
            text.push('\n');
        }
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn printed(value: &Value) -> String {
        Form::Yaml.print(value).unwrap()
    }

    #[test]
    fn strings_that_look_like_something_else_stay_strings() {
        for text in [
            "true",
            "True",
            "yes",
            "y",
            "on",
            "off",
            "no",
            "null",
            "~",
            "",
            " ",
            "1",
            "1e3",
            "1.0",
            "0o7",
            "0x1f",
            "0644",
            "1_000",
            "+1",
            "-1",
            ".5",
            ".inf",
            ".nan",
            "12:30:45",
            "2001-01-01",
            "a: b",
            "a #b",
            "#a",
            "- a",
            "-",
            "?",
            "!a",
            "&a",
            "*a",
            "%a",
            "@a",
            "`a",
            "{a",
            "[a",
            "'a",
            "\"a",
            "a\nb",
            "a\n",
            "\na",
            "a\n\n",
            " a\n b",
            "a\tb",
            "\t",
            "a\r\nb",
            "\u{85}",
            "\u{feff}",
            "\u{0}",
            "---",
            "...",
            "<<",
            "=",
            "|",
            ">",
            "a:",
            ":a",
        ] {
            let value = json!({"env": [{"value": text}], text: text});
            let yaml = printed(&value);
            assert_eq!(parse(&yaml).unwrap().0, value, "{yaml}");
        }
    }

    #[test]
    fn prints_in_the_form_that_people_write() {
        let value = json!({
            "metadata": {"name": "cart", "labels": {}},
            "spec": {"containers": [{"args": ["--a", "b"], "port": 80, "on": true}], "none": null},
            "data": {"text": "one\ntwo\n", "yes": "yes", "long": "word ".repeat(40).trim_end()},
        });
        assert_eq!(
            printed(&value),
            format!(
                "metadata:\n  name: cart\n  labels: {{}}\nspec:\n  containers:\n  - args:\n    - \
                 --a\n    - b\n    port: 80\n    \"on\": true\n  none: null\ndata:\n  text: |\n    \
                 one\n    two\n  \"yes\": \"yes\"\n  long: {}\n",
                "word ".repeat(40).trim_end()
            )
        );
    }

    #[test]
    fn reads_what_kubectl_reads() {
        let (value, _) = parse("mode: 0644\nbase: &b {a: 1}\nmore: {<<: *b, c: 2}\n").unwrap();
        assert_eq!(value["mode"], json!(420));
        assert_eq!(value["more"], json!({"a": 1, "c": 2}));
        assert!(parse("a: 1\na: 2\n").is_err());
    }

    #[test]
    fn json_stays_json_with_its_indentation() {
        for text in [
            "{\"b\":1,\"a\":[]}\n",
            "{\n    \"b\": 1,\n    \"a\": [\n        2\n    ]\n}\n",
            "{\n\t\"b\": {}\n}\n",
        ] {
            let (value, form) = parse(text).unwrap();
            assert_eq!(form.print(&value).unwrap(), text);
        }
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            ".*".prop_map(Value::from),
            "[ \\n\\t:#'\"|>a-]{0,12}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::hash_map("[ \\n:#a0-9-]{0,6}", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn printing_and_reading_changes_nothing(value in any_value()) {
            let object = json!({"value": value});
            let yaml = printed(&object);
            prop_assert_eq!(&parse(&yaml).unwrap().0, &object, "{}", yaml);
        }

        #[test]
        fn reading_never_panics(text in "[ \\n:#\\-{}\\[\\]&*!|>'\"a0-9]{0,60}") {
            let _ = parse(&text);
        }
    }
}
