//! The arguments of the sidecar, in the order of Dapr 1.18.

use super::config::Config;
use super::settings::{App, HTTP_PORT, PUBLIC_PORT, Settings};
use super::volumes::SOCKET_FOLDER;
use crate::resources::sidecar_policy::DefaultAccess;

/// Arguments under construction.
struct Arguments(Vec<String>);

impl Arguments {
    fn flag(&mut self, name: &str, on: bool) {
        if on {
            self.0.push(name.to_owned());
        }
    }

    fn value(&mut self, name: &str, value: impl ToString) {
        self.0.extend([name.to_owned(), value.to_string()]);
    }

    fn optional(&mut self, name: &str, value: Option<&impl ToString>) {
        if let Some(value) = value {
            self.value(name, value.to_string());
        }
    }
}

/// All arguments after the program's name.
pub(super) fn arguments(settings: &Settings, config: &Config) -> Vec<String> {
    let mut args = Arguments(Vec::new());
    args.value("--dapr-http-port", HTTP_PORT);
    args.value("--dapr-grpc-port", settings.ports.grpc);
    args.value("--dapr-internal-grpc-port", settings.ports.internal);
    args.value("--dapr-listen-addresses", &settings.listen_addresses);
    args.value("--dapr-public-port", PUBLIC_PORT);
    args.value("--app-id", &settings.app.id);
    args.value("--app-protocol", settings.app.protocol);
    args.value("--log-level", settings.logging.level);
    let graceful = settings.times.graceful_shutdown_seconds;
    args.value("--dapr-graceful-shutdown-seconds", graceful);
    args.value("--mode", "kubernetes");
    let plane = config.control_plane.as_ref();
    let authority = plane.and_then(|plane| plane.authority.as_ref());
    let resources = plane.and_then(|plane| plane.resources_address.as_ref());
    args.optional("--control-plane-address", resources);
    args.optional("--sentry-address", authority.map(|one| &one.address));
    args.optional("--app-port", settings.app.port.as_ref());
    match settings.ports.metrics {
        Some(port) => {
            args.flag("--enable-metrics", true);
            args.value("--metrics-port", port);
        }
        // The sidecar's own default is on.
        None => args.flag("--enable-metrics=false", true),
    }
    args.optional("--config", settings.config_name.as_ref());
    args.optional("--policy", settings.policy_name.as_ref());
    if config.secrets_default_access == DefaultAccess::Deny {
        args.value("--secrets-default-access", "deny");
    }
    let channel = settings.app.channel_address.as_ref();
    args.optional("--app-channel-address", channel);
    let placement = settings.services.placement.as_ref();
    args.optional("--placement-host-address", placement);
    let audiences = settings.services.jwt_audiences.as_ref();
    args.optional("--sentry-request-jwt-audiences", audiences);
    let mtls = authority.is_some_and(|one| one.mtls);
    add_behaviour(&mut args, settings, mtls);
    add_limits(&mut args, settings);
    args.0
}

fn add_behaviour(args: &mut Arguments, settings: &Settings, mtls: bool) {
    if let Some(on) = settings.logging.api {
        args.flag(&format!("--enable-api-logging={on}"), true);
    }
    args.flag(
        "--disable-builtin-k8s-secret-store",
        settings.no_kubernetes_store,
    );
    add_health(args, &settings.app);
    let binding_timeout = settings.times.binding_timeout.as_ref();
    args.optional("--app-binding-options-timeout", binding_timeout);
    args.flag("--log-as-json", settings.logging.json);
    args.flag("--enable-profiling", settings.profiling);
    args.flag("--enable-mtls", mtls);
    args.flag("--app-ssl", settings.app.ssl);
}

fn add_health(args: &mut Arguments, app: &App) {
    if let Some(health) = &app.health {
        args.flag("--enable-app-health-check", true);
        args.value("--app-health-check-path", &health.path);
        args.value("--app-health-probe-interval", health.interval_seconds);
        args.value("--app-health-probe-timeout", health.timeout_millis);
        args.value("--app-health-threshold", health.threshold);
    }
}

fn add_limits(args: &mut Arguments, settings: &Settings) {
    let limits = &settings.limits;
    let times = &settings.times;
    let concurrency = settings.app.max_concurrency.as_ref();
    args.optional("--app-max-concurrency", concurrency);
    let megabytes = limits.max_request_megabytes.as_ref();
    args.optional("--dapr-http-max-request-size", megabytes);
    args.optional("--max-body-size", limits.max_body_size.as_ref());
    let kilobytes = limits.read_buffer_kilobytes.as_ref();
    args.optional("--dapr-http-read-buffer-size", kilobytes);
    args.optional("--read-buffer-size", limits.read_buffer_size.as_ref());
    let socket_folder = settings.socket_path.as_ref().map(|_| &SOCKET_FOLDER);
    args.optional("--unix-domain-socket", socket_folder);
    args.optional(
        "--dapr-block-shutdown-duration",
        times.block_shutdown.as_ref(),
    );
    args.optional(
        "--actors-disseminate-timeout",
        times.disseminate_timeout.as_ref(),
    );
    let scheduler = settings.services.scheduler.as_ref();
    args.optional("--scheduler-host-address", scheduler);
    let disabled = settings.disable_init_endpoints.as_ref();
    args.optional("--disable-init-endpoints", disabled);
}
