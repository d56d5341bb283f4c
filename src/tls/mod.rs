//! TLS: certificates checked before they are used, and changed without a restart.

pub mod client;
mod client_check;
pub mod client_identity;
mod client_names;
pub mod handshake;
pub mod identity;
pub mod reload;
pub mod spiffe;

use std::sync::Arc;

use rustls::crypto::CryptoProvider;

/// The one TLS provider of the program.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Makes the provider that of libraries which are handed none.
pub fn install_provider() {
    // Another one is there already when this is called twice: the same.
    let _ = rustls::crypto::ring::default_provider().install_default();
}
