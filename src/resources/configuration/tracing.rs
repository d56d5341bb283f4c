//! `spec.tracing` of a `Configuration`.

use std::time::Duration;

use http::{HeaderName, HeaderValue, Uri};
use serde::Deserialize;
use serde_json::Value;

use crate::base::duration::parse_go_duration;
use crate::base::names::nearest;
use crate::base::secret::Secret;
use crate::process::trace::endpoint::{self, Protocol};
use crate::resources::decode::Text;
use crate::resources::{Error, Origin};

/// Which calls are traced, and where traces go.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tracing {
    /// The part of new traces that is recorded, from 0 to 1, where given.
    pub sampling_rate: Option<f64>,
    /// Whether each span is a line of the log.
    pub stdout: bool,
    /// The URL of a Zipkin collector.
    pub zipkin: Option<Uri>,
    /// An OTLP collector.
    pub otel: Otel,
}

/// An OTLP collector.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Otel {
    /// Its URL, where given.
    pub endpoint: Option<Uri>,
    /// How it is spoken to.
    pub protocol: Protocol,
    /// What each request carries.
    pub headers: Vec<Header>,
    /// How long one request may take, where given; never zero.
    pub timeout: Option<Duration>,
}

/// A header that each request to a collector carries.
#[derive(Clone, Debug, PartialEq)]
pub struct Header {
    /// Its name.
    pub name: HeaderName,
    /// Its value.
    pub value: HeaderText,
}

/// Where the value of a header is from.
#[derive(Clone, Debug, PartialEq)]
pub enum HeaderText {
    /// It stands there.
    Literal(Secret),
    /// It is that of a variable of the environment.
    Variable(String),
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct TracingFields {
    sampling_rate: Option<Text>,
    stdout: bool,
    zipkin: ZipkinFields,
    otel: OtelFields,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ZipkinFields {
    endpoint_address: Text,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct OtelFields {
    endpoint_address: Text,
    protocol: Text,
    is_secure: Option<bool>,
    headers: HeadersFields,
    timeout: Option<Text>,
}

/// The list of the CRD, or the text of older files: `name=value,name=value`.
#[derive(Deserialize)]
#[serde(untagged)]
enum HeadersFields {
    Text(String),
    List(Vec<HeaderFields>),
}

impl Default for HeadersFields {
    fn default() -> Self {
        Self::List(Vec::new())
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum HeaderFields {
    /// `name: value` or `name=value`.
    Line(String),
    #[serde(rename_all = "camelCase")]
    Pair {
        name: Text,
        value: Option<Text>,
        env_ref: Option<Text>,
        secret_key_ref: Option<Value>,
    },
}

/// A field below `spec.tracing`, and what is wrong with it.
type Problem = (String, String);

impl TracingFields {
    /// The values with their types.
    ///
    /// # Errors
    ///
    /// The first one that cannot be used. Its text holds no value of a header.
    pub(super) fn parse(self, origin: &Origin) -> Result<Tracing, Error> {
        self.values().map_err(|(field, problem)| Error::Field {
            origin: origin.clone(),
            field: format!("spec.tracing.{field}"),
            problem,
        })
    }

    fn values(self) -> Result<Tracing, Problem> {
        let rate = self.sampling_rate.filter(|Text(text)| !text.is_empty());
        let zipkin = self.zipkin.endpoint_address.0;
        let zipkin = (!zipkin.is_empty()).then(|| {
            let uri = endpoint::zipkin(&zipkin);
            uri.map_err(|error| ("zipkin.endpointAddress".to_owned(), error.to_string()))
        });
        Ok(Tracing {
            sampling_rate: rate.map(|Text(text)| sampling_rate(&text)).transpose()?,
            stdout: self.stdout,
            zipkin: zipkin.transpose()?,
            otel: self.otel.values()?,
        })
    }
}

fn sampling_rate(text: &str) -> Result<f64, Problem> {
    let rate = text.trim().parse().ok();
    rate.filter(|rate| (0.0..=1.0).contains(rate))
        .ok_or_else(|| {
            let problem = format!("{text:?} is not a number from 0 to 1");
            ("samplingRate".to_owned(), problem)
        })
}

impl OtelFields {
    fn values(self) -> Result<Otel, Problem> {
        let at = |field: &str| format!("otel.{field}");
        let protocol = match self.protocol.0.as_str() {
            "" | "grpc" => Protocol::Grpc,
            "http" => Protocol::Http,
            other => {
                let problem = format!("{other:?} is no protocol; accepted are grpc, http");
                return Err((at("protocol"), problem));
            }
        };
        let address = self.endpoint_address.0;
        let endpoint = (!address.is_empty())
            .then(|| endpoint::otlp(&address, protocol, self.is_secure))
            .transpose()
            .map_err(|error| (at("endpointAddress"), error.to_string()))?;
        let timeout = self
            .timeout
            .filter(|Text(text)| !text.is_empty())
            .map(|Text(text)| parse_go_duration(&text))
            .transpose()
            .map_err(|error| (at("timeout"), error.to_string()))?;
        Ok(Otel {
            endpoint,
            protocol,
            headers: headers(self.headers)?,
            // Zero is how the CRD writes "not given".
            timeout: timeout.filter(|timeout| !timeout.is_zero()),
        })
    }
}

fn headers(fields: HeadersFields) -> Result<Vec<Header>, Problem> {
    let list = match fields {
        HeadersFields::List(list) => list,
        HeadersFields::Text(text) => text
            .split(',')
            .filter(|line| !line.trim().is_empty())
            .map(|line| HeaderFields::Line(line.to_owned()))
            .collect(),
    };
    let numbered = list.into_iter().enumerate();
    numbered
        .map(|(at, fields)| {
            let place = |problem| (format!("otel.headers[{at}]"), problem);
            fields.header().map_err(place)
        })
        .collect()
}

impl HeaderFields {
    fn header(self) -> Result<Header, String> {
        let (name, value) = match self {
            Self::Line(line) => {
                let at = line.find([':', '=']);
                let (name, value) = at
                    .map(|at| (line[..at].to_owned(), line[at + 1..].to_owned()))
                    .ok_or("is not \"name: value\" or {name, value}")?;
                (name, HeaderText::Literal(Secret::new(value.trim())))
            }
            Self::Pair {
                secret_key_ref: Some(_),
                ..
            } => {
                return Err(
                    "secretKeyRef is not served here, since traces begin before secret stores \
                     run; accepted are value and envRef"
                        .to_owned(),
                );
            }
            Self::Pair {
                name,
                value: Some(Text(value)),
                env_ref: None,
                ..
            } => (name.0, HeaderText::Literal(Secret::new(value))),
            Self::Pair {
                name,
                value: None,
                env_ref: Some(Text(variable)),
                ..
            } => (name.0, HeaderText::Variable(variable)),
            Self::Pair { .. } => return Err("needs one of value and envRef".to_owned()),
        };
        let name = HeaderName::try_from(name.trim());
        let name = name.map_err(|_| "the name is not one of a header".to_owned())?;
        if let HeaderText::Literal(value) = &value
            && HeaderValue::try_from(value.expose()).is_err()
        {
            return Err(format!(
                "the value of {:?} cannot stand in a header",
                name.as_str()
            ));
        }
        Ok(Header { name, value })
    }
}

/// Fields of the section that are not known, each with the nearest known one.
pub(super) fn unknown_fields(origin: &Origin, section: &Value) -> Vec<String> {
    const TOP: [&str; 4] = ["samplingRate", "stdout", "zipkin", "otel"];
    const OTEL: [&str; 5] = [
        "endpointAddress",
        "protocol",
        "isSecure",
        "headers",
        "timeout",
    ];
    const HEADER: [&str; 4] = ["name", "value", "envRef", "secretKeyRef"];
    let mut warnings = Vec::new();
    let mut check = |value: &Value, path: &str, known: &[&'static str]| {
        let names = value
            .as_object()
            .into_iter()
            .flat_map(|fields| fields.keys());
        for name in names.filter(|name| !known.contains(&name.as_str())) {
            let hint = nearest(name, known.iter().copied())
                .map(|near| format!("; did you mean {near:?}?"))
                .unwrap_or_default();
            let text = format!("{origin}: unknown field spec.tracing.{path}{name}{hint}");
            warnings.push(text);
        }
    };
    check(section, "", &TOP);
    check(&section["zipkin"], "zipkin.", &["endpointAddress"]);
    check(&section["otel"], "otel.", &OTEL);
    let headers = section["otel"]["headers"].as_array();
    for (at, header) in headers.into_iter().flatten().enumerate() {
        check(header, &format!("otel.headers[{at}]."), &HEADER);
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parse(section: Value) -> Result<Tracing, String> {
        let fields: TracingFields = serde_json::from_value(section).unwrap();
        let parsed = fields.parse(&Origin::BuiltIn);
        parsed.map_err(|error| error.to_string())
    }

    #[test]
    fn reads_what_the_crd_has() {
        let tracing = parse(json!({
            "samplingRate": "0.5", "stdout": true,
            "zipkin": {"endpointAddress": "http://zipkin:9411/api/v2/spans"},
            "otel": {
                "endpointAddress": "otel:4318", "protocol": "http", "isSecure": false,
                "headers": [
                    {"name": "X-Key", "value": "hunter2"}, {"name": "b", "envRef": "B"}, "c: d=e",
                ],
                "timeout": "3s",
            },
        }))
        .unwrap();
        assert_eq!((tracing.sampling_rate, tracing.stdout), (Some(0.5), true));
        let zipkin = tracing.zipkin.clone().unwrap();
        assert_eq!(zipkin.to_string(), "http://zipkin:9411/api/v2/spans");
        let otel = &tracing.otel;
        let endpoint = otel.endpoint.as_ref().unwrap();
        assert_eq!(endpoint.to_string(), "http://otel:4318/v1/traces");
        assert_eq!(otel.timeout, Some(Duration::from_secs(3)));
        let literal = |text: &str| HeaderText::Literal(Secret::new(text));
        let expected = [
            ("x-key", literal("hunter2")),
            ("b", HeaderText::Variable("B".to_owned())),
            ("c", literal("d=e")),
        ];
        let found = otel.headers.iter();
        let found: Vec<_> = found.map(|h| (h.name.as_str(), h.value.clone())).collect();
        assert_eq!(found, expected);
        assert!(!format!("{tracing:?}").contains("hunter2"));
    }

    #[test]
    fn what_is_not_given_has_daprs_defaults() {
        assert_eq!(parse(json!({})).unwrap(), Tracing::default());
        let otel = parse(json!({"samplingRate": 1, "otel": {
            "endpointAddress": "otel:4317", "headers": "a=1, b=2", "timeout": "0s",
        }}))
        .unwrap()
        .otel;
        assert_eq!(otel.endpoint.unwrap().to_string(), "https://otel:4317/");
        assert_eq!((otel.protocol, otel.timeout), (Protocol::Grpc, None));
        assert_eq!(otel.headers.len(), 2);
    }

    #[test]
    fn a_wrong_value_is_an_error_that_says_what_is_accepted() {
        let otel = |fields: Value| json!({"otel": fields});
        let header = |fields: Value| otel(json!({"headers": [fields]}));
        for (section, expected) in [
            (
                json!({"samplingRate": "2"}),
                "\"spec.tracing.samplingRate\": \"2\" is not a number from 0 to 1",
            ),
            (
                json!({"samplingRate": "often"}),
                "\"spec.tracing.samplingRate\": \"often\" is not a number from 0 to 1",
            ),
            (
                json!({"samplingRate": "NaN"}),
                "\"spec.tracing.samplingRate\": \"NaN\" is not a number from 0 to 1",
            ),
            (
                json!({"zipkin": {"endpointAddress": "zipkin:9411"}}),
                "\"spec.tracing.zipkin.endpointAddress\": is not a URL; accepted are those of \
                 http and https, such as \"http://zipkin:9411/api/v2/spans\"",
            ),
            (
                otel(json!({"protocol": "http/json"})),
                "\"spec.tracing.otel.protocol\": \"http/json\" is no protocol; accepted are \
                 grpc, http",
            ),
            (
                otel(json!({"endpointAddress": "http://otel", "isSecure": true})),
                "\"spec.tracing.otel.endpointAddress\": begins with \"http://\", which isSecure \
                 contradicts; leave one of them out",
            ),
            (
                header(json!({"name": "a b", "value": "hunter2"})),
                "\"spec.tracing.otel.headers[0]\": the name is not one of a header",
            ),
            (
                header(json!({"name": "a", "value": "hunter2\n"})),
                "\"spec.tracing.otel.headers[0]\": the value of \"a\" cannot stand in a header",
            ),
            (
                header(json!({"name": "a"})),
                "\"spec.tracing.otel.headers[0]\": needs one of value and envRef",
            ),
            (
                header(json!({"name": "a", "secretKeyRef": {"name": "s"}})),
                "\"spec.tracing.otel.headers[0]\": secretKeyRef is not served here, since traces \
                 begin before secret stores run; accepted are value and envRef",
            ),
        ] {
            let error = parse(section).unwrap_err();
            assert_eq!(error, format!("(built in): field {expected}"));
        }
        let timeout = parse(otel(json!({"timeout": "3"}))).unwrap_err();
        assert!(timeout.contains("otel.timeout") && timeout.contains("not a duration"));
    }

    #[test]
    fn unknown_fields_name_the_nearest_known_one() {
        let section = json!({
            "samplingrate": 1,
            "otel": {"endpoint": "a", "headers": [{"nam": "a"}, "line"]},
        });
        let expected = [
            "(built in): unknown field spec.tracing.samplingrate; did you mean \"samplingRate\"?",
            "(built in): unknown field spec.tracing.otel.endpoint; did you mean \
             \"endpointAddress\"?",
            "(built in): unknown field spec.tracing.otel.headers[0].nam; did you mean \"name\"?",
        ];
        assert_eq!(unknown_fields(&Origin::BuiltIn, &section), expected);
    }
}
