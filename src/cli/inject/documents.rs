//! The documents of a file, as text.
//!
//! YAML allows `---` at the beginning of a line nowhere but between documents, so that lines are
//! all that has to be looked at (YAML 1.2, `c-forbidden`).

use serde::de::IgnoredAny;
use serde_json::Value;

use super::yaml::{self, Form};

/// One document, with everything up to the next.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Document<'a> {
    /// All of it.
    pub(super) text: &'a str,
    /// How much of it stands before the object: separator, comments and empty lines.
    head: usize,
}

/// Cuts a file into documents. Put together again they are the file.
pub(super) fn split(text: &str) -> Vec<Document<'_>> {
    let mut documents = Vec::new();
    let (mut start, mut at) = (0, 0);
    for line in text.split_inclusive('\n') {
        if is_separator(line) && at > start {
            cut_json(&text[start..at], &mut documents);
            start = at;
        }
        at += line.len();
    }
    cut_json(&text[start..], &mut documents);
    documents
}

/// Whether a file's first document has its own separator.
pub(super) fn begins_with_separator(text: &str) -> bool {
    let first = text
        .lines()
        .find(|line| !line.trim().is_empty() && !line.starts_with('#'));
    first.is_some_and(is_separator)
}

fn is_separator(line: &str) -> bool {
    line.strip_prefix("---")
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace))
}

/// A document of JSON may be several objects, one after the other.
fn cut_json<'a>(text: &'a str, documents: &mut Vec<Document<'a>>) {
    let whole = Document::new(text);
    let body = &text[whole.head..];
    let mut ends = Vec::new();
    if body.starts_with('{') {
        let mut objects = serde_json::Deserializer::from_str(body).into_iter::<IgnoredAny>();
        while let Some(Ok(_)) = objects.next() {
            ends.push(whole.head + objects.byte_offset());
        }
        if !body[objects.byte_offset()..].trim().is_empty() {
            ends.clear();
        }
    }
    if ends.len() < 2 {
        documents.push(whole);
        return;
    }
    let mut start = 0;
    ends.pop();
    for end in ends {
        documents.push(Document::new(&text[start..end]));
        start = end;
    }
    documents.push(Document::new(&text[start..]));
}

impl<'a> Document<'a> {
    fn new(text: &'a str) -> Self {
        let is_head = |line: &&str| {
            let line = line
                .strip_prefix("---")
                .filter(|_| is_separator(line))
                .unwrap_or(line);
            let line = line.trim_start();
            line.is_empty() || line.starts_with('#')
        };
        let lines = text.split_inclusive('\n').take_while(is_head);
        let head: usize = lines.map(str::len).sum();
        let rest = &text[head..];
        let spaces = match rest.trim_start().starts_with('{') {
            true => rest.len() - rest.trim_start().len(),
            false => 0,
        };
        Self {
            text,
            head: head + spaces,
        }
    }

    /// The object of the document, where it has one, with the form that it is written in.
    pub(super) fn parse(&self) -> anyhow::Result<Option<(Value, Form)>> {
        let body = &self.text[self.head..];
        if body.trim().is_empty() {
            return Ok(None);
        }
        let (value, form) = yaml::parse(body)?;
        Ok(value.is_object().then_some((value, form)))
    }

    /// Writes the document with another object in it.
    pub(super) fn replace(&self, object: &str, output: &mut String) {
        let (head, body) = self.text.split_at(self.head);
        output.push_str(head);
        if is_separator(body) {
            output.push_str("---\n");
        }
        output.push_str(object.trim_end());
        // A document that ends its file without a line feed must not run into the next file.
        let tail = &body[body.trim_end().len()..];
        output.push_str(if tail.is_empty() { "\n" } else { tail });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> Vec<&str> {
        split(text).iter().map(|document| document.text).collect()
    }

    #[test]
    fn cuts_at_separators_only() {
        assert_eq!(texts("a: 1\n---\nb: 1\n"), ["a: 1\n", "---\nb: 1\n"]);
        assert_eq!(
            texts("---\na: 1\n--- # c\nb: 1"),
            ["---\na: 1\n", "--- # c\nb: 1"]
        );
        let no_separators = "a: |\n  ---\nb: ---\nc: \"\n  ---x\"\n---x: 1\n";
        assert_eq!(texts(no_separators), [no_separators]);
        assert_eq!(texts(""), [""]);
    }

    #[test]
    fn cuts_json_streams() {
        assert_eq!(
            texts("{\"a\": 1}\n{\"b\": 1}\n"),
            ["{\"a\": 1}", "\n{\"b\": 1}\n"]
        );
        assert_eq!(texts("{a: 1}\n"), ["{a: 1}\n"]);
    }

    #[test]
    fn replaces_the_object_and_keeps_what_stands_before_it() {
        for (text, wanted) in [
            (
                "# c\n--- # d\n\n# e\na: 1\n# f\n",
                "# c\n--- # d\n\n# e\nb: 2\n",
            ),
            ("--- {a: 1}\n", "---\nb: 2\n"),
            ("a: 1", "b: 2\n"),
            ("a: 1\n\n\n", "b: 2\n\n\n"),
        ] {
            let mut output = String::new();
            for document in split(text) {
                match document.parse().unwrap() {
                    Some(_) => document.replace("b: 2\n", &mut output),
                    None => output.push_str(document.text),
                }
            }
            assert_eq!(output, wanted, "{text:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn loses_nothing(text in "([a{}: \\-#\r\n]|---){0,40}") {
            proptest::prop_assert_eq!(texts(&text).concat(), text);
        }
    }
}
