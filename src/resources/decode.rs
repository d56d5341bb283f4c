//! From the text of a file to its documents, and from documents to resources.

use std::path::Path;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::component::{self, Component};
use super::http_endpoint::{self, HttpEndpoint};
use super::resiliency::Resiliency;
use super::sidecar_policy;
use super::subscription::{self, Subscription};
use super::{Error, Origin};
use crate::base::names::nearest;

/// The group and version of most resources that are read.
pub const API_VERSION: &str = "dapr.io/v1alpha1";

/// The most values that aliases of one document may stand for, so that a few lines cannot become
/// gigabytes.
const MAX_REPLAYED: usize = 20_000;

/// One YAML document or one object as a value, with what it says it is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Document {
    pub(crate) origin: Origin,
    pub(crate) api_version: String,
    pub(crate) kind: String,
    pub(crate) value: Value,
}

/// What the documents of resource files and the objects of the cluster hold.
#[derive(Debug, Default)]
pub struct Resources {
    /// Every component that can be read, in the order of files and documents.
    pub components: Vec<Component>,
    /// Every resiliency that can be read, in the same order.
    pub resiliencies: Vec<Resiliency>,
    /// The same for HTTP endpoints.
    pub http_endpoints: Vec<HttpEndpoint>,
    /// The same for subscriptions.
    pub subscriptions: Vec<Subscription>,
    /// Every policy, not decoded yet: only the one that the sidecar is given counts.
    pub(crate) policies: Vec<Document>,
    /// What has no effect, though the user may think that it has.
    pub warnings: Vec<String>,
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
                Ok(document) => self.add_document(document),
            }
        }
    }

    /// Adds the resource of one document or object.
    pub(crate) fn add_document(&mut self, document: Document) {
        if document.is("Component") {
            self.warnings.extend(component::unknown_fields(&document));
            match Component::decode(document) {
                Ok(component) => self.components.push(component),
                Err(problem) => self.problems.push(problem),
            }
        } else if document.is("Resiliency") {
            match Resiliency::decode(document) {
                Ok(resiliency) => self.resiliencies.push(resiliency),
                Err(problem) => self.problems.push(problem),
            }
        } else if document.is(http_endpoint::KIND) {
            self.warnings.extend(http_endpoint::warnings(&document));
            match HttpEndpoint::decode(document) {
                Ok(endpoint) => self.http_endpoints.push(endpoint),
                Err(problem) => self.problems.push(problem),
            }
        } else if document.is_subscription() {
            self.warnings
                .extend(subscription::unknown_fields(&document));
            match Subscription::decode(document) {
                Ok(subscription) => self.subscriptions.push(subscription),
                Err(problem) => self.problems.push(problem),
            }
        } else if document.is_policy() {
            self.policies.push(document);
        } else if !document.is("Configuration") {
            self.warnings.extend(document.without_effect());
        }
    }
}

impl Document {
    /// Whether it is of a kind of [`API_VERSION`].
    pub(crate) fn is(&self, kind: &str) -> bool {
        self.kind == kind && self.api_version == API_VERSION
    }

    /// In either of their versions.
    fn is_subscription(&self) -> bool {
        self.kind == subscription::KIND
            && [API_VERSION, subscription::API_VERSION].contains(&self.api_version.as_str())
    }

    fn is_policy(&self) -> bool {
        self.kind == sidecar_policy::KIND && self.api_version == sidecar_policy::API_VERSION
    }

    /// Whether its scopes, where it has some, name the app. Scopes that cannot be read are left to
    /// the decoder.
    pub(crate) fn is_for(&self, app_id: &str) -> bool {
        let scopes = self.value["scopes"].as_array();
        scopes.is_none_or(|scopes| {
            let is_app = |scope: &Value| scope.as_str().is_none_or(|scope| scope == app_id);
            scopes.is_empty() || scopes.iter().any(is_app)
        })
    }

    /// A text field of `metadata`.
    pub(crate) fn metadata(&self, field: &str) -> Option<&str> {
        self.value["metadata"][field].as_str()
    }

    /// What to say of a kind of Dapr's or of ours that is not served; nothing of those of others.
    fn without_effect(self) -> Option<String> {
        let (group, _) = self.api_version.split_once('/')?;
        let name = self.metadata("name").unwrap_or_default();
        let Self {
            origin,
            api_version,
            kind,
            ..
        } = &self;
        ["dapr.io", "sidegate.dev"].contains(&group).then(|| {
            format!("{origin}: {kind} {name:?} ({api_version}) has no effect in this build")
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
            problem: with_hint(&error.into_inner().to_string()).replace('`', "\""),
        }
    })
}

/// The message of serde on a name that is not known, with that of several known ones that is most
/// like it.
fn with_hint(message: &str) -> String {
    let mut names = message.split('`').skip(1).step_by(2);
    let unknown = names.next().filter(|_| message.starts_with("unknown "));
    let known: Vec<&str> = names.collect();
    match unknown.and_then(|name| nearest(name, known.iter().copied())) {
        Some(near) if known.len() > 1 => format!("{message}; did you mean `{near}`?"),
        _ => message.to_owned(),
    }
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
            let origin = Origin::File {
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
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: MAX_REPLAYED },
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Resources {
        let mut resources = Resources::default();
        resources.add(Path::new("f.yaml"), text);
        resources
    }

    fn names(text: &str) -> Vec<String> {
        let resources = read(text);
        let problems: Vec<_> = resources.problems.iter().map(ToString::to_string).collect();
        assert_eq!(problems, Vec::<String>::new(), "{text}");
        resources.components.into_iter().map(|c| c.name).collect()
    }

    fn component(name: &str) -> String {
        format!(
            "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {{name: {name}}}\n\
             spec: {{type: secretstores.local.env}}\n"
        )
    }

    #[test]
    fn finds_every_document() {
        let (a, b) = (component("a"), component("b"));
        for text in [
            format!("{a}---\n{b}"),
            format!("---\n{a}---\n{b}---\n"),
            format!("# comment\n\n---\n{a}\n--- # comment\n{b}..."),
            format!("%YAML 1.2\n---\n{a}---\n---\n\n---\n# nothing\n---\n{b}"),
            format!("{a}---\r\n{}", b.replace('\n', "\r\n")),
            format!("{a}---\nkind: ConfigMap\napiVersion: v1\n---\n{b}"),
            format!("{a}---\nnull\n---\n{b}"),
        ] {
            assert_eq!(names(&text), ["a", "b"], "{text}");
        }
        // What begins with the marker and goes on is text.
        let certificate = component("a").replace("{type", "{x: '-----BEGIN', type");
        assert_eq!(names(&format!("{certificate}# ---x\n")), ["a"]);
    }

    #[test]
    fn a_document_that_cannot_be_read_does_not_hide_the_others() {
        let text = format!("{}---\na: [\n---\n{}", component("a"), component("b"));
        let resources = read(&text);
        assert_eq!(resources.components.len(), 2);
        assert_eq!(resources.problems.len(), 1);
        let problem = resources.problems[0].to_string();
        assert!(
            problem.starts_with("file \"f.yaml\", document 2, line "),
            "{problem}"
        );
    }

    #[test]
    fn errors_show_no_piece_of_the_text() {
        for text in [
            "password: hunter2: x\n",
            "password: 'hunter2\n",
            "a: *hunter2\n",
            "- hunter2\n",
            "hunter2\n",
        ] {
            let problem = read(text).problems.remove(0).to_string();
            assert!(
                !problem.contains("hunter2: x") && !problem.contains('\n'),
                "{problem}"
            );
        }
    }

    #[test]
    fn warns_about_kinds_that_have_no_effect() {
        let unserved = component("s").replace("Component", "WorkflowAccessPolicy");
        let newer = component("c").replace("v1alpha1", "v2");
        let configuration = component("c").replace("Component", "Configuration");
        let foreign = component("c").replace("dapr.io", "example.com");
        let all = [unserved, newer, configuration, foreign].join("---\n");
        let resources = read(&all);
        assert_eq!(
            resources.warnings,
            [
                "file \"f.yaml\", document 1: WorkflowAccessPolicy \"s\" (dapr.io/v1alpha1) \
                 has no effect in this build",
                "file \"f.yaml\", document 2: Component \"c\" (dapr.io/v2) has no effect in this \
                 build",
            ]
        );
        assert!(resources.components.is_empty() && resources.problems.is_empty());
    }

    #[test]
    fn aliases_cannot_fill_the_memory() {
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..12 {
            let last = format!("*a{}", level - 1);
            let items = vec![last; 10].join(", ");
            bomb.push_str(&format!("a{level}: &a{level} [{items}]\n"));
        }
        assert_eq!(read(&bomb).problems.len(), 1);
    }

    const PIECES: &str = "(---|\\.\\.\\.|%|  |- |\\? |[a-c&*!|>:{}\\[\\], ]){0,6}";

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "(?s).*") {
            read(&text);
        }

        #[test]
        fn nothing_near_yaml_makes_it_panic(
            lines in proptest::collection::vec(PIECES, 0..12)
        ) {
            read(&lines.join("\n"));
        }

        // YAML takes printable characters only.
        #[test]
        fn every_literal_comes_back_as_written(
            value in "[ -~\n\tä😀]{0,40}",
            between in "(\n|# x\n){0,3}",
        ) {
            let value = serde_json::to_string(&value).unwrap();
            let spec = format!("{{type: t, metadata: [{{name: n, value: {value}}}]}}");
            let with_value = component("a").replace("{type: secretstores.local.env}", &spec);
            let text = format!("{with_value}---\n{between}{}", component("b"));
            let components = read(&text).components;
            prop_assert_eq!(components.len(), 2);
            let expected: String = serde_json::from_str(&value).unwrap();
            let literal = crate::resources::property::Source::Literal(expected);
            prop_assert_eq!(&components[0].properties[0].source, &literal);
        }
    }
}
