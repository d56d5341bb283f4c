//! The injector: from a pod with `dapr.io/enabled: "true"` to the JSON patch that adds the sidecar.
//!
//! Everything from [`inject::inject`] down is pure: no async, clock, environment or network, so the
//! webhook and the offline command give the same answer for the same pod.

pub mod certificates;
pub mod registration;

pub mod object;
pub mod server;

pub mod judgement;
pub mod kubernetes;
pub mod metrics;
pub mod requester;
pub mod review;

pub mod config;

pub mod inject;

pub mod annotations;

pub mod advice;
pub mod others;
pub mod workload;

mod args;
mod container;
mod denial;
mod foreign;
mod glob;
mod neighbours;
mod patch;
mod pod;
mod settings;
mod volumes;
mod warnings;
