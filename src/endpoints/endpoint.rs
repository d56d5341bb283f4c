//! A service that an `HTTPEndpoint` names.

use std::sync::{Arc, OnceLock};

use http::{HeaderMap, HeaderName, HeaderValue, Response};
use rustls::ClientConfig;

use super::client::Client;
use super::connect::Reach;
use super::headers::Outgoing;
use super::{Body, Call, Error};
use crate::base::http_url::HttpUrl;
use crate::base::secret::Secret;
use crate::tls::client::{Trust, TrustError, client_config};
use crate::tls::client_identity::{ClientIdentity, ClientIdentityError};

/// What an endpoint is made of: the fields of its resource, with every reference filled in.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Its name.
    pub name: String,
    /// Its methods are below it.
    pub base_url: HttpUrl,
    /// Headers of every call.
    pub headers: Vec<(HeaderName, Secret)>,
    /// The certificates that its server is trusted by (PEM), in place of those of the system.
    pub root_ca: Option<Secret>,
    /// The certificate that it is shown, and the key of that (both PEM).
    pub identity: Option<(Secret, Secret)>,
}

/// Why an endpoint cannot be used. No message holds a value.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A value that no header can have.
    #[error("the value of header {name:?} holds characters that no header can hold")]
    Header {
        /// The header.
        name: HeaderName,
    },
    /// Certificates that nothing can be verified with.
    #[error("clientTLS.rootCA: {0}")]
    RootCa(#[source] TrustError),
    /// The system has none, and the resource names none.
    #[error("clientTLS.rootCA is not given, and {0}")]
    SystemRoots(#[source] TrustError),
    /// A certificate that cannot be shown.
    #[error("clientTLS.certificate: {0}")]
    Identity(#[from] ClientIdentityError),
}

/// A service with its own headers, TLS and pool of connections.
#[derive(Debug)]
pub struct Endpoint {
    base_url: HttpUrl,
    headers: HeaderMap,
    client: Client,
}

impl Endpoint {
    /// An endpoint that can be called. Nothing is connected yet.
    ///
    /// # Errors
    ///
    /// Headers, certificates or a key that cannot be used.
    pub fn build(settings: &Settings) -> Result<Self, BuildError> {
        let mut headers = HeaderMap::with_capacity(settings.headers.len());
        for (name, value) in &settings.headers {
            // Files and Secrets often end in a newline, which is no part of the value.
            let text = value.expose().trim_end_matches(['\r', '\n']);
            let value = HeaderValue::from_str(text);
            let mut value = value.map_err(|_| BuildError::Header { name: name.clone() })?;
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        let is_https = settings.base_url.is_https();
        let tls = is_https.then(|| tls(settings)).transpose()?;
        Ok(Self {
            base_url: settings.base_url.clone(),
            headers,
            client: Client::new(&settings.name, tls, Reach::Any),
        })
    }

    /// Calls a method of the service. Whatever it answers is no error, redirects included.
    ///
    /// # Errors
    ///
    /// A call that cannot be sent, or got no answer.
    pub async fn send(&self, call: Call<'_>) -> Result<Response<Body>, Error> {
        let uri = self.base_url.of_method(call.path, call.query);
        let uri = uri.map_err(|_| Error::Request)?;
        let headers = Outgoing::new(call.headers, &self.headers);
        self.client.send(call.method, uri, headers, call.body).await
    }
}

fn tls(settings: &Settings) -> Result<Arc<ClientConfig>, BuildError> {
    let config = match &settings.root_ca {
        None => system_tls().map_err(BuildError::SystemRoots)?,
        Some(roots) => {
            let trust = Trust {
                roots: Some(roots.expose().to_owned()),
                ..Trust::default()
            };
            Arc::new(client_config(&trust).map_err(BuildError::RootCa)?)
        }
    };
    let Some((certificate, key)) = &settings.identity else {
        return Ok(config);
    };
    let identity = ClientIdentity::parse(certificate, key)?;
    Ok(Arc::new(identity.shown_by((*config).clone())))
}

/// The TLS of servers that the system's CA certificates vouch for. They are read when they are
/// first needed, and once: there are some 150, and most sidecars need none.
pub(super) fn system_tls() -> Result<Arc<ClientConfig>, TrustError> {
    static SYSTEM: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    if let Some(config) = SYSTEM.get() {
        return Ok(Arc::clone(config));
    }
    let read = Arc::new(client_config(&Trust::default())?);
    Ok(Arc::clone(SYSTEM.get_or_init(|| read)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::tasks::with_causes;
    use crate::testing::certificates::Authority;

    fn settings(headers: Vec<(HeaderName, Secret)>) -> Settings {
        Settings {
            name: "crm".to_owned(),
            base_url: HttpUrl::parse("https://a").unwrap(),
            headers,
            root_ca: None,
            identity: None,
        }
    }

    #[test]
    fn what_cannot_be_used_is_an_error_that_shows_no_value() {
        let issued = Authority::new().issue(&["a"]);
        let other = Authority::new().issue(&["a"]);
        let https = || settings(Vec::new());
        let secret = |text: &str| Secret::new(text);
        for (settings, expected) in [
            (
                Settings {
                    headers: vec![(HeaderName::from_static("x-key"), secret("a\nhunter2"))],
                    ..https()
                },
                "the value of header \"x-key\" holds characters that no header can hold",
            ),
            (
                Settings {
                    root_ca: Some(secret("hunter2")),
                    ..https()
                },
                "clientTLS.rootCA: the CA certificates hold no certificate in PEM form",
            ),
            (
                Settings {
                    root_ca: Some(secret(&issued.certificate)),
                    identity: Some((secret(&issued.certificate), secret("hunter2"))),
                    ..https()
                },
                "clientTLS.certificate: the private key of the client certificate is no key in PEM \
                 form",
            ),
            (
                Settings {
                    root_ca: Some(secret(&issued.certificate)),
                    identity: Some((secret(&issued.certificate), secret(&other.key))),
                    ..https()
                },
                "clientTLS.certificate: the client certificate and its private key cannot be used \
                 together",
            ),
        ] {
            let error = Endpoint::build(&settings).unwrap_err();
            assert_eq!(error.to_string(), expected);
            assert!(!with_causes(&error).contains("hunter2"));
        }
    }

    #[test]
    fn debug_shows_no_header() {
        let headers = vec![(
            HeaderName::from_static("authorization"),
            Secret::new("hunter2"),
        )];
        let settings = Settings {
            root_ca: Some(Secret::new(Authority::new().certificate())),
            ..settings(headers)
        };
        let endpoint = Endpoint::build(&settings).unwrap();
        assert!(!format!("{endpoint:?}").contains("hunter2"));
    }
}
