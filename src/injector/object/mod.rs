//! Kubernetes objects as errors and logs name them.

pub mod kubernetes;
