//! Against a real kube-apiserver with etcd, on loopback, without a node.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod advice;
#[allow(dead_code, reason = "the server comes before those who use all of it")]
mod api_server;
mod certificates;
mod chart;
mod check;
mod crds;
mod keeping;
mod registration;
mod resources;
mod rights;
mod road;
mod secret_store;
mod version;
