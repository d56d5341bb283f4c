//! Reads annotations by the types of their rows.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::num::IntErrorKind;

use super::table::TABLE;
use super::{Annotation, Kind};
use crate::base::duration::parse_go_duration;
use crate::base::names::{is_dns_subdomain, nearest};
use crate::base::quantity::{parse_bytes, parse_quantity};
use crate::base::truthy::is_truthy;
use crate::injector::denial::{Denial, DenyReason};

/// The most characters of a value that a message shows.
const SHOWN: usize = 80;

/// A value in quotes, control characters escaped, cut where it is long.
pub(in crate::injector) fn shown(text: &str) -> String {
    format!("{:?}", shorten(text))
}

/// How many unknown keys are compared with all known ones, which takes time.
const UNKNOWN_KEYS: usize = 16;

fn shorten(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => Cow::Owned(format!("{}…", &text[..end])),
        None => Cow::Borrowed(text),
    }
}

/// The annotations of one pod, with the warnings that reading them gave.
///
/// An annotation with an empty value counts as absent, unless its reader says otherwise: charts
/// leave such values behind.
pub(in crate::injector) struct Annotations<'a> {
    values: &'a BTreeMap<String, String>,
    warnings: Vec<String>,
}

impl<'a> Annotations<'a> {
    /// Takes the annotations, and warns of keys with our prefixes that the table does not have.
    pub(in crate::injector) fn new(values: &'a BTreeMap<String, String>) -> Self {
        let mut warnings: Vec<_> = hints(values).map(warn_unknown).collect();
        let unknown = values.keys().filter(|key| is_unknown(key)).count();
        let more = unknown - warnings.len();
        if more > 0 {
            warnings.push(format!("{more} more annotations are not known"));
        }
        Self { values, warnings }
    }

    /// Adds a warning for whoever creates the pod.
    pub(in crate::injector) fn warn(&mut self, warning: String) {
        self.warnings.push(warning);
    }

    /// Denies what lowers the security of the sidecar, or only warns where the injector allows it.
    pub(in crate::injector) fn weakens(
        &mut self,
        allowed: bool,
        message: String,
    ) -> Result<(), Denial> {
        if allowed {
            self.warn(message);
            return Ok(());
        }
        Err(Denial {
            reason: DenyReason::WeakensSecurity,
            message: format!("{message} (the injector's --allow-weakened-security accepts it)"),
        })
    }

    /// Everything that was warned about.
    pub(in crate::injector) fn into_warnings(self) -> Vec<String> {
        self.warnings
    }

    /// The bytes of all keys and values.
    pub(in crate::injector) fn bytes(&self) -> usize {
        self.iter()
            .map(|(key, value)| key.len() + value.len())
            .sum()
    }

    /// All keys with their values.
    pub(in crate::injector) fn iter(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        self.values
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// The value as written, the empty one too.
    pub(in crate::injector) fn written(&self, row: &Annotation) -> Option<&'a str> {
        self.values.get(row.key).map(String::as_str)
    }

    fn non_empty(&self, row: &Annotation) -> Option<&'a str> {
        self.written(row).filter(|value| !value.is_empty())
    }

    /// The value or the row's default.
    pub(in crate::injector) fn text(&self, row: &Annotation) -> &'a str {
        self.non_empty(row).unwrap_or(row.default)
    }

    /// The value, where it is not empty.
    pub(in crate::injector) fn optional(&self, row: &Annotation) -> Option<String> {
        self.non_empty(row).map(str::to_owned)
    }

    /// The truth value, the row's default where the annotation is absent. An empty text is false,
    /// as every other that [`is_truthy`] does not know.
    pub(in crate::injector) fn flag(&mut self, row: &Annotation) -> bool {
        self.maybe_flag(row)
            .unwrap_or_else(|| is_truthy(row.default))
    }

    /// The truth value, where the annotation is there.
    pub(in crate::injector) fn maybe_flag(&mut self, row: &Annotation) -> Option<bool> {
        let text = self.written(row)?;
        let known = ["", "n", "no", "false", "f", "off", "0"];
        let truth = is_truthy(text);
        if !truth && !known.contains(&text.trim().to_ascii_lowercase().as_str()) {
            self.warnings.push(format!(
                "annotation {:?}: {} is not \"true\" or \"false\"; it counts as false",
                row.key,
                shown(text)
            ));
        }
        Some(truth)
    }

    /// The number, the row's default where there is none or an unusable one.
    pub(in crate::injector) fn number(&mut self, row: &Annotation) -> Option<i32> {
        let default = row.default.parse().ok();
        let Kind::Number { min, max } = row.kind else {
            return default;
        };
        let Some(text) = self.non_empty(row) else {
            return default;
        };
        match text.parse::<i32>() {
            Ok(number) if (min..=max).contains(&number) => Some(number),
            _ => {
                self.warnings.push(format!(
                    "annotation {:?}: {} is not a whole number from {min} to {max}; {}",
                    row.key,
                    shown(text),
                    fallback(row)
                ));
                default
            }
        }
    }

    /// The number of a row that has a default.
    pub(in crate::injector) fn amount(&mut self, row: &Annotation) -> i32 {
        self.number(row).unwrap_or_default()
    }

    /// The port, the row's default where there is none or no number. A number that is no port is
    /// denied: the sidecar could not listen there.
    pub(in crate::injector) fn port(&mut self, row: &Annotation) -> Result<Option<u16>, Denial> {
        let default = row.default.parse().ok();
        let Some(text) = self.non_empty(row) else {
            return Ok(default);
        };
        let message = format!(
            "annotation {:?}: {} is not a port (1-65535)",
            row.key,
            shown(text)
        );
        match text.parse::<i64>() {
            Ok(number) => match u16::try_from(number) {
                Ok(port) if port > 0 => Ok(Some(port)),
                _ => Err(Denial::cannot_run(message)),
            },
            Err(error) => match error.kind() {
                IntErrorKind::PosOverflow | IntErrorKind::NegOverflow => {
                    Err(Denial::cannot_run(message))
                }
                _ => {
                    self.warnings.push(format!("{message}; {}", fallback(row)));
                    Ok(default)
                }
            },
        }
    }

    /// One of the words of the row, in the row's spelling. Another word is denied: the sidecar
    /// would refuse to start with it.
    pub(in crate::injector) fn choice(&self, row: &Annotation) -> Result<&'static str, Denial> {
        let (Some(text), Kind::Choice(words)) = (self.non_empty(row), row.kind) else {
            return Ok(row.default);
        };
        let known = words.iter().find(|word| word.eq_ignore_ascii_case(text));
        known.copied().ok_or_else(|| {
            let accepted = words
                .iter()
                .map(|word| format!("{word:?}"))
                .collect::<Vec<_>>()
                .join(", ");
            let verb = if words.len() > 1 { "are" } else { "is" };
            let value = shown(text);
            Denial::cannot_run(format!(
                "annotation {:?}: {value} is not known: accepted {verb} {accepted}",
                row.key
            ))
        })
    }

    /// The value, where it can be read as the row's duration or number of bytes. What cannot is
    /// denied: the sidecar would refuse to start with it.
    pub(in crate::injector) fn checked(&self, row: &Annotation) -> Result<Option<String>, Denial> {
        let Some(text) = self.non_empty(row) else {
            return Ok(None);
        };
        let short = shorten(text);
        let error = match row.kind {
            Kind::Duration => parse_go_duration(&short).err().map(|e| e.to_string()),
            Kind::Bytes => parse_bytes(&short).err().map(|e| e.to_string()),
            _ => None,
        };
        match error {
            Some(error) => Err(Denial::cannot_run(format!(
                "annotation {:?}: {error}",
                row.key
            ))),
            None => Ok(Some(text.to_owned())),
        }
    }

    /// The amount of a resource, `Err` where it is none. Amounts are not negative.
    pub(in crate::injector) fn quantity(
        &self,
        row: &Annotation,
    ) -> Result<Option<&'a str>, String> {
        let Some(text) = self.non_empty(row) else {
            return Ok(None);
        };
        match parse_quantity(&shorten(text)) {
            Ok(amount) if amount >= 0.0 => Ok(Some(text)),
            Ok(_) => Err(format!(
                "annotation {:?}: {} is negative",
                row.key,
                shown(text)
            )),
            Err(error) => Err(format!("annotation {:?}: {error}", row.key)),
        }
    }

    /// The name of a Secret, where the annotation is there. What no Secret can be called is
    /// denied, the empty text too: ignoring it would switch a token off.
    pub(in crate::injector) fn secret_name(
        &self,
        row: &Annotation,
    ) -> Result<Option<String>, Denial> {
        match self.written(row) {
            None => Ok(None),
            Some(text) if is_dns_subdomain(text) => Ok(Some(text.to_owned())),
            Some(text) => Err(Denial {
                reason: DenyReason::SecretName,
                message: format!(
                    "annotation {:?}: {} is not the name of a Secret: accepted are 1 to 253 of \
                     the characters a-z, 0-9, \"-\" and \".\", with a letter or digit at both \
                     ends; remove the annotation to run without a token",
                    row.key,
                    shown(text)
                ),
            }),
        }
    }

    /// An absolute path that a volume can be mounted at.
    pub(in crate::injector) fn path(&self, row: &Annotation) -> Result<Option<String>, Denial> {
        match self.non_empty(row) {
            Some(text) if !is_mount_path(text) => Err(Denial::cannot_run(format!(
                "annotation {:?}: {} is not a path to mount at: accepted is an absolute path \
                 without \":\" and \"..\", other than \"/\"",
                row.key,
                shown(text)
            ))),
            path => Ok(path.map(str::to_owned)),
        }
    }

    /// The words of a list, trimmed, without empty ones.
    pub(in crate::injector) fn list(&self, row: &Annotation) -> Vec<String> {
        words(self.text(row)).map(str::to_owned).collect()
    }
}

/// The words between commas, trimmed, without empty ones.
pub(in crate::injector) fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(',')
        .map(str::trim)
        .filter(|word| !word.is_empty())
}

/// Whether a container runtime can mount a volume at a path.
pub(in crate::injector) fn is_mount_path(path: &str) -> bool {
    path.starts_with('/')
        && !path.contains([':', '\0'])
        && path.split('/').any(|part| !part.is_empty() && part != ".")
        && path.split('/').all(|part| part != "..")
}

fn fallback(row: &Annotation) -> String {
    match row.default {
        "" => "it is ignored".to_owned(),
        default => format!("the default {default} counts"),
    }
}

/// Whether a key has one of our prefixes.
pub(in crate::injector) fn is_ours(key: &str) -> bool {
    key.starts_with("dapr.io/") || key.starts_with("sidegate.dev/")
}

/// Whether a key has one of our prefixes and is not in the table.
fn is_unknown(key: &str) -> bool {
    is_ours(key) && TABLE.iter().all(|row| row.key != key)
}

/// A key that the table does not have, and the row that it was meant to be.
type Hint<'a> = (&'a str, Option<&'static Annotation>);

/// The first of those keys with our prefixes that the table does not have.
pub(in crate::injector) fn hints(
    values: &BTreeMap<String, String>,
) -> impl Iterator<Item = Hint<'_>> {
    let unknown = values.keys().filter(|key| is_unknown(key));
    let first = unknown.take(UNKNOWN_KEYS);
    first.map(|key| (key.as_str(), meant(key)))
}

/// Keys are compared without their prefixes, so that a key with the wrong one of the two is found
/// too.
fn meant(key: &str) -> Option<&'static Annotation> {
    let name = key.split_once('/').map_or(key, |(_, name)| name);
    let names = TABLE.iter().filter_map(|row| row.key.split('/').nth(1));
    let name = nearest(&shorten(name), names)?;
    TABLE
        .iter()
        .find(|row| row.key.ends_with(&format!("/{name}")))
}

fn warn_unknown((key, meant): Hint<'_>) -> String {
    let hint = meant.map_or_else(String::new, |row| format!("; did you mean {:?}?", row.key));
    format!("annotation {} is not known{hint}", shown(key))
}
