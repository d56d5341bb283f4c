//! Everything that needs sockets, files that change or a running process: one file a subject.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use sidegate::process::metrics::Metrics;

mod api;
mod app_channel;
mod bindings;
mod configuration;
mod demo;
mod inject_command;
mod injection;
mod injector;
mod invoke;
mod name_resolution;
mod pluggable;
mod pubsub;
mod quickstarts;
mod reload;
mod run;
mod secrets;
mod sidecar;

/// What is counted in this process, without the label of the first sidecar that was started in it.
fn counted(metrics: &Metrics) -> String {
    let text = metrics.render();
    let mut parts = text.split("app_id=\"");
    let mut counted = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (_, rest) = part.split_once('"').unwrap();
        counted.push_str(rest.strip_prefix(',').unwrap_or(rest));
    }
    counted.replace("{}", "")
}
