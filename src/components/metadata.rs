//! Reads the settings of a component (Dapr's "metadata").

use std::ops::RangeInclusive;
use std::time::Duration;

use tracing::warn;

use super::ResolvedComponent;
use crate::base::duration::parse_go_duration;
use crate::base::names::nearest;
use crate::base::quantity::parse_bytes;
use crate::base::truthy::is_truthy;

/// A setting that cannot be used. The text never holds the value, which may be a secret.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// Two settings whose names differ in case only.
    #[error("key {name} is duplicate in the metadata")]
    Duplicate {
        /// The name as written the second time.
        name: String,
    },
    /// A setting given under two of its names.
    #[error("{first:?} and {second:?} are names of one setting; give one of them")]
    TwoNames {
        /// One name.
        first: &'static str,
        /// The other.
        second: &'static str,
    },
    /// A setting without which the component cannot work.
    #[error("{0}")]
    Missing(&'static str),
    /// The same, where one is given that may be meant.
    #[error("{missing}; did you mean {name:?} where you wrote {given:?}?")]
    Misspelt {
        /// What is missing.
        missing: &'static str,
        /// Its name.
        name: &'static str,
        /// The name that was given.
        given: String,
    },
    /// A setting that is not what it should be.
    #[error("the value of {name:?} is not {accepted}")]
    Invalid {
        /// The name of the setting.
        name: &'static str,
        /// What is accepted.
        accepted: &'static str,
    },
    /// A number outside its range.
    #[error("the value of {name:?} is not a whole number from {least} to {most}")]
    Number {
        /// The name of the setting.
        name: &'static str,
        /// The least that is accepted.
        least: u32,
        /// The most that is accepted.
        most: u32,
    },
}

/// Reads settings by name. Names are compared without case, as in Dapr 1.18.
pub struct Reader<'a> {
    component: &'a ResolvedComponent,
    known: Vec<&'static str>,
}

impl<'a> Reader<'a> {
    /// A reader of the settings of a component, of which no two may have one name.
    pub fn new(component: &'a ResolvedComponent) -> Result<Self, Error> {
        let mut seen = std::collections::BTreeSet::new();
        for property in &component.properties {
            if !seen.insert(property.name.to_lowercase()) {
                return Err(Error::Duplicate {
                    name: property.name.clone(),
                });
            }
        }
        Ok(Self {
            component,
            known: Vec::new(),
        })
    }

    /// The text of a setting with its name and the other names that it may have.
    pub fn text(&mut self, names: &[&'static str]) -> Result<Option<&'a str>, Error> {
        self.known.extend(names);
        let mut found: Option<(&'static str, &'a str)> = None;
        for property in &self.component.properties {
            let Some(name) = names.iter().find(|name| is_named(&property.name, name)) else {
                continue;
            };
            if let Some((first, _)) = found {
                return Err(Error::TwoNames {
                    first,
                    second: name,
                });
            }
            // Exposed to the back end that it is meant for.
            found = Some((name, property.value.expose()));
        }
        Ok(found.map(|(_, text)| text))
    }

    /// A setting that has to be there and not empty; `missing` is the text of the error.
    pub fn required(
        &mut self,
        names: &[&'static str],
        missing: &'static str,
    ) -> Result<&'a str, Error> {
        match self.text(names)? {
            Some(text) if !text.is_empty() => Ok(text),
            Some(_) => Err(Error::Missing(missing)),
            None => Err(self.missing(names, missing)),
        }
    }

    fn missing(&self, names: &[&'static str], missing: &'static str) -> Error {
        let given = self
            .component
            .properties
            .iter()
            .map(|one| one.name.as_str());
        let given = given.filter(|given| !self.known.iter().any(|name| is_named(given, name)));
        match given
            .filter_map(|given| Some((nearest(given, names.iter().copied())?, given)))
            .next()
        {
            None => Error::Missing(missing),
            Some((near, given)) => Error::Misspelt {
                missing,
                name: names
                    .iter()
                    .find(|name| **name == near)
                    .unwrap_or(&names[0]),
                given: given.to_owned(),
            },
        }
    }

    /// Whether a setting is true in Dapr's sense; false where it is absent.
    pub fn truthy(&mut self, names: &[&'static str]) -> Result<bool, Error> {
        Ok(self.text(names)?.is_some_and(is_truthy))
    }

    /// A duration: Go's form, or whole seconds.
    pub fn duration(&mut self, names: &[&'static str]) -> Result<Option<Duration>, Error> {
        self.parsed(
            names,
            "a duration, such as \"1m30s\" or whole seconds",
            |text| {
                let seconds = text.parse().ok().map(Duration::from_secs);
                seconds.or_else(|| parse_go_duration(text).ok())
            },
        )
    }

    /// A duration: Go's form, or whole milliseconds, as Dapr's clients of some servers have it.
    pub fn duration_or_millis(
        &mut self,
        names: &[&'static str],
    ) -> Result<Option<Duration>, Error> {
        self.parsed(
            names,
            "a duration, such as \"1m30s\" or whole milliseconds",
            |text| {
                let millis = text.parse().ok().map(Duration::from_millis);
                millis.or_else(|| parse_go_duration(text).ok())
            },
        )
    }

    /// A whole number of a range.
    pub fn number(
        &mut self,
        names: &[&'static str],
        range: RangeInclusive<u32>,
    ) -> Result<Option<u32>, Error> {
        match self.text(names)? {
            None | Some("") => Ok(None),
            Some(text) => {
                let number = text.parse().ok().filter(|number| range.contains(number));
                number.map(Some).ok_or(Error::Number {
                    name: names[0],
                    least: *range.start(),
                    most: *range.end(),
                })
            }
        }
    }

    /// A number of bytes as a Kubernetes quantity.
    pub fn bytes(&mut self, names: &[&'static str]) -> Result<Option<u64>, Error> {
        self.parsed(names, "a number of bytes, such as \"4Mi\"", |text| {
            parse_bytes(text).ok()
        })
    }

    /// Warns about settings that nobody asked for. Call it last.
    pub fn warn_unknown(self) {
        for property in &self.component.properties {
            let is_known = |name: &&'static str| is_named(&property.name, name);
            if self.known.iter().any(is_known) {
                continue;
            }
            let near = nearest(&property.name, self.known.iter().copied()).unwrap_or_default();
            warn!(
                component = self.component.name,
                property = property.name,
                did_you_mean = near,
                "Ignored an unknown property of a component"
            );
        }
    }

    fn parsed<T>(
        &mut self,
        names: &[&'static str],
        accepted: &'static str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, Error> {
        match self.text(names)? {
            None | Some("") => Ok(None),
            Some(text) => parse(text).map(Some).ok_or(Error::Invalid {
                name: names[0],
                accepted,
            }),
        }
    }
}

/// Names are compared without case, as in Dapr 1.18.
fn is_named(given: &str, name: &str) -> bool {
    given.to_lowercase() == name.to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::contract;

    fn component(properties: &[(&str, &str)]) -> ResolvedComponent {
        contract::component("secretstores.x", properties)
    }

    #[test]
    fn finds_settings_by_any_of_their_names_in_any_case() {
        let component = component(&[("VAULTNAME", "v"), ("spnClientId", "i"), ("flag", "Yes")]);
        let mut reader = Reader::new(&component).unwrap();
        assert_eq!(reader.text(&["vaultName"]), Ok(Some("v")));
        assert_eq!(
            reader.text(&["azureClientId", "spnClientId"]),
            Ok(Some("i"))
        );
        assert_eq!(reader.text(&["absent"]), Ok(None));
        assert_eq!(reader.truthy(&["flag"]), Ok(true));
        assert_eq!(reader.truthy(&["absent"]), Ok(false));
        let missing = reader.required(&["absent"], "it is missing");
        assert_eq!(missing, Err(Error::Missing("it is missing")));
    }

    #[test]
    fn refuses_settings_that_are_given_twice() {
        let twice = component(&[("secretsFile", "a"), ("SecretsFile", "b")]);
        let error = Reader::new(&twice).err().unwrap();
        assert_eq!(
            error.to_string(),
            "key SecretsFile is duplicate in the metadata"
        );
        let both = component(&[("clientId", "a"), ("spnClientId", "b")]);
        let mut reader = Reader::new(&both).unwrap();
        let error = reader.text(&["clientId", "spnClientId"]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "\"clientId\" and \"spnClientId\" are names of one setting; give one of them"
        );
    }

    #[test]
    fn says_what_was_meant_where_a_name_is_misspelt() {
        let component = component(&[("vualtName", "v"), ("other", "o")]);
        let mut reader = Reader::new(&component).unwrap();
        let error = reader
            .required(&["vaultName"], "it is missing")
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "it is missing; did you mean \"vaultName\" where you wrote \"vualtName\"?"
        );
    }

    #[test]
    fn reads_durations_and_sizes_without_showing_wrong_ones() {
        let component = component(&[("a", "30"), ("b", "1m"), ("c", "hunter2"), ("d", "4Mi")]);
        let mut reader = Reader::new(&component).unwrap();
        let seconds = |seconds| Ok(Some(Duration::from_secs(seconds)));
        assert_eq!(reader.duration(&["a"]), seconds(30));
        assert_eq!(reader.duration(&["b"]), seconds(60));
        assert_eq!(
            reader.duration_or_millis(&["a"]),
            Ok(Some(Duration::from_millis(30)))
        );
        assert_eq!(reader.duration_or_millis(&["b"]), seconds(60));
        assert_eq!(reader.bytes(&["d"]), Ok(Some(4 << 20)));
        assert_eq!(
            reader.duration(&["c"]).unwrap_err().to_string(),
            "the value of \"c\" is not a duration, such as \"1m30s\" or whole seconds"
        );
        assert_eq!(
            reader.bytes(&["c"]).unwrap_err().to_string(),
            "the value of \"c\" is not a number of bytes, such as \"4Mi\""
        );
    }
}
