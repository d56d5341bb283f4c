//! Where the sidecars of other apps are.

use std::fmt::Debug;

/// The app that is looked for.
#[derive(Clone, Copy, Debug)]
pub struct Lookup<'a> {
    /// Its id.
    pub app_id: &'a str,
    /// Its namespace; may be empty.
    pub namespace: &'a str,
}

/// `host:port` of a sidecar, usable as the authority of a URI.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PeerAddress(pub String);

/// Why an app was not found.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ResolveError {
    /// No such app.
    #[error("couldn't find service: {0}")]
    NotFound(String),
}

/// Finds sidecars.
#[async_trait::async_trait]
pub trait Resolver: Debug + Send + Sync {
    /// The addresses of an app, at least one, in the order in which to try them.
    async fn resolve(&self, app: &Lookup<'_>) -> Result<Vec<PeerAddress>, ResolveError>;
}

impl PeerAddress {
    /// From `host:port`.
    pub fn parse(text: &str) -> Option<Self> {
        text.parse::<http::uri::Authority>().ok()?;
        Some(Self(text.to_owned()))
    }

    /// The address as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
