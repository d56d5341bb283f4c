//! Named values of a connection string, which are taken one by one.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use crate::base::duration::parse_go_duration;
use crate::base::secret::Secret;
use crate::components::Error;

/// Values by name, in lower case. Any of them may be a secret.
#[derive(Clone, Debug, Default)]
pub(super) struct Parameters(BTreeMap<String, Secret>);

impl Parameters {
    /// Puts a value in the place of one of that name. `database` is another name of `dbname`.
    pub(super) fn put(&mut self, name: &str, value: impl Into<String>) {
        let name = name.to_lowercase();
        let name = if name == "database" {
            "dbname".to_owned()
        } else {
            name
        };
        self.0.insert(name, Secret::new(value));
    }

    /// Takes a value that is not empty.
    pub(super) fn take(&mut self, name: &str) -> Option<Secret> {
        self.0.remove(name).filter(|value| !value.is_empty())
    }

    /// Takes values between commas; one that is empty is an empty text.
    pub(super) fn list(&mut self, name: &str) -> Vec<String> {
        let found = self.take(name);
        let found = found.iter().flat_map(|list| list.expose().split(','));
        found.map(|one| one.trim().to_owned()).collect()
    }

    /// Takes a value that has to have a form.
    pub(super) fn parsed<T>(
        &mut self,
        name: &str,
        accepted: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, Error> {
        let Some(value) = self.take(name) else {
            return Ok(None);
        };
        match parse(value.expose()) {
            Some(parsed) => Ok(Some(parsed)),
            None => Err(Error::Init(format!(
                "{name:?} of the connection string is not {accepted}"
            ))),
        }
    }

    /// Takes one of some words.
    pub(super) fn word<T: Copy>(
        &mut self,
        name: &str,
        words: &[(&str, T)],
    ) -> Result<Option<T>, Error> {
        let accepted: Vec<_> = words.iter().map(|(word, _)| *word).collect();
        let accepted = format!("one of {}", accepted.join(", "));
        self.parsed(name, &accepted, |value| {
            let mut words = words.iter();
            words.find(|(word, _)| *word == value).map(|(_, of)| *of)
        })
    }

    /// Takes a whole number of a range.
    pub(super) fn number(
        &mut self,
        name: &str,
        range: RangeInclusive<u32>,
    ) -> Result<Option<u32>, Error> {
        let accepted = format!("a whole number from {} to {}", range.start(), range.end());
        self.parsed(name, &accepted, |value| {
            value.parse().ok().filter(|number| range.contains(number))
        })
    }

    /// Takes whole seconds; zero is none.
    pub(super) fn seconds(&mut self, name: &str) -> Result<Option<Duration>, Error> {
        let found = self.number(name, 0..=u32::MAX)?;
        let found = found.filter(|&seconds| seconds > 0);
        Ok(found.map(|seconds| Duration::from_secs(seconds.into())))
    }

    /// Takes a duration in Go's form.
    pub(super) fn duration(&mut self, name: &str) -> Result<Option<Duration>, Error> {
        self.parsed(name, "a duration, such as \"1m30s\"", |value| {
            parse_go_duration(value).ok()
        })
    }

    /// What nobody took.
    pub(super) fn rest(self) -> impl Iterator<Item = (String, Secret)> {
        self.0.into_iter()
    }

    #[cfg(test)]
    pub(super) fn exposed(&self) -> Vec<(String, String)> {
        let pairs = self.0.iter();
        pairs
            .map(|(name, value)| (name.clone(), value.expose().to_owned()))
            .collect()
    }
}
