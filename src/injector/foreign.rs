//! Containers of other injectors.

/// Containers that other injectors put into pods. They know nothing of our API, must never see its
/// tokens, and their injectors may compare them with what they wrote: we leave them alone.
/// (Istio, Linkerd, Kuma, Consul, Vault, Bank-Vaults, OpenTelemetry, Jaeger, Datadog, Azure
/// workload identity, Cloud Storage FUSE, App Mesh, Dynatrace, each by its documentation.)
pub(super) const FOREIGN: &[&str] = &[
    "istio-proxy",
    "istio-init",
    "istio-validation",
    "enable-core-dump",
    "linkerd-proxy",
    "linkerd-init",
    "linkerd-network-validator",
    "linkerd-debug",
    "kuma-sidecar",
    "kuma-init",
    "kuma-validation",
    "consul-dataplane",
    "consul-connect-inject-init",
    "envoy-sidecar",
    "vault-agent",
    "vault-agent-init",
    "copy-vault-env",
    "consul-template",
    "otc-container",
    "jaeger-agent",
    "datadog-agent-injected",
    "datadog-init-apm-inject",
    "azwi-proxy",
    "azwi-proxy-init",
    "gke-gcsfuse-sidecar",
    "gke-gcsfuse-metadata-prefetch",
    "proxyinit",
    "xray-daemon",
    "install-oneagent",
    "dynatrace-operator",
];

/// Names that other injectors end differently for each language.
pub(super) const FOREIGN_PREFIXES: &[&str] =
    &["opentelemetry-auto-instrumentation", "datadog-lib-"];

/// Whether another injector owns a container of this name.
pub(super) fn is_foreign(name: &str) -> bool {
    FOREIGN.contains(&name)
        || FOREIGN_PREFIXES
            .iter()
            .any(|prefix| name.starts_with(prefix))
}
