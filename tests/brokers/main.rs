//! Messages over real brokers, and values in real databases, on loopback: `tests/brokers.sh` gets
//! them and names their folder.
//!
//! Every message is counted from publisher to app: one that was accepted and never arrives fails
//! its test, those that arrive more than once are printed.

#![allow(clippy::unwrap_used, reason = "a test may panic")]
#![allow(
    clippy::print_stdout,
    reason = "what is counted is for whoever reads the test"
)]
#![cfg_attr(
    not(all(feature = "nats", feature = "rabbitmq")),
    allow(dead_code, reason = "what the others use")
)]

mod configuration;
mod configuration_postgres;
mod counting;
mod direct;
mod faults;
#[cfg(feature = "nats")]
mod jetstream;
mod postgres_server;
mod proxy;
#[cfg(feature = "rabbitmq")]
mod rabbitmq;
mod redis;
mod servers;
mod sidecar;
mod state_postgres;
