//! What the rest of the sidecar takes from the registry of resources.

use std::sync::Arc;
use std::time::SystemTime;

use tracing::warn;

use super::config::Config;
use crate::api::Door;
use crate::api::access::{Access, Rule};
use crate::api::call_log::CallLog;
use crate::blocks::metadata::{Facts, Live, LoadedComponent, Metadata};
use crate::blocks::state::State;
use crate::blocks::subscriptions::supervisor::Current;
use crate::process::trace::Tracer;
use crate::registry::Registry;
use crate::registry::snapshot::{FailedComponent, NamedEndpoint};
use crate::resources::configuration::{ApiRule, Configuration};

/// Said in the log and in the metadata: whoever reaches a port of the API can read the secrets.
const NO_TOKEN: &str = "secret stores can be read without an API token: set DAPR_API_TOKEN";

/// The rules at the door, from flags and the Configuration.
///
/// # Errors
///
/// API rules that are not known: a typing error must not open what it should close.
pub(super) fn door(
    config: &Config,
    configuration: &Configuration,
    tracer: Tracer,
) -> anyhow::Result<Door> {
    let rules = |rules: &[ApiRule]| -> Vec<Rule> { rules.iter().map(rule).collect() };
    let allowed = rules(&configuration.allowed_apis);
    let access = Access::parse(&allowed, &rules(&configuration.denied_apis));
    let access = access.map_err(|errors| {
        let lines: Vec<_> = errors.iter().map(ToString::to_string).collect();
        anyhow::Error::msg(lines.join("\n"))
    })?;
    let logging = configuration.api_logging;
    let is_logged = config.api_logging.or(logging.enabled).unwrap_or(false);
    Ok(Door {
        tokens: config.tokens.clone(),
        access,
        max_body: config.max_body,
        call_log: is_logged.then_some(CallLog {
            obfuscate_urls: logging.obfuscate_urls,
            omit_health_checks: logging.omit_health_checks,
        }),
        counts_error_codes: configuration.metrics.record_error_codes,
        tracer,
    })
}

/// The state of the app.
pub(super) fn app_state(config: &Config, registry: &Arc<Registry>) -> Arc<State> {
    let own = &config.registry;
    let namespace = own.namespace.as_deref().unwrap_or_default();
    Arc::new(State::new(Arc::clone(registry), &own.app_id, namespace))
}

/// Says so where secrets can be read without a token.
pub(super) fn warn_if_open(registry: &Registry, door: &Door) {
    if registry.snapshot().has_secret_stores() && !door.tokens.are_required() {
        warn!("{NO_TOKEN}");
    }
}

fn rule(rule: &ApiRule) -> Rule {
    Rule {
        name: rule.name.clone(),
        version: rule.version.clone(),
        protocol: rule.protocol.clone(),
    }
}

/// What the metadata API tells of this sidecar.
pub(super) fn metadata(
    config: &Config,
    registry: Arc<Registry>,
    subscriptions: Current,
) -> Metadata {
    let snapshot = registry.snapshot();
    let features = snapshot.configuration.features.iter();
    let facts = Facts {
        app_id: config.registry.app_id.clone(),
        features: features
            .filter(|(_, is_on)| **is_on)
            .map(|(name, _)| name.clone())
            .collect(),
        app: config.app.connection(),
    };
    let has_token = config.tokens.are_required();
    Metadata::new(facts, move || Live {
        subscriptions: subscriptions.views(),
        ..live(&registry, has_token)
    })
}

fn live(registry: &Registry, has_token: bool) -> Live {
    let now = registry.snapshot();
    let component = |loaded: &crate::registry::snapshot::LoadedComponent| LoadedComponent {
        name: loaded.name.clone(),
        kind: loaded.component_type.clone(),
        version: loaded.version.clone(),
        capabilities: loaded
            .capabilities
            .iter()
            .copied()
            .map(str::to_owned)
            .collect(),
    };
    let is_open = now.has_secret_stores() && !has_token;
    let down = |(name, since): (&str, SystemTime)| {
        format!("{name} since {}", httpdate::fmt_http_date(since))
    };
    Live {
        subscriptions: Vec::new(),
        stores_down: now.stores_down().into_iter().map(down).collect(),
        components: now.components.iter().map(component).collect(),
        http_endpoints: now
            .endpoints
            .iter()
            .filter(|(_, endpoint)| endpoint.running.is_some())
            .map(|(name, _)| name.clone())
            .collect(),
        resiliencies: now.resiliency.names(),
        failed: now
            .failed
            .iter()
            .map(failed)
            .chain(now.endpoints.iter().filter_map(failed_endpoint))
            .collect(),
        warnings: is_open.then(|| NO_TOKEN.to_owned()).into_iter().collect(),
    }
}

fn failed(component: &FailedComponent) -> String {
    let FailedComponent {
        name,
        component_type,
        version,
        reason,
        keeps_running,
    } = component;
    let state = state(*keeps_running);
    format!("{name} ({component_type}/{version}): {reason}{state}")
}

fn failed_endpoint((name, endpoint): (&String, &NamedEndpoint)) -> Option<String> {
    let reason = endpoint.failure.as_ref()?;
    let state = state(endpoint.running.is_some());
    Some(format!("{name} (HTTPEndpoint): {reason}{state}"))
}

fn state(keeps_running: bool) -> &'static str {
    if keeps_running {
        " (an earlier version of it runs)"
    } else {
        ""
    }
}
