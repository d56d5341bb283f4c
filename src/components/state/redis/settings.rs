//! What the metadata of a component says of its hashes.

use tracing::info;

use crate::components::metadata::{self, Reader};
use crate::components::{Error, ResolvedComponent};

/// Fields of Dapr's that have no effect here: of queries, which this build does not serve, and of
/// pub/sub, which Dapr's reference names here too.
const UNUSED: [&str; 3] = ["queryIndexes", "redeliverInterval", "processingTimeout"];

/// How values are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HashSettings {
    /// After how many seconds a value ends whose request does not say. `None`: never.
    pub(super) ttl: Option<u32>,
}

impl HashSettings {
    pub(super) fn read(
        component: &ResolvedComponent,
        reader: &mut Reader<'_>,
    ) -> Result<Self, Error> {
        let settings = Self { ttl: ttl(reader)? };
        for name in UNUSED {
            if reader.text(&[name])?.is_some() {
                info!(
                    component = component.name,
                    field = name,
                    "Without effect on a state store of this build"
                );
            }
        }
        Ok(settings)
    }
}

/// Zero and less are no limit, as in Dapr 1.18.
fn ttl(reader: &mut Reader<'_>) -> Result<Option<u32>, metadata::Error> {
    let text = match reader.text(&["ttlInSeconds"])? {
        None | Some("") => return Ok(None),
        Some(text) => text,
    };
    let seconds = text
        .parse::<i64>()
        .ok()
        .filter(|seconds| *seconds <= i64::from(u32::MAX));
    match seconds {
        Some(seconds) => Ok(u32::try_from(seconds).ok().filter(|seconds| *seconds > 0)),
        None => Err(metadata::Error::Invalid {
            name: "ttlInSeconds",
            accepted: "a whole number of seconds up to 4294967295; 0 or less is no limit",
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::contract;

    fn read(properties: &[(&str, &str)]) -> Result<HashSettings, String> {
        let component = contract::component("state.redis", properties);
        let mut reader = Reader::new(&component).unwrap();
        HashSettings::read(&component, &mut reader).map_err(|error| error.to_string())
    }

    #[test]
    fn values_end_where_the_component_says_so() {
        for (text, expected) in [
            ("", None),
            ("0", None),
            ("-1", None),
            ("60", Some(60)),
            ("4294967295", Some(u32::MAX)),
        ] {
            let settings = read(&[("ttlInSeconds", text), ("queryIndexes", "[]")]);
            assert_eq!(settings, Ok(HashSettings { ttl: expected }), "{text}");
        }
        assert_eq!(read(&[]), Ok(HashSettings { ttl: None }));
        for wrong in ["1m", "4294967296", "1.5", "hunter2"] {
            let error = read(&[("ttlInSeconds", wrong)]).unwrap_err();
            assert!(
                error.contains("\"ttlInSeconds\"") && !error.contains("hunter2"),
                "{error}"
            );
        }
    }
}
