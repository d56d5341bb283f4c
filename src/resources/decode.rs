//! From the text of a file to its documents and resources.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::component::Component;
use super::{Error, Origin};

/// The group and version of every resource that is read.
pub const API_VERSION: &str = "dapr.io/v1alpha1";

/// One YAML document as a value, with what it says it is.
#[derive(Clone, Debug)]
pub(crate) struct Document {
    pub(crate) origin: Origin,
    pub(crate) api_version: String,
    pub(crate) kind: String,
    pub(crate) value: Value,
}

/// A resource of another kind of `dapr.io`, which has no effect here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unserved {
    /// Where it stands.
    pub origin: Origin,
    /// Its kind, with its version where that is not [`API_VERSION`].
    pub kind: String,
    /// Its name, or empty.
    pub name: String,
}

/// What the documents of resource files hold.
#[derive(Debug, Default)]
pub struct Resources {
    /// Every component that can be read, in the order of files and documents.
    pub components: Vec<Component>,
    /// Resources without effect.
    pub unserved: Vec<Unserved>,
    /// Files that are not named `.yaml` or `.yml`.
    pub skipped: Vec<PathBuf>,
    /// Documents that cannot be read. The others are not affected.
    pub problems: Vec<Error>,
}

impl Resources {
    /// Adds the resources in the text of one file. Documents that are not `dapr.io`'s are skipped,
    /// and so are configurations, which are given by path.
    pub fn add(&mut self, file: &Path, text: &str) {
        for document in documents(file, text) {
            match document {
                Err(problem) => self.problems.push(problem),
                Ok(document) if document.is("Component") => match Component::decode(document) {
                    Ok(component) => self.components.push(component),
                    Err(problem) => self.problems.push(problem),
                },
                Ok(document) if document.is("Configuration") => {}
                Ok(document) => self.unserved.extend(document.unserved()),
            }
        }
    }
}

impl Document {
    /// Whether it is of a kind of [`API_VERSION`].
    pub(crate) fn is(&self, kind: &str) -> bool {
        self.kind == kind && self.api_version == API_VERSION
    }

    fn unserved(self) -> Option<Unserved> {
        let (group, version) = self.api_version.split_once('/')?;
        let kind = if version == "v1alpha1" {
            self.kind
        } else {
            format!("{} ({version})", self.kind)
        };
        let name = self.value["metadata"]["name"].as_str().unwrap_or_default();
        (group == "dapr.io").then(|| Unserved {
            kind,
            name: name.to_owned(),
            origin: self.origin,
        })
    }

    /// Reads the document as a `T`, where a field that is null counts as absent.
    pub(crate) fn into_typed<T: DeserializeOwned>(self) -> Result<T, Error> {
        typed(&self.origin, self.value)
    }
}

/// Reads a value as a `T`; the error names the field.
pub(crate) fn typed<T: DeserializeOwned>(origin: &Origin, mut value: Value) -> Result<T, Error> {
    drop_nulls(&mut value);
    serde_path_to_error::deserialize(value).map_err(|error| {
        let field = error.path().to_string();
        Error::Field {
            origin: origin.clone(),
            field,
            problem: error.into_inner().to_string().replace('`', "\""),
        }
    })
}

/// Drops the fields that are null, except inside a `value`, which is the user's own data.
fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, field| !field.is_null());
            for (name, field) in fields {
                if name != "value" {
                    drop_nulls(field);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

/// The documents of a file that are not empty. One that cannot be read does not hide the others.
pub(crate) fn documents(file: &Path, text: &str) -> Vec<Result<Document, Error>> {
    let file: Arc<Path> = file.into();
    split(text)
        .into_iter()
        .enumerate()
        .filter_map(|(at, chunk)| {
            let origin = Origin {
                file: Arc::clone(&file),
                document: at + 1,
            };
            parse(origin, &chunk).transpose()
        })
        .collect()
}

fn parse(origin: Origin, chunk: &Chunk<'_>) -> Result<Option<Document>, Error> {
    let yaml = |line: usize, problem: String| Error::Yaml {
        origin: origin.clone(),
        line: chunk.first_line + line.max(1) - 1,
        problem,
    };
    let value: Value =
        serde_saphyr::from_str_with_options(chunk.text, options()).map_err(|error| {
            let line = error.location().map_or(1, |at| at.line());
            yaml(usize::try_from(line).unwrap_or(usize::MAX), plain(&error))
        })?;
    let text = |field: &str| value[field].as_str().unwrap_or_default().to_owned();
    match &value {
        Value::Null => Ok(None),
        Value::Object(_) => Ok(Some(Document {
            api_version: text("apiVersion"),
            kind: text("kind"),
            origin,
            value,
        })),
        _ => Err(yaml(1, "the document is not a mapping".to_owned())),
    }
}

/// The message of a YAML error without the line in its document, which is not the line in the file.
fn plain(error: &serde_saphyr::Error) -> String {
    let message = error.render_with_formatter(&serde_saphyr::UserMessageFormatter);
    match message.rfind(" at line ") {
        Some(end) => message[..end].to_owned(),
        None => message,
    }
}

/// No excerpts of the text in errors: it may hold a password. Text such as `007` stays text.
fn options() -> serde_saphyr::Options {
    serde_saphyr::options! {
        with_snippet: false,
        emit_comments: false,
        leading_zero_numbers_as_strings: true,
    }
}

struct Chunk<'a> {
    /// The line in the file where it begins, from 1.
    first_line: usize,
    text: &'a str,
}

/// Cuts a file at its document markers (`---` at the start of a line, then a blank or the end;
/// YAML 1.2, 9.1.2), since a parser cannot go on after a syntax error. What stands before the
/// first marker is a document only if it is more than comments and directives.
fn split(text: &str) -> Vec<Chunk<'_>> {
    let mut chunks = Vec::new();
    let (mut start, mut first_line, mut has_content) = (0, 1, false);
    let mut at = 0;
    for (index, line) in text.split_inclusive('\n').enumerate() {
        let marker = is_marker(line);
        if marker && has_content {
            chunks.push(Chunk {
                first_line,
                text: &text[start..at],
            });
            (start, first_line) = (at, index + 1);
        }
        let bare = line.trim();
        has_content |= marker || !(bare.is_empty() || bare.starts_with(['#', '%']));
        at += line.len();
    }
    if has_content {
        chunks.push(Chunk {
            first_line,
            text: &text[start..],
        });
    }
    chunks
}

fn is_marker(line: &str) -> bool {
    line.strip_prefix("---")
        .is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']))
}

/// A text, also where YAML reads the scalar as a number or boolean (`version: 1`).
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Text(pub(crate) String);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::String(text) => Ok(Self(text)),
            scalar @ (Value::Number(_) | Value::Bool(_)) => Ok(Self(scalar.to_string())),
            _ => Err(serde::de::Error::custom("not a text")),
        }
    }
}
