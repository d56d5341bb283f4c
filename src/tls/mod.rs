//! TLS: certificates checked before they are used, and changed without a restart.

mod client_names;
pub mod handshake;
pub mod identity;
pub mod reload;

use std::sync::Arc;

use rustls::crypto::CryptoProvider;

/// The one TLS provider of the program.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}
