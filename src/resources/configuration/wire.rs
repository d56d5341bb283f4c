//! The fields of a `Configuration` as they are written.
//!
//! A misspelt field in `secrets`, `api`, `accessControl` or a pipeline would leave something open,
//! so these take no others.
//! Everything else is read leniently.

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::access_control;
use super::name_resolution::NameResolutionFields;
use super::tracing::TracingFields;
use super::{ApiLogging, ApiRule, Configuration, Handler, Metrics, SecretScope};
use crate::resources::decode::Text;
use crate::resources::{Error, Origin};

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Spec {
    secrets: SecretsFields,
    api: ApiFields,
    pub(super) access_control: access_control::Fields,
    metric: Option<MetricsFields>,
    metrics: Option<MetricsFields>,
    logging: LoggingFields,
    components: ComponentsFields,
    features: Vec<FeatureFields>,
    pub(super) name_resolution: NameResolutionFields,
    tracing: TracingFields,
    http_pipeline: PipelineFields,
    app_http_pipeline: PipelineFields,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct SecretsFields {
    scopes: Vec<ScopeFields>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ScopeFields {
    store_name: Text,
    #[serde(default)]
    default_access: DefaultAccess,
    #[serde(default)]
    allowed_secrets: Vec<Text>,
    #[serde(default)]
    denied_secrets: Vec<Text>,
}

#[derive(Default, Deserialize)]
#[serde(try_from = "Text")]
struct DefaultAccess {
    deny: bool,
}

impl TryFrom<Text> for DefaultAccess {
    type Error = String;

    fn try_from(Text(text): Text) -> Result<Self, String> {
        match text.to_ascii_lowercase().as_str() {
            "deny" => Ok(Self { deny: true }),
            "" | "allow" => Ok(Self { deny: false }),
            _ => Err(format!("defaultAccess {text} can be either allow or deny")),
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ApiFields {
    allowed: Vec<ApiRuleFields>,
    denied: Vec<ApiRuleFields>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ApiRuleFields {
    name: Text,
    #[serde(default)]
    version: Text,
    #[serde(default)]
    protocol: Text,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct MetricsFields {
    enabled: Option<bool>,
    record_error_codes: Option<bool>,
    latency_distribution_buckets: Option<Vec<f64>>,
    http: HttpMetricsFields,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct HttpMetricsFields {
    increased_cardinality: Option<bool>,
    exclude_verbs: bool,
    path_matching: Vec<Text>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct LoggingFields {
    api_logging: ApiLoggingFields,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ApiLoggingFields {
    enabled: Option<bool>,
    #[serde(rename = "obfuscateURLs")]
    obfuscate_urls: bool,
    omit_health_checks: bool,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ComponentsFields {
    deny: Vec<Text>,
}

#[derive(Deserialize)]
struct FeatureFields {
    name: Text,
    #[serde(default)]
    enabled: bool,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct PipelineFields {
    handlers: Vec<HandlerFields>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HandlerFields {
    name: Named,
    #[serde(rename = "type")]
    handler_type: Named,
    #[serde(default)]
    version: Text,
    /// In the kind of Dapr, whose sidecar does not look at it: a handler sees every call.
    #[serde(default, rename = "selector")]
    _selector: Option<IgnoredAny>,
}

/// A text that is not empty.
#[derive(Deserialize)]
#[serde(try_from = "Text")]
struct Named(String);

impl TryFrom<Text> for Named {
    type Error = &'static str;

    fn try_from(Text(text): Text) -> Result<Self, &'static str> {
        if text.is_empty() {
            return Err("it is empty");
        }
        Ok(Self(text))
    }
}

impl Spec {
    /// The values with their types. `origin` is the document that an error names.
    pub(super) fn into_configuration(self, origin: &Origin) -> Result<Configuration, Error> {
        let logging = self.logging.api_logging;
        let access_control = self.access_control.into_access_control();
        let access_control = access_control.map_err(|(field, problem)| Error::Field {
            origin: origin.clone(),
            field: format!("spec.accessControl.{field}"),
            problem,
        })?;
        Ok(Configuration {
            access_control,
            tracing: self.tracing.parse(origin)?,
            secret_scopes: self.secrets.scopes.into_iter().map(Into::into).collect(),
            allowed_apis: self.api.allowed.into_iter().map(Into::into).collect(),
            denied_apis: self.api.denied.into_iter().map(Into::into).collect(),
            // `metric` is the older name of `metrics`.
            metrics: self.metrics.or(self.metric).unwrap_or_default().into(),
            api_logging: ApiLogging {
                enabled: logging.enabled,
                obfuscate_urls: logging.obfuscate_urls,
                omit_health_checks: logging.omit_health_checks,
            },
            denied_components: texts(self.components.deny),
            features: self
                .features
                .into_iter()
                .map(|feature| (feature.name.0, feature.enabled))
                .collect(),
            name_resolution: None,
            http_pipeline: self.http_pipeline.into(),
            app_http_pipeline: self.app_http_pipeline.into(),
        })
    }
}

fn texts(list: Vec<Text>) -> Vec<String> {
    list.into_iter().map(|text| text.0).collect()
}

impl From<PipelineFields> for Vec<Handler> {
    fn from(raw: PipelineFields) -> Self {
        let handler = |handler: HandlerFields| Handler {
            name: handler.name.0,
            handler_type: handler.handler_type.0,
            version: handler.version.0,
        };
        raw.handlers.into_iter().map(handler).collect()
    }
}

impl From<ScopeFields> for SecretScope {
    fn from(raw: ScopeFields) -> Self {
        Self {
            store: raw.store_name.0,
            deny_by_default: raw.default_access.deny,
            allowed: texts(raw.allowed_secrets),
            denied: texts(raw.denied_secrets),
        }
    }
}

impl From<ApiRuleFields> for ApiRule {
    fn from(raw: ApiRuleFields) -> Self {
        Self {
            name: raw.name.0,
            version: raw.version.0,
            protocol: raw.protocol.0,
        }
    }
}

impl From<MetricsFields> for Metrics {
    fn from(raw: MetricsFields) -> Self {
        Self {
            enabled: raw.enabled.unwrap_or(true),
            latency_buckets_ms: raw.latency_distribution_buckets,
            increased_cardinality: raw.http.increased_cardinality,
            exclude_verbs: raw.http.exclude_verbs,
            path_matching: texts(raw.http.path_matching),
            record_error_codes: raw.record_error_codes.unwrap_or_default(),
        }
    }
}
