//! The configuration of a sidecar: what its `Configuration` documents say, put together.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use self::tracing::Tracing;
use super::decode::{Document, typed};
use super::{Error, Origin};
use crate::base::names::nearest;
use access_control::AccessControl;
use name_resolution::NameResolution;
use wire::Spec;

pub mod access_control;
pub mod name_resolution;
pub mod tracing;
mod wire;

/// The sections of a `Configuration` that have an effect.
const SERVED: [&str; 12] = [
    "accessControl",
    "api",
    "appHttpPipeline",
    "components",
    "features",
    "httpPipeline",
    "logging",
    "metric",
    "metrics",
    "nameResolution",
    "secrets",
    "tracing",
];
/// Sections that daprd 1.18 knows and this build reads without effect.
const WITHOUT_EFFECT: [&str; 3] = ["mtls", "wasm", "workflow"];

/// What the configuration files say together.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Configuration {
    /// Who may read which secret.
    pub secret_scopes: Vec<SecretScope>,
    /// Which apps may call the own app, where that is limited.
    pub access_control: Option<AccessControl>,
    /// APIs that are served; empty means all.
    pub allowed_apis: Vec<ApiRule>,
    /// APIs that are not served, whatever is allowed.
    pub denied_apis: Vec<ApiRule>,
    /// The metrics.
    pub metrics: Metrics,
    /// The log of API calls.
    pub api_logging: ApiLogging,
    /// Component types (`type` or `type/version`) that are never loaded.
    pub denied_components: Vec<String>,
    /// Features switched on or off, the last word on each.
    pub features: BTreeMap<String, bool>,
    /// How the addresses of other sidecars are found, where it is said.
    pub name_resolution: Option<NameResolution>,
    /// The traces of calls.
    pub tracing: Tracing,
    /// The middlewares of calls of the HTTP API, in their order.
    pub http_pipeline: Vec<Handler>,
    /// The middlewares of calls to the app over HTTP, in their order.
    pub app_http_pipeline: Vec<Handler>,
}

/// A middleware in a pipeline.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Handler {
    /// The name of its component.
    pub name: String,
    /// The type that the component has to have, such as `middleware.http.bearer`.
    pub handler_type: String,
    /// The version that the component has to have, such as `v1`, or empty.
    pub version: String,
}

/// The scopes of one secret store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SecretScope {
    /// The name of the store.
    pub store: String,
    /// Whether secrets that are not listed are denied.
    pub deny_by_default: bool,
    /// Where not empty, only these secrets are allowed.
    pub allowed: Vec<String>,
    /// These secrets are denied.
    pub denied: Vec<String>,
}

/// One rule on an API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiRule {
    /// The group, such as `secrets`.
    pub name: String,
    /// The version as written, such as `v1` or `v1.0-alpha1`.
    pub version: String,
    /// The protocol as written: `http` or `grpc`.
    pub protocol: String,
}

/// The settings of the metrics.
#[derive(Clone, Debug, PartialEq)]
pub struct Metrics {
    /// Whether there are any.
    pub enabled: bool,
    /// The buckets of latencies in milliseconds, where given.
    pub latency_buckets_ms: Option<Vec<f64>>,
    /// Whether HTTP metrics have the path as a label, where given.
    pub increased_cardinality: Option<bool>,
    /// Whether HTTP metrics leave out the method.
    pub exclude_verbs: bool,
    /// The paths that count as themselves; all others as one.
    pub path_matching: Vec<String>,
    /// Whether error codes are counted.
    pub record_error_codes: bool,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            enabled: true,
            latency_buckets_ms: None,
            increased_cardinality: None,
            exclude_verbs: false,
            path_matching: Vec::new(),
            record_error_codes: false,
        }
    }
}

/// The log of API calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ApiLogging {
    /// Whether calls are logged, where given (the flag `--enable-api-logging` goes first).
    pub enabled: Option<bool>,
    /// Whether the log shows the route in place of the path.
    pub obfuscate_urls: bool,
    /// Whether health calls are left out.
    pub omit_health_checks: bool,
}

/// Lists that restrict. Those of several documents add up, so that a later file cannot drop the
/// restrictions of an earlier one by accident.
const RESTRICTIONS: [&str; 5] = [
    "api.denied",
    "appHttpPipeline.handlers",
    "components.deny",
    "httpPipeline.handlers",
    "secrets.scopes",
];
/// A section whose fields belong together: a later one replaces it whole, unless it is empty.
const REPLACED_WHOLE: &str = "nameResolution";

/// Puts the documents together, in their order: objects but [`REPLACED_WHOLE`] are merged,
/// [`RESTRICTIONS`] and access control add up, and any other later value replaces the earlier one.
/// The second part of the answer are warnings.
pub(crate) fn merge(documents: Vec<Document>) -> Result<(Configuration, Vec<String>), Error> {
    let mut warnings = Vec::new();
    let mut together = Value::Null;
    let mut last = None;
    let mut access_control: Option<AccessControl> = None;
    for document in documents {
        let origin = document.origin;
        let spec = document.value.get("spec").cloned().unwrap_or_default();
        warnings.extend(section_warnings(&origin, &spec));
        warnings.extend(tracing::unknown_fields(&origin, &spec["tracing"]));
        let alone = read(&origin, spec.clone())?;
        refuse_repeated_stores(&origin, &alone.secret_scopes)?;
        access_control = match (access_control, alone.access_control) {
            (Some(one), Some(other)) => Some(one.and(other)),
            (one, other) => one.or(other),
        };
        overlay(&mut together, spec, "");
        last = Some(origin);
    }
    let Some(origin) = last else {
        return Ok((Configuration::default(), warnings));
    };
    let mut configuration = read(&origin, together)?;
    configuration.access_control = access_control;
    keep_last_scope_of_each_store(&mut configuration.secret_scopes);
    keep_first_of_each(&mut configuration.http_pipeline);
    keep_first_of_each(&mut configuration.app_http_pipeline);
    Ok((configuration, warnings))
}

fn overlay(base: &mut Value, over: Value, path: &str) {
    match (base, over) {
        (_, Value::Null) => {}
        (base, over) if path == REPLACED_WHOLE => {
            if !is_empty(&over) {
                *base = over;
            }
        }
        (Value::Object(base), Value::Object(over)) => {
            for (name, value) in over {
                let path = if path.is_empty() {
                    name.clone()
                } else {
                    format!("{path}.{name}")
                };
                overlay(base.entry(name).or_insert(Value::Null), value, &path);
            }
        }
        (Value::Array(base), Value::Array(over)) if RESTRICTIONS.contains(&path) => {
            base.extend(over);
        }
        (base, over) => *base = over,
    }
}

fn read(origin: &Origin, spec: Value) -> Result<Configuration, Error> {
    match &spec {
        Value::Null => return Ok(Configuration::default()),
        Value::Object(_) => {}
        _ => {
            return Err(Error::Field {
                origin: origin.clone(),
                field: "spec".to_owned(),
                problem: "is not a mapping".to_owned(),
            });
        }
    }
    let raw: Spec = typed(origin, spec).map_err(|error| match error {
        Error::Field {
            origin,
            field,
            problem,
        } => Error::Field {
            origin,
            field: format!("spec.{field}"),
            problem,
        },
        other => other,
    })?;
    let name_resolution =
        NameResolution::read(&raw.name_resolution).map_err(|(field, problem)| Error::Field {
            origin: origin.clone(),
            field: format!("spec.{field}"),
            problem,
        })?;
    Ok(Configuration {
        name_resolution,
        ..raw.into_configuration(origin)?
    })
}

fn refuse_repeated_stores(origin: &Origin, scopes: &[SecretScope]) -> Result<(), Error> {
    let mut seen = BTreeSet::new();
    for (at, scope) in scopes.iter().enumerate() {
        if !seen.insert(&scope.store) {
            return Err(Error::Field {
                origin: origin.clone(),
                field: format!("spec.secrets.scopes[{at}]"),
                problem: format!(
                    "{} storeName is repeated in secrets configuration",
                    scope.store
                ),
            });
        }
    }
    Ok(())
}

fn keep_last_scope_of_each_store(scopes: &mut Vec<SecretScope>) {
    let mut kept: BTreeMap<String, SecretScope> = BTreeMap::new();
    for scope in scopes.drain(..) {
        kept.insert(scope.store.clone(), scope);
    }
    scopes.extend(kept.into_values());
}

/// A document that repeats what an earlier one says does not make a middleware run twice.
fn keep_first_of_each(handlers: &mut Vec<Handler>) {
    let mut kept: Vec<Handler> = Vec::new();
    for handler in handlers.drain(..) {
        if !kept.contains(&handler) {
            kept.push(handler);
        }
    }
    *handlers = kept;
}

fn section_warnings(origin: &Origin, spec: &Value) -> Vec<String> {
    let sections = spec.as_object().into_iter().flatten();
    sections
        .filter_map(|(section, content)| {
            let name = section.as_str();
            if SERVED.contains(&name) || is_empty(content) {
                None
            } else if WITHOUT_EFFECT.contains(&name) {
                Some(format!("{origin}: spec.{name} has no effect in this build"))
            } else {
                let known = SERVED.iter().chain(&WITHOUT_EFFECT).copied();
                let hint = nearest(name, known)
                    .map(|near| format!("; did you mean {near:?}?"))
                    .unwrap_or_default();
                Some(format!("{origin}: unknown section {name:?} of spec{hint}"))
            }
        })
        .collect()
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(fields) => fields.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resources::decode::documents;
    use std::path::Path;

    fn read(specs: &[&str]) -> Result<(Configuration, Vec<String>), Error> {
        let documents = specs
            .iter()
            .flat_map(|spec| documents(Path::new("f.yaml"), &format!("spec: {spec}")))
            .collect::<Result<_, _>>()?;
        merge(documents)
    }

    #[test]
    fn reads_what_has_an_effect() {
        let (configuration, warnings) = read(&["{
            secrets: {scopes: [{storeName: s, defaultAccess: DENY, allowedSecrets: [a, 1]}]},
            api: {allowed: [{name: secrets, version: v1, protocol: http}]},
            metric: {enabled: false},
            metrics: {http: {pathMatching: [/a], excludeVerbs: true}, recordErrorCodes: true},
            logging: {apiLogging: {enabled: true, obfuscateURLs: true}},
            components: {deny: [state.redis]},
            features: [{name: A, enabled: true}, {name: B}],
            httpPipeline: {handlers: [
                {name: auth, type: middleware.http.bearer, version: v1},
                {name: 1, type: t, selector: {fields: [{field: f, value: v}]}},
            ]},
            appHttpPipeline: {handlers: []},
            tracing: {samplingRate: '0.1', otel: {endpointAddress: 'otel:4317'}},
        }"])
        .unwrap();
        assert_eq!(warnings, Vec::<String>::new());
        let scope = &configuration.secret_scopes[0];
        assert_eq!((scope.store.as_str(), scope.deny_by_default), ("s", true));
        assert_eq!(scope.allowed, ["a", "1"]);
        let rule = &configuration.allowed_apis[0];
        let rule = [&rule.name, &rule.version, &rule.protocol];
        assert_eq!(rule, ["secrets", "v1", "http"]);
        // `metrics` is there, so its older name does not count.
        assert!(configuration.metrics.enabled && configuration.metrics.record_error_codes);
        assert_eq!(configuration.metrics.path_matching, ["/a"]);
        let logging = configuration.api_logging;
        assert_eq!(
            (logging.enabled, logging.obfuscate_urls),
            (Some(true), true)
        );
        assert_eq!(configuration.denied_components, ["state.redis"]);
        assert_eq!(configuration.tracing.sampling_rate, Some(0.1));
        let handler = |name: &str, handler_type: &str, version: &str| Handler {
            name: name.to_owned(),
            handler_type: handler_type.to_owned(),
            version: version.to_owned(),
        };
        let handlers = [
            handler("auth", "middleware.http.bearer", "v1"),
            handler("1", "t", ""),
        ];
        assert_eq!(configuration.http_pipeline, handlers);
        assert_eq!(configuration.app_http_pipeline, []);
        let features = [("A".to_owned(), true), ("B".to_owned(), false)];
        assert!(configuration.features.into_iter().eq(features));
    }

    #[test]
    fn an_empty_configuration_has_daprs_defaults() {
        for spec in ["", "{}", "{metrics: }", "{secrets: {scopes: }}"] {
            let (configuration, _) = read(&[spec]).unwrap();
            assert_eq!(configuration, Configuration::default(), "{spec}");
            assert!(configuration.metrics.enabled);
        }
        assert_eq!(read(&[]).unwrap().0, Configuration::default());
    }

    #[test]
    fn later_documents_win_but_restrictions_add_up() {
        let (configuration, _) = read(&[
            "{metrics: {enabled: false, recordErrorCodes: true}, components: {deny: [a]},
              api: {allowed: [{name: a}], denied: [{name: b}]},
              httpPipeline: {handlers: [{name: a, type: t}, {name: b, type: t}]}}",
            "{metrics: {enabled: true}, components: {deny: [b]},
              api: {allowed: [{name: c}], denied: [{name: d}]},
              httpPipeline: {handlers: [{name: c, type: t}, {name: a, type: t}]}}",
            "{metrics: , components: {deny: }, api: , httpPipeline: {handlers: []}}",
        ])
        .unwrap();
        assert!(configuration.metrics.enabled && configuration.metrics.record_error_codes);
        assert_eq!(configuration.denied_components, ["a", "b"]);
        let handlers = configuration.http_pipeline.iter();
        let handlers: Vec<_> = handlers.map(|handler| handler.name.as_str()).collect();
        assert_eq!(handlers, ["a", "b", "c"]);
        let names = |rules: Vec<ApiRule>| rules.into_iter().map(|rule| rule.name).collect();
        let allowed: Vec<String> = names(configuration.allowed_apis);
        let denied: Vec<String> = names(configuration.denied_apis);
        assert_eq!(
            (allowed, denied),
            (vec!["c".into()], vec!["b".into(), "d".into()])
        );
    }

    #[test]
    fn a_later_name_resolver_replaces_an_earlier_one_with_its_settings() {
        let sqlite = "{nameResolution: {component: sqlite, configuration: {url: a.db}}}";
        let mdns = "{nameResolution: {component: mdns}}";
        let chosen = |specs: &[&str]| read(specs).unwrap().0.name_resolution;
        assert_eq!(chosen(&[sqlite, mdns]), Some(NameResolution::Mdns));
        for silent in ["{}", "{nameResolution: }", "{nameResolution: {}}"] {
            assert_eq!(chosen(&[mdns, silent]), Some(NameResolution::Mdns));
            assert_eq!(chosen(&[silent]), None);
        }
        let error = read(&["{nameResolution: {component: mdsn}}"]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "file \"f.yaml\", document 1: field \"spec.nameResolution.component\": \"mdsn\" is not \
             a name resolver; accepted are kubernetes, mdns, nameformat, sqlite, \
             structuredformat; did you mean \"mdns\"?"
        );
    }

    #[test]
    fn warns_about_sections_without_effect() {
        let (_, warnings) =
            read(&["{tracing: {otl: 1}, wasm: {a: 1}, mtls: {}, secret: {scopes: []}, foo: 1}"])
                .unwrap();
        assert_eq!(
            warnings,
            [
                "file \"f.yaml\", document 1: spec.wasm has no effect in this build",
                "file \"f.yaml\", document 1: unknown section \"secret\" of spec; did you mean \
                 \"secrets\"?",
                "file \"f.yaml\", document 1: unknown section \"foo\" of spec",
                "file \"f.yaml\", document 1: unknown field spec.tracing.otl; did you mean \
                 \"otel\"?",
            ]
        );
    }

    #[test]
    fn refuses_misspelt_restrictions() {
        for spec in [
            "{secrets: {scope: []}}",
            "{secrets: {scopes: [{storeName: s, deniedSecret: [a]}]}}",
            "{secrets: {scopes: [{defaultAccess: deny}]}}",
            "{api: {deny: []}}",
            "{api: {denied: [{nam: secrets}]}}",
            "{appHttpPipeline: {handlers: [{type: middleware.http.bearer}]}}",
            "{httpPipeline: {handlers: [{name: a}]}}",
            "{httpPipeline: {handlers: [{name: '', type: t}]}}",
            "{httpPipeline: {handlers: [{name: a, type: t, versoin: v1}]}}",
            "{httpPipeline: {handler: []}}",
            "{httpPipeline: [{name: a, type: t}]}",
            "[]",
            "text",
        ] {
            assert!(matches!(read(&[spec]), Err(Error::Field { .. })), "{spec}");
        }
    }
}
