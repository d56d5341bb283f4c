//! What locks are called in a store (`keyPrefix`).

use crate::components::metadata::{self, Reader};
use crate::components::state::key_prefix::SEPARATOR;

/// What is in front of the names of all locks, so that no value of state is taken for one.
const LOCK: &str = "lock";

/// What is in front of the names of the locks of one component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names(String);

impl Names {
    /// Reads `keyPrefix` of a component, as in Dapr 1.18: the id of the app where it is absent,
    /// `name`, `none`, or a text, which is in lower case.
    pub fn read(
        reader: &mut Reader<'_>,
        component: &str,
        app_id: &str,
    ) -> Result<Self, metadata::Error> {
        let given = reader.text(&["keyPrefix"])?.unwrap_or_default();
        let prefix = match given.to_lowercase().as_str() {
            "" | "appid" => app_id.to_owned(),
            "name" => component.to_owned(),
            "none" => return Ok(Self(format!("{LOCK}{SEPARATOR}"))),
            text if text.contains(SEPARATOR) => {
                return Err(metadata::Error::Invalid {
                    name: "keyPrefix",
                    accepted: "appid, name, none, or a text without \"||\"",
                });
            }
            text => text.to_owned(),
        };
        Ok(Self(format!("{LOCK}{SEPARATOR}{prefix}{SEPARATOR}")))
    }

    /// The name of the lock of a resource.
    pub fn of(&self, resource: &str) -> String {
        format!("{}{resource}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::contract;

    fn read(properties: &[(&str, &str)]) -> Result<Names, metadata::Error> {
        let component = contract::component("lock.redis", properties);
        let mut reader = Reader::new(&component).unwrap();
        Names::read(&mut reader, "store", "app")
    }

    #[test]
    fn names_are_those_of_dapr() {
        for (properties, expected) in [
            (&[][..], "lock||app||r"),
            (&[("keyPrefix", "")], "lock||app||r"),
            (&[("keyPrefix", "AppId")], "lock||app||r"),
            (&[("keyPrefix", "name")], "lock||store||r"),
            (&[("keyPrefix", "none")], "lock||r"),
            (&[("keyPrefix", "Shared")], "lock||shared||r"),
        ] {
            assert_eq!(read(properties).unwrap().of("r"), expected);
        }
        let error = read(&[("keyPrefix", "a||b")]).unwrap_err().to_string();
        assert!(error.contains("without \"||\""), "{error}");
    }
}
