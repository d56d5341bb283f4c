//! What tests share; behind the feature `testing`, which the package's own tests turn on.
//!
//! Everything here panics where something fails, since only tests see it.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

pub mod certificates;
pub mod connect_proxy;
pub mod contract;
pub mod eventually;
pub mod fake_app;
pub mod fake_component;
pub mod fake_configuration;
pub mod fake_grpc_app;
pub mod fake_locks;
pub mod fake_registry;
#[cfg(feature = "gcp")]
pub mod fake_secret_manager;
pub mod fake_sentry;
pub mod faulty_road;
pub mod http_client;
pub mod idle_blocks;
pub mod issuer;
pub mod listening;
pub mod mounted_secret;
pub mod page;
pub mod ports;
pub mod quickstart;
pub mod registry_config;
pub mod state_contract;
