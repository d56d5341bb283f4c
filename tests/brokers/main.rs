//! Messages over real brokers, and values in real databases, on loopback: `tests/brokers.sh` gets
//! them and names their folder.
//!
//! Every message is counted from publisher to app: one that was accepted and never arrives fails
//! its test, those that arrive more than once are printed. Every write of state is in the books of
//! its writer: one that was acknowledged and is not in the store fails its test.

#![allow(clippy::unwrap_used, reason = "a test may panic")]
#![allow(
    clippy::print_stdout,
    reason = "what is counted is for whoever reads the test"
)]

mod configuration;
mod configuration_postgres;
mod counting;
mod direct;
mod faults;
mod jetstream;
mod postgres_server;
mod proxy;
mod quickstarts;
mod rabbitmq;
mod redis;
mod secret_references;
mod servers;
mod sidecar;
mod state_faults;
mod state_load;
mod state_postgres;
mod state_redis;
mod state_redis_cluster;
