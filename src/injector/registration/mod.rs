//! The webhook configurations in which the API server is told whom to trust.
//!
//! The injector writes `caBundle` alone, into webhooks that are there: it makes no configuration
//! and adds no webhook.

pub mod kubernetes;
pub mod roots;
pub mod trust;

mod guard;
mod metrics;
