//! The webhook's own CA and certificate: kept in one Secret that all replicas share, and renewed
//! so that every certificate that a replica may serve is one that every API server trusts.
//!
//! The Secret is the only state. What to do next is a pure function of its content, the time and
//! what API servers have been told ([`plan`]); each step is one write that is guarded by the
//! Secret's resourceVersion, so that of several replicas one wins and the others follow it.

pub mod authority;
pub mod certificate;
pub mod content;
pub mod kubernetes;
pub mod lifetimes;
pub mod plan;

mod metrics;
