//! What a road to the app is made with.

use std::fmt;
use std::num::NonZeroUsize;
use std::time::Duration;

use crate::base::token::Token;

/// The protocol that the app speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppProtocol {
    /// HTTP/1.1.
    Http,
    /// HTTP/1.1 or HTTP/2 over TLS. The certificate is not verified.
    Https,
    /// HTTP/2 without TLS.
    H2c,
    /// gRPC without TLS.
    Grpc,
    /// gRPC over TLS. The certificate is not verified.
    Grpcs,
}

/// A text that names no protocol.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("invalid value for 'app-protocol': {0}; accepted are http, https, h2c, grpc, grpcs")]
pub struct ProtocolError(String);

impl AppProtocol {
    /// From the value of `--app-protocol`, in any case.
    pub fn parse(text: &str) -> Result<Self, ProtocolError> {
        match text.to_ascii_lowercase().as_str() {
            "http" => Ok(Self::Http),
            "https" => Ok(Self::Https),
            "h2c" => Ok(Self::H2c),
            "grpc" => Ok(Self::Grpc),
            "grpcs" => Ok(Self::Grpcs),
            _ => Err(ProtocolError(text.to_owned())),
        }
    }

    /// The name, as in `--app-protocol`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::H2c => "h2c",
            Self::Grpc => "grpc",
            Self::Grpcs => "grpcs",
        }
    }

    /// Whether the app speaks gRPC.
    pub fn is_grpc(self) -> bool {
        matches!(self, Self::Grpc | Self::Grpcs)
    }

    /// Whether connections to the app use TLS.
    pub fn is_tls(self) -> bool {
        matches!(self, Self::Https | Self::Grpcs)
    }

    /// Whether connections speak HTTP/2 from their first byte.
    pub(super) fn is_http2_only(self) -> bool {
        matches!(self, Self::H2c | Self::Grpc | Self::Grpcs)
    }
}

impl fmt::Display for AppProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An address of the app that is none.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0:?} is not the address of an app: accepted are a host name and an IP address")]
pub struct AddressError(pub(super) String);

/// How the health of the app is checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthConfig {
    /// The path of the probe, for apps that speak HTTP.
    pub path: String,
    /// The time from one probe to the next.
    pub interval: Duration,
    /// How long the app may take to answer a probe.
    pub timeout: Duration,
    /// After so many failures in a row the app counts as unhealthy.
    pub threshold: u32,
}

/// What a road to the app is made with.
#[derive(Clone, Debug)]
pub struct AppChannelConfig {
    /// The protocol that the app speaks.
    pub protocol: AppProtocol,
    /// The host of the app, a name or an IP address (`--app-channel-address`).
    pub address: String,
    /// The port of the app.
    pub port: u16,
    /// The app token (`APP_API_TOKEN`), attached to every call.
    pub token: Option<Token>,
    /// The most calls at once; `None` for no limit. Health probes do not count.
    pub max_concurrency: Option<NonZeroUsize>,
    /// The most bytes of a request body, and of an answer that has to be held in memory.
    pub max_body_bytes: usize,
    /// Health checks of the app, where they are on.
    pub health: Option<HealthConfig>,
    /// The id of the app.
    pub app_id: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_the_five_protocols() {
        for name in ["http", "https", "h2c", "grpc", "grpcs"] {
            assert_eq!(AppProtocol::parse(name).unwrap().as_str(), name);
        }
        assert_eq!(AppProtocol::parse("HTTP").unwrap(), AppProtocol::Http);
        assert_eq!(
            AppProtocol::parse("tcp").unwrap_err().to_string(),
            "invalid value for 'app-protocol': tcp; accepted are http, https, h2c, grpc, grpcs"
        );
    }
}
