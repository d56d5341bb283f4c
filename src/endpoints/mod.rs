//! The road to HTTP services that have no sidecar: `HTTPEndpoint` resources, and URLs.
//!
//! ```text
//! Endpoint ─┐                      ┌─ addresses (which a URL may not reach)
//!           ├─ headers ─▶ client ──┤
//! External ─┘                      └─ TLS, HTTP/1.1 or HTTP/2
//! ```
//! Neither the app token nor the API token is within reach of this module, and what a caller sends
//! under their name is cut. What leaves are the headers of [`headers::Outgoing`], a type that only
//! a resource can put that name into.
//!
//! No redirect is followed, no proxy is used, and every certificate is verified.

use http::{HeaderMap, Method};

use crate::base::method_path::MethodPath;

mod addresses;
mod body;
mod client;
mod connect;
mod endpoint;
mod external;
mod headers;
mod observe;
#[cfg(test)]
mod tests;

pub use endpoint::{BuildError, Endpoint, Settings};
pub use external::{External, RawUrl, RawUrlError};

pub use crate::process::body::Body;
pub use crate::resources::sidecar_policy::ExternalUrls;

/// A call as a caller made it: nothing is stripped from the headers yet.
#[derive(Debug)]
pub struct Call<'a> {
    /// The HTTP method.
    pub method: Method,
    /// The path below the URL.
    pub path: &'a MethodPath,
    /// The query, escaped, without `?`.
    pub query: Option<&'a str>,
    /// The headers.
    pub headers: HeaderMap,
    /// The body. Trailers are dropped.
    pub body: Body,
}

/// Why a service could not be called. The texts are for clients: why exactly a connection failed
/// is in the log.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// The policy allows no URLs.
    #[error(
        "invoking URLs is denied by the SidecarPolicy (spec.invocation.externalUrls); an \
         HTTPEndpoint can be invoked by its name"
    )]
    UrlsDenied,
    /// The host of a URL is an address that no caller may choose.
    #[error(
        "{host:?} is a link-local address or one of a cloud's metadata service, which a URL may \
         not name"
    )]
    AddressRefused {
        /// The host.
        host: String,
    },
    /// A method that is not sent: CONNECT opens a tunnel, and an answer to TRACE shows the headers
    /// of the request, with the secrets among them.
    #[error("method {0} is not sent to services without a sidecar")]
    Method(Method),
    /// A request that cannot be sent as it is.
    #[error("the request cannot be sent: its query can stand in no URL")]
    Request,
    /// The system has no CA certificates.
    #[error("no TLS server can be verified: the system has no CA certificates")]
    NoSystemRoots,
    /// No connection.
    #[error("no connection to {host:?}")]
    Connect {
        /// The host.
        host: String,
    },
    /// A server that cannot be verified, or that speaks no TLS.
    #[error("the TLS handshake with {host:?} failed")]
    Tls {
        /// The host.
        host: String,
    },
    /// The connection broke, as it does where a server of TLS 1.3 does not take the certificate
    /// that it is shown; or what came is no HTTP.
    #[error("the call to {host:?} broke off before its answer")]
    Exchange {
        /// The host.
        host: String,
    },
}
