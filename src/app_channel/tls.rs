//! TLS to the app, without verification.
//!
//! As in Dapr, the certificate of an app that speaks HTTPS or gRPC over TLS is not verified: it is
//! usually self-signed, and the app is in the same pod. Where it is not
//! (`--app-channel-address`), whoever can take over that address gets the app token; the warning
//! at start says so.

use std::sync::Arc;

use rustls::ClientConfig;

use crate::tls::client::{Trust, client_config};

/// A client configuration that takes every certificate. It offers HTTP/2 and HTTP/1.1.
pub(super) fn unverified() -> Arc<ClientConfig> {
    let trust = Trust {
        skip_verification: true,
        ..Trust::default()
    };
    Arc::new(client_config(&trust).expect("no roots and no name are needed"))
}
