//! The fields of a `Resiliency` as they are written.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::base::names::nearest;
use crate::resources::decode::Text;

#[derive(Deserialize)]
pub(super) struct Raw {
    pub(super) metadata: RawMetadata,
    #[serde(default)]
    pub(super) spec: RawSpec,
    #[serde(default)]
    pub(super) scopes: Vec<Text>,
}

#[derive(Deserialize)]
pub(super) struct RawMetadata {
    pub(super) name: Text,
    pub(super) namespace: Option<Text>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct RawSpec {
    pub(super) policies: RawPolicies,
    pub(super) targets: RawTargets,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct RawPolicies {
    pub(super) timeouts: BTreeMap<String, String>,
    pub(super) retries: BTreeMap<String, RawRetry>,
    pub(super) circuit_breakers: BTreeMap<String, RawCircuitBreaker>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct RawRetry {
    pub(super) policy: String,
    pub(super) duration: String,
    pub(super) max_interval: String,
    pub(super) max_retries: Option<i64>,
    pub(super) matching: RawMatching,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct RawMatching {
    #[serde(rename = "httpStatusCodes")]
    pub(super) http: Text,
    #[serde(rename = "gRPCStatusCodes")]
    pub(super) grpc: Text,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct RawCircuitBreaker {
    pub(super) max_requests: Option<i64>,
    pub(super) interval: String,
    pub(super) timeout: String,
    pub(super) trip: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct RawTargets {
    pub(super) apps: BTreeMap<String, RawNames>,
    pub(super) components: BTreeMap<String, RawComponent>,
    pub(super) actors: BTreeMap<String, RawNames>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct RawComponent {
    pub(super) outbound: RawNames,
    pub(super) inbound: RawNames,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct RawNames {
    pub(super) timeout: Text,
    pub(super) retry: Text,
    pub(super) circuit_breaker: Text,
    pub(super) circuit_breaker_cache_size: Option<i64>,
}

/// What a part of the document may hold.
enum Shape {
    /// Whatever its type says.
    Leaf,
    /// These fields.
    Fields(&'static [(&'static str, &'static Shape)]),
    /// The same under any name.
    Named(&'static Shape),
}

use Shape::{Fields, Leaf, Named};

const DOCUMENT: Shape = Fields(&[
    ("apiVersion", &Leaf),
    ("kind", &Leaf),
    ("metadata", &Leaf),
    (
        "spec",
        &Fields(&[("policies", &POLICIES), ("targets", &TARGETS)]),
    ),
    ("scopes", &Leaf),
]);
const POLICIES: Shape = Fields(&[
    ("timeouts", &Leaf),
    ("retries", &Named(&RETRY)),
    ("circuitBreakers", &Named(&CIRCUIT_BREAKER)),
]);
const RETRY: Shape = Fields(&[
    ("policy", &Leaf),
    ("duration", &Leaf),
    ("maxInterval", &Leaf),
    ("maxRetries", &Leaf),
    (
        "matching",
        &Fields(&[("httpStatusCodes", &Leaf), ("gRPCStatusCodes", &Leaf)]),
    ),
]);
const CIRCUIT_BREAKER: Shape = Fields(&[
    ("maxRequests", &Leaf),
    ("interval", &Leaf),
    ("timeout", &Leaf),
    ("trip", &Leaf),
]);
const TARGETS: Shape = Fields(&[
    ("apps", &Named(&APP)),
    ("components", &Named(&COMPONENT)),
    ("actors", &Named(&ACTOR)),
]);
const APP: Shape = Fields(&[
    ("timeout", &Leaf),
    ("retry", &Leaf),
    ("circuitBreaker", &Leaf),
    ("circuitBreakerCacheSize", &Leaf),
]);
const COMPONENT: Shape = Fields(&[("outbound", &NAMES), ("inbound", &NAMES)]);
const NAMES: Shape = Fields(&[
    ("timeout", &Leaf),
    ("retry", &Leaf),
    ("circuitBreaker", &Leaf),
]);
const ACTOR: Shape = Fields(&[
    ("timeout", &Leaf),
    ("retry", &Leaf),
    ("circuitBreaker", &Leaf),
    ("circuitBreakerScope", &Leaf),
    ("circuitBreakerCacheSize", &Leaf),
]);

/// The path of a field that no `Resiliency` has, with what is accepted in its place.
pub(super) fn unknown_field(document: &Value) -> Option<(String, String)> {
    unknown_in(document, &DOCUMENT, "")
}

fn unknown_in(value: &Value, shape: &Shape, path: &str) -> Option<(String, String)> {
    let mut fields = value.as_object()?.iter();
    fields.find_map(|(name, value)| {
        let path = match path {
            "" => name.clone(),
            _ => format!("{path}.{name}"),
        };
        match shape {
            Leaf => None,
            Named(inner) => unknown_in(value, inner, &path),
            Fields(known) => match known.iter().find(|(field, _)| field == name) {
                Some((_, inner)) => unknown_in(value, inner, &path),
                None => Some((path, not_known(name, known))),
            },
        }
    })
}

fn not_known(name: &str, known: &[(&'static str, &Shape)]) -> String {
    let names = known.iter().map(|(field, _)| *field);
    let hint = nearest(name, names.clone())
        .map(|near| format!("; did you mean {near:?}?"))
        .unwrap_or_default();
    let names: Vec<_> = names.map(|field| format!("{field:?}")).collect();
    format!("is not known; accepted are {}{hint}", names.join(", "))
}
