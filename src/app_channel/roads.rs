//! Every kind of call to the app.

/// A kind of call to the app. `Transport::send` takes one, so that a new kind of call needs a row
/// of [`ROADS`], and with that a case of the test that looks for the token on each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Road {
    /// A method of an HTTP app.
    InvokeHttp,
    /// `AppCallback/OnInvoke` of a gRPC app.
    InvokeGrpc,
    /// A call of a gRPC app's own service, as it came.
    ProxyGrpc,
    /// `GET /dapr/config` of an HTTP app.
    ConfigDiscovery,
    /// The health probe of an HTTP app.
    HealthProbeHttp,
    /// `AppCallbackHealthCheck/HealthCheck` of a gRPC app.
    HealthProbeGrpc,
    /// `GET /dapr/subscribe` of an HTTP app.
    SubscribeDiscovery,
    /// `AppCallback/ListTopicSubscriptions` of a gRPC app.
    ListTopicSubscriptions,
    /// A message of a topic, to an HTTP app.
    TopicEventHttp,
    /// `AppCallback/OnTopicEvent` of a gRPC app.
    TopicEventGrpc,
    /// Messages of a topic together, to an HTTP app.
    BulkTopicEventHttp,
    /// `AppCallback/OnBulkTopicEvent` of a gRPC app, or the method of that name of older apps.
    BulkTopicEventGrpc,
    /// `OPTIONS`: whether an HTTP app wants the events of a binding.
    BindingProbe,
    /// `AppCallback/ListInputBindings` of a gRPC app.
    ListInputBindings,
    /// An event of a binding, to an HTTP app.
    BindingEventHttp,
    /// `AppCallback/OnBindingEvent` of a gRPC app.
    BindingEventGrpc,
    /// A change of an item of configuration, to an HTTP app.
    ConfigurationChange,
}

/// What an app speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speech {
    /// HTTP, of any version.
    Http,
    /// gRPC.
    Grpc,
}

/// One row of the table of roads.
#[derive(Debug)]
pub struct Row {
    /// Its name in the code.
    pub road: Road,
    /// The name of the road: the label `path` of the client metrics, in place of the path itself,
    /// of which there may be any number.
    pub name: &'static str,
    /// What an app speaks that is called so.
    pub speech: Speech,
    /// Who sends calls this way.
    pub owner: &'static str,
    /// Whether calls count against the limit of calls at once. A probe that waited for a place
    /// would call a busy app ill.
    pub is_limited: bool,
    /// Whether a caller's own headers go along, in which it may have put a token.
    pub has_callers_headers: bool,
}

/// Every road to the app, in the order of [`Road`]. The app token is on each.
pub const ROADS: [Row; 17] = [
    Row {
        road: Road::InvokeHttp,
        name: "invoke",
        speech: Speech::Http,
        owner: "blocks::invoke",
        is_limited: true,
        has_callers_headers: true,
    },
    Row {
        road: Road::InvokeGrpc,
        name: "/dapr.proto.runtime.v1.AppCallback/OnInvoke",
        speech: Speech::Grpc,
        owner: "blocks::invoke",
        is_limited: true,
        has_callers_headers: true,
    },
    Row {
        road: Road::ProxyGrpc,
        name: "proxy",
        speech: Speech::Grpc,
        owner: "blocks::invoke::proxy",
        is_limited: true,
        has_callers_headers: true,
    },
    Row {
        road: Road::ConfigDiscovery,
        name: "/dapr/config",
        speech: Speech::Http,
        owner: "app_channel::ready",
        is_limited: true,
        has_callers_headers: false,
    },
    Row {
        road: Road::HealthProbeHttp,
        name: "healthz",
        speech: Speech::Http,
        owner: "app_channel::health",
        is_limited: false,
        has_callers_headers: false,
    },
    Row {
        road: Road::HealthProbeGrpc,
        name: "/dapr.proto.runtime.v1.AppCallbackHealthCheck/HealthCheck",
        speech: Speech::Grpc,
        owner: "app_channel::health",
        is_limited: false,
        has_callers_headers: false,
    },
    Row {
        road: Road::SubscribeDiscovery,
        name: "/dapr/subscribe",
        speech: Speech::Http,
        owner: "blocks::subscriptions::programmatic",
        is_limited: true,
        has_callers_headers: false,
    },
    Row {
        road: Road::ListTopicSubscriptions,
        name: "/dapr.proto.runtime.v1.AppCallback/ListTopicSubscriptions",
        speech: Speech::Grpc,
        owner: "blocks::subscriptions::programmatic",
        is_limited: true,
        has_callers_headers: false,
    },
    Row {
        road: Road::TopicEventHttp,
        name: "topic",
        speech: Speech::Http,
        owner: "blocks::subscriptions::http",
        is_limited: true,
        has_callers_headers: true,
    },
    Row {
        road: Road::TopicEventGrpc,
        name: "/dapr.proto.runtime.v1.AppCallback/OnTopicEvent",
        speech: Speech::Grpc,
        owner: "blocks::subscriptions::grpc",
        is_limited: true,
        has_callers_headers: true,
    },
    Row {
        road: Road::BulkTopicEventHttp,
        name: "topic/bulk",
        speech: Speech::Http,
        owner: "blocks::subscriptions::http",
        is_limited: true,
        has_callers_headers: true,
    },
    Row {
        road: Road::BulkTopicEventGrpc,
        name: "/dapr.proto.runtime.v1.AppCallback/OnBulkTopicEvent",
        speech: Speech::Grpc,
        owner: "blocks::subscriptions::grpc",
        is_limited: true,
        has_callers_headers: true,
    },
    Row {
        road: Road::BindingProbe,
        name: "binding/options",
        speech: Speech::Http,
        owner: "blocks::bindings::discovery",
        is_limited: true,
        has_callers_headers: false,
    },
    Row {
        road: Road::ListInputBindings,
        name: "/dapr.proto.runtime.v1.AppCallback/ListInputBindings",
        speech: Speech::Grpc,
        owner: "blocks::bindings::discovery",
        is_limited: true,
        has_callers_headers: false,
    },
    Row {
        road: Road::BindingEventHttp,
        name: "binding",
        speech: Speech::Http,
        owner: "blocks::bindings::input",
        is_limited: true,
        has_callers_headers: true,
    },
    Row {
        road: Road::BindingEventGrpc,
        name: "/dapr.proto.runtime.v1.AppCallback/OnBindingEvent",
        speech: Speech::Grpc,
        owner: "blocks::bindings::input",
        is_limited: true,
        has_callers_headers: true,
    },
    Row {
        road: Road::ConfigurationChange,
        name: "configuration",
        speech: Speech::Http,
        owner: "blocks::configuration::delivery",
        is_limited: true,
        has_callers_headers: false,
    },
];

impl Road {
    /// Its row in the table.
    pub fn row(self) -> &'static Row {
        &ROADS[self as usize]
    }

    /// Whether this is a health probe.
    pub(super) fn is_probe(self) -> bool {
        matches!(self, Self::HealthProbeHttp | Self::HealthProbeGrpc)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_stands_in_the_order_of_the_roads() {
        for row in &ROADS {
            assert_eq!(row.road.row().road, row.road);
        }
    }
}
