//! Everything that needs sockets, files that change or a running process: one file a subject.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod api;
mod app_channel;
mod bindings;
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
