//! `GET /v1.0/metadata` and `PUT /v1.0/metadata/{key}`.

use std::collections::BTreeMap;

use axum::body::Body;
use serde::Serialize;

use crate::blocks::error::Error;
use crate::blocks::metadata::{
    AppConnection, AppHealth, DAPR_VERSION, LoadedComponent, Metadata, Subscription,
};

use super::answer::{self, Answer};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct View<'a> {
    id: &'a str,
    runtime_version: &'static str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    enabled_features: &'a [String],
    #[serde(skip_serializing_if = "Vec::is_empty")]
    components: Vec<ComponentView<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    subscriptions: Vec<SubscriptionView<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    http_endpoints: Vec<EndpointView<'a>>,
    extended: &'a BTreeMap<String, String>,
    app_connection_properties: AppView<'a>,
    actor_runtime: ActorView,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    resiliencies: Vec<NameView<'a>>,
}

/// A resource of which only the name is told.
#[derive(Serialize)]
struct NameView<'a> {
    name: &'a str,
}

#[derive(Serialize)]
struct ComponentView<'a> {
    name: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    version: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    capabilities: &'a [String],
}

#[derive(Serialize)]
struct SubscriptionView<'a> {
    pubsubname: &'a str,
    topic: &'a str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    metadata: &'a BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    rules: Vec<RuleView<'a>>,
    #[serde(rename = "deadLetterTopic")]
    dead_letter_topic: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
}

#[derive(Serialize)]
struct RuleView<'a> {
    #[serde(rename = "match", skip_serializing_if = "str::is_empty")]
    expression: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    path: &'a str,
}

#[derive(Serialize)]
struct EndpointView<'a> {
    name: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AppView<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<u16>,
    #[serde(skip_serializing_if = "str::is_empty")]
    protocol: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    channel_address: &'a str,
    #[serde(skip_serializing_if = "is_zero")]
    max_concurrency: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    health: Option<HealthView<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct HealthView<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    health_check_path: Option<&'a str>,
    health_probe_interval: &'a str,
    health_probe_timeout: &'a str,
    health_threshold: u32,
}

/// This build has no actors; Dapr always tells of their runtime.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ActorView {
    runtime_status: &'static str,
    host_ready: bool,
    placement: &'static str,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the signature that serde wants"
)]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// 200 with what the sidecar says of itself.
pub(super) fn get(metadata: &Metadata) -> Answer {
    let now = metadata.snapshot();
    answer::json(&View {
        id: &now.facts.app_id,
        runtime_version: DAPR_VERSION,
        enabled_features: &now.facts.features,
        components: now.components.iter().map(component).collect(),
        subscriptions: now.subscriptions.iter().map(subscription).collect(),
        http_endpoints: now
            .http_endpoints
            .iter()
            .map(|name| EndpointView { name })
            .collect(),
        extended: &now.extended,
        app_connection_properties: app(&now.facts.app),
        actor_runtime: ActorView {
            runtime_status: "DISABLED",
            host_ready: false,
            placement: "placement: disconnected",
        },
        resiliencies: now
            .resiliencies
            .iter()
            .map(|name| NameView { name })
            .collect(),
    })
}

/// 204 after adding an entry. The body is the value as it is; what is no UTF-8 is replaced.
pub(super) async fn set(
    metadata: &Metadata,
    key: &str,
    body: Body,
    max_body: usize,
) -> Result<Answer, Error> {
    let value = answer::read(body, max_body).await?;
    metadata.set(key, &String::from_utf8_lossy(&value))?;
    Ok(answer::no_content())
}

fn component(component: &LoadedComponent) -> ComponentView<'_> {
    ComponentView {
        name: &component.name,
        kind: &component.kind,
        version: &component.version,
        capabilities: &component.capabilities,
    }
}

fn subscription(subscription: &Subscription) -> SubscriptionView<'_> {
    let rules = subscription.rules.iter();
    let rules = rules.map(|(expression, path)| RuleView { expression, path });
    SubscriptionView {
        pubsubname: &subscription.pubsub,
        topic: &subscription.topic,
        metadata: &subscription.metadata,
        rules: rules.collect(),
        dead_letter_topic: &subscription.dead_letter_topic,
        kind: subscription.kind,
    }
}

fn app(app: &AppConnection) -> AppView<'_> {
    AppView {
        port: app.port,
        protocol: &app.protocol,
        channel_address: &app.channel_address,
        max_concurrency: app.max_concurrency,
        health: app.health.as_ref().map(health),
    }
}

fn health(health: &AppHealth) -> HealthView<'_> {
    HealthView {
        health_check_path: health.path.as_deref(),
        health_probe_interval: &health.interval,
        health_probe_timeout: &health.timeout,
        health_threshold: health.threshold,
    }
}
