//! The road to HTTP services that have no sidecar.
