//! Resources in files: folders given by `--resources-path`, configurations by `--config`.

use std::io;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tracing::warn;

use crate::base::environment::Environment;
use crate::resources::Error;
use crate::resources::decode::{Document, Resources, documents};

/// The largest file that is read, so that a wrong path (a disk image, a pipe) cannot fill the
/// memory. Kubernetes keeps no object above 1.5 MiB.
const MAX_FILE_BYTES: u64 = 64 << 20;

/// Reads the resources in the folders: folders in the order given, their `.yaml` and `.yml` files
/// in alphabetical order, documents in their order. Folders below are not entered. A file that
/// cannot be read is among the problems; a folder that cannot is an error.
pub async fn resources(folders: &[PathBuf]) -> Result<Resources, Error> {
    let mut resources = Resources::default();
    for folder in folders {
        for file in files_in(folder).await? {
            if !file
                .extension()
                .is_some_and(|end| end == "yaml" || end == "yml")
            {
                let warning =
                    format!("file {file:?} is not loaded: its name does not end in .yaml");
                resources.warnings.push(warning);
                continue;
            }
            match text(&file).await {
                Ok(text) => resources.add(&file, &text),
                // Deleted since the folder was listed.
                Err(Error::Read { cause, .. }) if cause.kind() == io::ErrorKind::NotFound => {}
                Err(problem) => resources.problems.push(problem),
            }
        }
    }
    Ok(resources)
}

/// Reads the Configurations of one file. In their texts `${NAME}` becomes the value of a variable
/// that is set; every other `$` stays as written.
pub(crate) async fn configurations(
    file: &Path,
    environment: &Environment,
) -> Result<Vec<Document>, Error> {
    let mut all = Vec::new();
    for document in documents(file, &text(file).await?) {
        let mut document: Document = document?;
        if document.is("Configuration") {
            expand(&mut document.value, environment);
            all.push(document);
        } else {
            warn!(origin = %document.origin, kind = document.kind,
                "Skipped a document that is no Configuration");
        }
    }
    if all.is_empty() {
        let path = file.to_owned();
        return Err(Error::NoConfiguration { path });
    }
    Ok(all)
}

/// The files directly in a folder, by name.
async fn files_in(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let fail = |cause: io::Error| {
        let path = folder.to_owned();
        match cause.kind() {
            io::ErrorKind::NotADirectory => Error::NotAFolder { path },
            _ => Error::Read { path, cause },
        }
    };
    let mut entries = tokio::fs::read_dir(folder).await.map_err(fail)?;
    let mut files = Vec::new();
    while let Some(entry) = entries.next_entry().await.map_err(fail)? {
        let path = entry.path();
        // Follows the links of which a mounted ConfigMap is made.
        if tokio::fs::metadata(&path)
            .await
            .is_ok_and(|file| file.is_file())
        {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

async fn text(file: &Path) -> Result<String, Error> {
    let fail = |cause| Error::Read {
        path: file.to_owned(),
        cause,
    };
    let size = tokio::fs::metadata(file).await.map_err(fail)?.len();
    if size > MAX_FILE_BYTES {
        return Err(Error::TooLarge {
            path: file.to_owned(),
            limit: MAX_FILE_BYTES,
        });
    }
    let text = tokio::fs::read_to_string(file).await.map_err(fail)?;
    Ok(match text.strip_prefix('\u{feff}') {
        Some(without_mark) => without_mark.to_owned(),
        None => text,
    })
}

/// Replaces `${NAME}` in every text below `value`. It works on values and not on the file, so that
/// a variable can hold any character and change no other field.
fn expand(value: &mut Value, environment: &Environment) {
    match value {
        Value::String(text) => {
            if let Some(expanded) = expand_text(text, environment) {
                *text = expanded;
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| expand(item, environment)),
        Value::Object(fields) => fields
            .values_mut()
            .for_each(|field| expand(field, environment)),
        _ => {}
    }
}

fn expand_text(text: &str, environment: &Environment) -> Option<String> {
    let mut expanded = String::new();
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        let Some(length) = rest[start + 2..].find('}') else {
            break;
        };
        let end = start + 2 + length;
        let name = &rest[start + 2..end];
        match environment.value(name) {
            Some(value) => {
                expanded.push_str(&rest[..start]);
                expanded.push_str(value);
            }
            None => {
                warn!(
                    variable = name,
                    "A configuration names a variable that is not set"
                );
                expanded.push_str(&rest[..=end]);
            }
        }
        rest = &rest[end + 1..];
    }
    (rest.len() != text.len()).then(|| expanded + rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expands_only_variables_in_braces_that_are_set() {
        let environment: Environment = [("A", "x\": y"), ("E", ""), ("R", "${A}")]
            .into_iter()
            .collect();
        for (text, expected) in [
            ("${A}", "x\": y"),
            ("1${A}2${E}3", "1x\": y23"),
            // What a variable holds is not expanded again.
            ("${R}", "${A}"),
            ("$A ${B} ${A", "$A ${B} ${A"),
            ("pa$$w0rd$", "pa$$w0rd$"),
            ("${B}${A}", "${B}x\": y"),
        ] {
            let mut value = serde_json::json!({ "k": [text] });
            expand(&mut value, &environment);
            assert_eq!(value["k"][0], expected, "{text}");
        }
    }
}
