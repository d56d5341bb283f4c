//! The life of a process: tasks, shutdown, readiness, listeners, logs, metrics and traces.

pub mod admin;
pub mod body;
pub mod connect_within;
pub mod early_stop;
pub mod free_ports;
pub mod kubernetes;
pub mod listener;
pub mod log_format;
pub mod log_rate;
pub mod metrics;
pub mod readiness;
pub mod serve;
pub mod shutdown;
pub mod tasks;
pub mod trace;
pub mod watch_dir;
