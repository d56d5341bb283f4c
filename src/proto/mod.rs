//! Messages between sidecars, which the `dapr` crate lacks.
