//! Services outside that events come from (input) and that operations go to (output).

use std::borrow::Cow;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use super::message::{Intake, Metadata};
use super::metadata::{Error, Reader};
use crate::components::BackendError;

pub mod cron;
#[cfg(feature = "remote")]
pub mod http;
pub mod queue;
#[cfg(feature = "rabbitmq")]
pub mod rabbitmq;
#[cfg(feature = "redis")]
pub mod redis;

/// The operation of nearly every output binding: it sends the data.
pub const CREATE: &str = "create";

/// One operation of an output binding.
#[derive(Clone, Debug)]
pub struct BindingRequest {
    /// What to do, such as `create`.
    pub operation: String,
    /// With what.
    pub data: Bytes,
    /// How.
    pub metadata: Metadata,
}

/// What an operation gave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BindingAnswer {
    /// Its data, where it has some.
    pub data: Option<Bytes>,
    /// What else there is to tell.
    pub metadata: Metadata,
}

/// An operation that failed.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("{text}")]
pub struct BindingFailure {
    /// Why. It goes to the client: it holds no secret, and no address with a password in it.
    pub text: String,
    /// What else there is to tell, also of a failure.
    pub metadata: Metadata,
    /// Whether another try may heal it.
    pub may_heal: bool,
}

/// Where operations go.
#[async_trait]
pub trait OutputBinding: Send + Sync {
    /// The operations that it has.
    fn operations(&self) -> Cow<'_, [&str]>;

    /// Does one of them.
    async fn invoke(&self, request: BindingRequest) -> Result<BindingAnswer, BindingFailure>;
}

/// Where events come from.
#[async_trait]
pub trait InputBinding: Send + Sync {
    /// Begins to take them.
    async fn read(&self) -> Result<Box<dyn Intake>, BackendError>;
}

/// A component of bindings: one way or both.
#[derive(Clone, Default)]
pub struct BindingComponent {
    /// Where events come from.
    pub input: Option<Arc<dyn InputBinding>>,
    /// Where operations go.
    pub output: Option<Arc<dyn OutputBinding>>,
    /// What its metadata says for all bindings.
    pub settings: BindingSettings,
}

/// What the metadata of a binding may say, whatever its type.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BindingSettings {
    /// `direction`, where it is there.
    pub direction: Option<Direction>,
    /// `route`: the path of events at an HTTP app, in place of the name. It may have a query.
    pub route: Option<String>,
}

/// The ways of a binding that its metadata names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Direction {
    /// It is an input. The app is not asked whether it wants the events.
    pub input: bool,
    /// It is an output.
    pub output: bool,
}

impl BindingSettings {
    /// Reads `direction` and `route`.
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, Error> {
        let direction = reader.text(&["direction"])?.filter(|text| !text.is_empty());
        let route = reader.text(&["route"])?.filter(|text| !text.is_empty());
        Ok(Self {
            direction: direction.map(Direction::parse).transpose()?,
            route: route.map(parse_route).transpose()?,
        })
    }
}

/// Checks that a request of HTTP can have this path.
fn parse_route(text: &str) -> Result<String, Error> {
    let target = format!("/{}", text.trim_start_matches('/'));
    match target.parse::<::http::Uri>() {
        Ok(_) => Ok(target),
        Err(_) => Err(Error::Invalid {
            name: "route",
            accepted: "a path of an HTTP app, escaped, such as \"orders/new\"",
        }),
    }
}

impl Direction {
    /// Reads `input`, `output`, or both with a comma.
    fn parse(text: &str) -> Result<Self, Error> {
        let mut direction = Self::default();
        for way in text.split(',') {
            match way.trim().to_lowercase().as_str() {
                "input" => direction.input = true,
                "output" => direction.output = true,
                _ => {
                    return Err(Error::Invalid {
                        name: "direction",
                        accepted: "\"input\", \"output\" or \"input, output\"",
                    });
                }
            }
        }
        Ok(direction)
    }
}

impl BindingComponent {
    /// A component with the ways that its type has, as far as its settings name them.
    pub fn new(
        input: Option<Arc<dyn InputBinding>>,
        output: Option<Arc<dyn OutputBinding>>,
        settings: BindingSettings,
    ) -> Self {
        let direction = settings.direction.unwrap_or(Direction {
            input: true,
            output: true,
        });
        Self {
            input: input.filter(|_| direction.input),
            output: output.filter(|_| direction.output),
            settings,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::secret::Secret;
    use crate::components::{ResolvedComponent, ResolvedProperty};

    fn read(name: &str, value: &str) -> Result<BindingSettings, String> {
        let component = ResolvedComponent {
            name: "b".to_owned(),
            component_type: "bindings.test".to_owned(),
            version: "v1".to_owned(),
            properties: vec![ResolvedProperty {
                name: name.to_owned(),
                value: Secret::new(value),
                secret_name: None,
            }],
        };
        let mut reader = Reader::new(&component).unwrap();
        BindingSettings::read(&mut reader).map_err(|error| error.to_string())
    }

    #[test]
    fn a_direction_is_input_output_or_both() {
        for (text, expected) in [
            ("", None),
            ("input", Some((true, false))),
            ("Output", Some((false, true))),
            ("input, output", Some((true, true))),
        ] {
            let direction = read("direction", text).unwrap().direction;
            let ways = direction.map(|direction| (direction.input, direction.output));
            assert_eq!(ways, expected, "{text}");
        }
        assert_eq!(
            read("direction", "in").unwrap_err(),
            "the value of \"direction\" is not \"input\", \"output\" or \"input, output\""
        );
    }

    #[test]
    fn a_route_is_a_path() {
        for (text, expected) in [
            ("", None),
            ("a/b", Some("/a/b")),
            ("/a?b=c", Some("/a?b=c")),
        ] {
            assert_eq!(read("route", text).unwrap().route.as_deref(), expected);
        }
        let error = read("route", "a b").unwrap_err();
        assert!(
            error.starts_with("the value of \"route\" is not a path"),
            "{error}"
        );
    }
}
