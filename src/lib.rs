//! Sidegate: a Kubernetes sidecar injector and the sidecar that it injects, compatible with Dapr's.
//!
//! Read the modules in this order; each may use those above it (`tests/tidy` checks the exact
//! table of ARCHITECTURE.md).

pub mod base;
pub mod proto;

pub mod process;
pub mod tls;

pub mod resources;

pub mod app_channel;
pub mod auth;
pub mod components;
pub mod endpoints;
pub mod injector;
pub mod peers;
pub mod resiliency;

pub mod registry;

pub mod blocks;

pub mod api;

pub mod cli;

#[cfg(feature = "testing")]
pub mod testing;
