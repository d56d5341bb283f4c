//! `GetMetadata` and `SetMetadata`.

use dapr::dapr::proto::runtime::v1 as proto;
use tonic::{Request, Response, Status};

use crate::blocks::metadata::{
    AppConnection, AppHealth, DAPR_VERSION, LoadedComponent, Metadata, Subscription,
};

use super::status;

/// What the sidecar says of itself.
pub(super) fn get(
    metadata: &Metadata,
    _request: &Request<proto::GetMetadataRequest>,
) -> Response<proto::GetMetadataResponse> {
    let now = metadata.snapshot();
    Response::new(proto::GetMetadataResponse {
        id: now.facts.app_id,
        registered_components: now.components.into_iter().map(component).collect(),
        subscriptions: now.subscriptions.into_iter().map(subscription).collect(),
        http_endpoints: now
            .http_endpoints
            .into_iter()
            .map(|name| proto::MetadataHttpEndpoint { name })
            .collect(),
        extended_metadata: now.extended.into_iter().collect(),
        app_connection_properties: Some(app(now.facts.app)),
        runtime_version: DAPR_VERSION.to_owned(),
        enabled_features: now.facts.features,
        actor_runtime: Some(proto::ActorRuntime {
            runtime_status: proto::actor_runtime::ActorRuntimeStatus::Disabled.into(),
            placement: "placement: disconnected".to_owned(),
            ..proto::ActorRuntime::default()
        }),
        ..proto::GetMetadataResponse::default()
    })
}

/// Adds an entry.
pub(super) fn set(
    metadata: &Metadata,
    request: Request<proto::SetMetadataRequest>,
) -> Result<Response<()>, Status> {
    let entry = request.into_inner();
    metadata
        .set(&entry.key, &entry.value)
        .map_err(|error| status::failure(&error))?;
    Ok(Response::new(()))
}

fn component(component: LoadedComponent) -> proto::RegisteredComponents {
    proto::RegisteredComponents {
        name: component.name,
        r#type: component.kind,
        version: component.version,
        capabilities: component.capabilities,
    }
}

fn subscription(subscription: Subscription) -> proto::PubsubSubscription {
    let kind = proto::PubsubSubscriptionType::from_str_name(subscription.kind);
    let rules = subscription.rules.into_iter();
    let rules = rules.map(|(r#match, path)| proto::PubsubSubscriptionRule { r#match, path });
    proto::PubsubSubscription {
        pubsub_name: subscription.pubsub,
        topic: subscription.topic,
        metadata: subscription.metadata.into_iter().collect(),
        rules: Some(proto::PubsubSubscriptionRules {
            rules: rules.collect(),
        }),
        dead_letter_topic: subscription.dead_letter_topic,
        r#type: kind.unwrap_or_default().into(),
    }
}

fn app(app: AppConnection) -> proto::AppConnectionProperties {
    proto::AppConnectionProperties {
        port: app.port.map_or(0, i32::from),
        protocol: app.protocol,
        channel_address: app.channel_address,
        max_concurrency: i32::try_from(app.max_concurrency).unwrap_or(i32::MAX),
        health: app.health.map(health),
    }
}

fn health(health: AppHealth) -> proto::AppConnectionHealthProperties {
    proto::AppConnectionHealthProperties {
        health_check_path: health.path.unwrap_or_default(),
        health_probe_interval: health.interval,
        health_probe_timeout: health.timeout,
        health_threshold: i32::try_from(health.threshold).unwrap_or(i32::MAX),
    }
}
