//! Every kind of call to the app.

/// A kind of call to the app. `Transport::send` takes one, so that a new kind
/// of call has to be added here, and with that to the test that looks for the token on each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Road {
    /// A method of an HTTP app.
    InvokeHttp,
    /// `AppCallback/OnInvoke` of a gRPC app.
    InvokeGrpc,
    /// `GET /dapr/config` of an HTTP app.
    ConfigDiscovery,
    /// The health probe of an HTTP app.
    HealthProbeHttp,
    /// `AppCallbackHealthCheck/HealthCheck` of a gRPC app.
    HealthProbeGrpc,
}

impl Road {
    /// Every road.
    pub const ALL: [Self; 5] = [
        Self::InvokeHttp,
        Self::InvokeGrpc,
        Self::ConfigDiscovery,
        Self::HealthProbeHttp,
        Self::HealthProbeGrpc,
    ];

    /// The name of the road: the label `path` of the client metrics, in place of the path itself,
    /// of which there may be any number.
    pub fn name(self) -> &'static str {
        match self {
            Self::InvokeHttp => "invoke",
            Self::InvokeGrpc => "/dapr.proto.runtime.v1.AppCallback/OnInvoke",
            Self::ConfigDiscovery => "/dapr/config",
            Self::HealthProbeHttp => "healthz",
            Self::HealthProbeGrpc => "/dapr.proto.runtime.v1.AppCallbackHealthCheck/HealthCheck",
        }
    }

    /// Whether calls count against the limit of calls at once. A probe that waited for a place
    /// would call a busy app ill.
    pub(super) fn is_limited(self) -> bool {
        !self.is_probe()
    }

    /// Whether this is a health probe.
    pub(super) fn is_probe(self) -> bool {
        matches!(self, Self::HealthProbeHttp | Self::HealthProbeGrpc)
    }
}
