//! What the Configuration and the environment say of traces, put together.
//!
//! The variables are those of OpenTelemetry's specification. As in Dapr, an address in the
//! Configuration goes before all that they say of the address, and one in the environment alone
//! turns tracing on.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use http::{HeaderName, HeaderValue, Uri};
use percent_encoding::percent_decode_str;

use super::config::Config;
use crate::base::environment::{Environment, is_reserved};
use crate::base::truthy;
use crate::process::tasks::Tasks;
use crate::process::trace::endpoint::{self, Protocol};
use crate::process::trace::{Otlp, Settings, Tracer};
use crate::resources::configuration::tracing::{Header, HeaderText, Otel, Tracing};
use crate::tls::client::{Trust, client_config};

/// The part of new traces that is recorded without a setting (Dapr 1.18).
const DEFAULT_RATE: f64 = 1e-4;
/// How long a request to a collector may take without a setting (OpenTelemetry).
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// The tracer of the sidecar, with its tasks.
///
/// # Errors
///
/// A variable that cannot be used, or no CA certificates for a collector over TLS.
pub(super) fn start(
    config: &Config,
    tracing: &Tracing,
    tasks: &mut Tasks,
) -> anyhow::Result<Tracer> {
    let own = &config.registry;
    let environment = &own.environment;
    let (otlp, rate) = match &tracing.otel.endpoint {
        Some(endpoint) => (
            Some((endpoint.clone(), tracing.otel.protocol)),
            DEFAULT_RATE,
        ),
        // Who sets the variable wants to see traces.
        None => (endpoint_of(environment)?, 1.0),
    };
    let rate = if otlp.is_some() { rate } else { DEFAULT_RATE };
    let otlp = otlp.map(|found| collector(found, &tracing.otel, environment));
    let service = environment.non_empty("OTEL_SERVICE_NAME");
    let settings = Settings {
        service: service.unwrap_or(&own.app_id).to_owned(),
        rate: tracing.sampling_rate.unwrap_or(rate),
        stdout: tracing.stdout,
        zipkin: tracing.zipkin.clone(),
        otlp: otlp.transpose()?,
        drain: config.grace,
    };
    let tls = settings
        .needs_tls()
        .then(|| client_config(&Trust::default()));
    let tls = tls
        .transpose()
        .context("no TLS to the collector of traces")?;
    Ok(Tracer::start(&settings, tls.map(Arc::new), tasks))
}

fn collector(
    (endpoint, protocol): (Uri, Protocol),
    otel: &Otel,
    environment: &Environment,
) -> anyhow::Result<Otlp> {
    let headers = if otel.headers.is_empty() {
        headers_of(environment)?
    } else {
        let read = |header| header_value(header, environment);
        otel.headers.iter().map(read).collect::<Result<_, _>>()?
    };
    let timeout = match otel.timeout {
        Some(timeout) => timeout,
        None => timeout_of(environment)?.unwrap_or(DEFAULT_TIMEOUT),
    };
    Ok(Otlp {
        endpoint,
        protocol,
        headers,
        timeout,
    })
}

fn header_value(
    header: &Header,
    environment: &Environment,
) -> anyhow::Result<(HeaderName, HeaderValue)> {
    let text = match &header.value {
        HeaderText::Literal(value) => value.expose(),
        HeaderText::Variable(variable) if is_reserved(variable) => {
            bail!(
                "tracing header {:?}: {variable:?} is the sidecar's own",
                header.name.as_str()
            )
        }
        HeaderText::Variable(variable) => environment.value(variable).with_context(|| {
            format!(
                "tracing header {:?}: {variable:?} is not set",
                header.name.as_str()
            )
        })?,
    };
    let value = sensitive(text);
    let value = value.with_context(|| format!("tracing header {:?}", header.name.as_str()))?;
    Ok((header.name.clone(), value))
}

/// A value that is shown nowhere. An error tells nothing of it.
fn sensitive(text: &str) -> anyhow::Result<HeaderValue> {
    let value = HeaderValue::try_from(text);
    let mut value = value.map_err(|_| anyhow!("the value cannot stand in a header"))?;
    value.set_sensitive(true);
    Ok(value)
}

/// A variable of traces alone goes before that of all signals.
fn variable<'e>(environment: &'e Environment, rest: &str) -> Option<(String, &'e str)> {
    ["OTEL_EXPORTER_OTLP_TRACES_", "OTEL_EXPORTER_OTLP_"]
        .iter()
        .map(|start| format!("{start}{rest}"))
        .find_map(|name| {
            environment
                .non_empty(&name)
                .map(|value| (name.clone(), value))
        })
}

fn endpoint_of(environment: &Environment) -> anyhow::Result<Option<(Uri, Protocol)>> {
    let Some((name, address)) = variable(environment, "ENDPOINT") else {
        return Ok(None);
    };
    let protocol = protocol_of(environment)?;
    let is_insecure = variable(environment, "INSECURE");
    // The scheme of an address goes first, as OpenTelemetry has it.
    let is_secure = is_insecure
        .filter(|_| !address.contains("://"))
        .map(|(_, value)| !truthy::is_truthy(value));
    let uri = endpoint::otlp(address, protocol, is_secure);
    let uri = uri.map_err(|error| anyhow!("{name} {error}"))?;
    Ok(Some((uri, protocol)))
}

/// `http/json` is spoken as protobuf, as in Dapr: collectors take both on one port.
fn protocol_of(environment: &Environment) -> anyhow::Result<Protocol> {
    match variable(environment, "PROTOCOL") {
        None => Ok(Protocol::Grpc),
        Some((_, "grpc")) => Ok(Protocol::Grpc),
        Some((_, "http" | "http/protobuf" | "http/json")) => Ok(Protocol::Http),
        Some((name, other)) => {
            bail!("{name}: {other:?} is no protocol; accepted are grpc, http/protobuf, http/json")
        }
    }
}

/// `name=value,name=value`, with percent escapes in values.
fn headers_of(environment: &Environment) -> anyhow::Result<Vec<(HeaderName, HeaderValue)>> {
    let Some((variable, list)) = variable(environment, "HEADERS") else {
        return Ok(Vec::new());
    };
    let members = list.split(',').filter(|member| !member.trim().is_empty());
    members
        .enumerate()
        .map(|(at, member)| {
            let place = || format!("{variable}, header {}", at + 1);
            let pair = member.split_once('=');
            let (name, value) = pair.with_context(|| format!("{}: is not name=value", place()))?;
            let name = HeaderName::try_from(name.trim());
            let name = name.map_err(|_| anyhow!("{}: the name is not one of a header", place()))?;
            let value = percent_decode_str(value.trim()).decode_utf8();
            let value = value.map_err(|_| anyhow!("{}: the value is no text", place()))?;
            Ok((name, sensitive(&value).with_context(place)?))
        })
        .collect()
}

/// Milliseconds.
fn timeout_of(environment: &Environment) -> anyhow::Result<Option<Duration>> {
    let Some((name, text)) = variable(environment, "TIMEOUT") else {
        return Ok(None);
    };
    let millis = text.trim().parse().ok().filter(|millis| *millis > 0);
    let millis = millis
        .with_context(|| format!("{name}: {text:?} is not a number of milliseconds above 0"))?;
    Ok(Some(Duration::from_millis(millis)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::secret::Secret;

    fn environment(pairs: &[(&str, &str)]) -> Environment {
        Environment::from_iter(pairs.iter().copied())
    }

    #[test]
    fn a_variable_of_traces_goes_before_that_of_all_signals() {
        let all = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://all:4317");
        let traces = (
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
            "http://traces:4318/v1/traces",
        );
        let protocol = ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf");
        for (pairs, expected) in [
            (&[all][..], Some(("http://all:4317/", Protocol::Grpc))),
            (
                &[all, protocol],
                Some(("http://all:4317/v1/traces", Protocol::Http)),
            ),
            (
                &[all, traces, protocol],
                Some(("http://traces:4318/v1/traces", Protocol::Http)),
            ),
            (&[protocol], None),
        ] {
            let found = endpoint_of(&environment(pairs)).unwrap();
            let found = found.map(|(uri, protocol)| (uri.to_string(), protocol));
            let expected = expected.map(|(uri, protocol)| (uri.to_owned(), protocol));
            assert_eq!(found, expected, "{pairs:?}");
        }
    }

    #[test]
    fn insecure_counts_where_the_address_has_no_scheme() {
        let insecure = ("OTEL_EXPORTER_OTLP_INSECURE", "true");
        for (address, expected) in [
            ("otel:4317", "http://otel:4317/"),
            ("https://otel:4317", "https://otel:4317/"),
        ] {
            let pairs = [("OTEL_EXPORTER_OTLP_ENDPOINT", address), insecure];
            let (uri, _) = endpoint_of(&environment(&pairs)).unwrap().unwrap();
            assert_eq!(uri.to_string(), expected);
        }
    }

    #[test]
    fn headers_of_the_configuration_go_before_those_of_the_environment() {
        let environment = environment(&[
            ("OTEL_EXPORTER_OTLP_HEADERS", "a=b%20c, D=e=f"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "1500"),
            ("KEY", "hunter2"),
        ]);
        let endpoint = || (Uri::from_static("http://otel:4317/"), Protocol::Grpc);
        let of = |otel: &Otel| collector(endpoint(), otel, &environment).unwrap();
        let found = of(&Otel::default());
        assert_eq!(found.timeout, Duration::from_millis(1500));
        let texts = |otlp: &Otlp| -> Vec<(String, String)> {
            let headers = otlp.headers.iter();
            let text = |value: &HeaderValue| value.to_str().unwrap().to_owned();
            headers
                .map(|(name, value)| (name.to_string(), text(value)))
                .collect()
        };
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(texts(&found), [pair("a", "b c"), pair("d", "e=f")]);
        let header = |name, value| Header {
            name: HeaderName::from_static(name),
            value,
        };
        let otel = Otel {
            headers: vec![
                header("x", HeaderText::Literal(Secret::new("y"))),
                header("z", HeaderText::Variable("KEY".to_owned())),
            ],
            timeout: Some(Duration::from_secs(2)),
            ..Otel::default()
        };
        let found = of(&otel);
        assert_eq!(texts(&found), [pair("x", "y"), pair("z", "hunter2")]);
        assert_eq!(found.timeout, Duration::from_secs(2));
        assert!(!format!("{found:?}").contains("hunter2"));
    }

    #[test]
    fn what_cannot_be_used_names_its_variable_and_no_value_of_a_header() {
        let told = |error: anyhow::Error| format!("{error:#}");
        let address = ("OTEL_EXPORTER_OTLP_ENDPOINT", "ftp://otel");
        assert_eq!(
            told(endpoint_of(&environment(&[address])).unwrap_err()),
            "OTEL_EXPORTER_OTLP_ENDPOINT has the scheme \"ftp\"; accepted are http and https"
        );
        let protocol = ("OTEL_EXPORTER_OTLP_PROTOCOL", "udp");
        assert_eq!(
            told(protocol_of(&environment(&[protocol])).unwrap_err()),
            "OTEL_EXPORTER_OTLP_PROTOCOL: \"udp\" is no protocol; accepted are grpc, \
             http/protobuf, http/json"
        );
        for (list, problem) in [
            ("hunter2", "is not name=value"),
            ("a b=hunter2", "the name is not one of a header"),
            ("a=hunter2%0A", "the value cannot stand in a header"),
            ("a=hunter2%ff", "the value is no text"),
        ] {
            let list = ("OTEL_EXPORTER_OTLP_HEADERS", list);
            assert_eq!(
                told(headers_of(&environment(&[list])).unwrap_err()),
                format!("OTEL_EXPORTER_OTLP_HEADERS, header 1: {problem}")
            );
        }
        for text in ["0", "-1", "1s"] {
            let timeout = ("OTEL_EXPORTER_OTLP_TIMEOUT", text);
            assert_eq!(
                told(timeout_of(&environment(&[timeout])).unwrap_err()),
                format!(
                    "OTEL_EXPORTER_OTLP_TIMEOUT: {text:?} is not a number of milliseconds above 0"
                )
            );
        }
    }

    #[test]
    fn no_token_of_the_sidecar_becomes_a_header() {
        let environment = environment(&[("DAPR_API_TOKEN", "hunter2")]);
        let value_of = |variable: &str| {
            let header = Header {
                name: HeaderName::from_static("x"),
                value: HeaderText::Variable(variable.to_owned()),
            };
            header_value(&header, &environment).unwrap_err().to_string()
        };
        assert_eq!(
            value_of("DAPR_API_TOKEN"),
            "tracing header \"x\": \"DAPR_API_TOKEN\" is the sidecar's own"
        );
        assert_eq!(
            value_of("NONE"),
            "tracing header \"x\": \"NONE\" is not set"
        );
    }
}
