//! Who a sidecar is, by its certificate.

use std::fmt;
use std::sync::Arc;

/// The identity of an app: `spiffe://<trust domain>/ns/<namespace>/<app id>` (the SPIFFE-ID
/// standard, with Dapr's form of the path). Cheap to clone.
///
/// Invariant: no part is empty, and each holds only characters of its kind, so that two identities
/// are equal where their texts are.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct SpiffeId(Arc<Parts>);

#[derive(PartialEq, Eq, Hash)]
struct Parts {
    trust_domain: String,
    namespace: String,
    app_id: String,
}

/// The longest id in bytes (SPIFFE-ID, section 2.3).
const MAX_LENGTH: usize = 2048;

/// A text that is no identity of an app.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum SpiffeIdError {
    /// Another form.
    #[error("{0:?} is no identity of an app: spiffe://<trust domain>/ns/<namespace>/<app id>")]
    Form(String),
    /// A trust domain with characters that it cannot have.
    #[error("{0:?} is no trust domain: accepted are a-z, 0-9, \".\", \"-\" and \"_\"")]
    TrustDomain(String),
    /// A namespace or app id with characters that a path of SPIFFE cannot have.
    #[error("{0:?} cannot be in an identity: accepted are a-z, A-Z, 0-9, \".\", \"-\" and \"_\"")]
    Segment(String),
    /// A text that is too long.
    #[error("an identity has at most {MAX_LENGTH} bytes")]
    TooLong,
}

impl SpiffeId {
    /// From its parts.
    pub fn new(trust_domain: &str, namespace: &str, app_id: &str) -> Result<Self, SpiffeIdError> {
        if !is_trust_domain(trust_domain) {
            return Err(SpiffeIdError::TrustDomain(trust_domain.to_owned()));
        }
        for segment in [namespace, app_id] {
            if !is_segment(segment) {
                return Err(SpiffeIdError::Segment(segment.to_owned()));
            }
        }
        if "spiffe:///ns//".len() + trust_domain.len() + namespace.len() + app_id.len() > MAX_LENGTH
        {
            return Err(SpiffeIdError::TooLong);
        }
        Ok(Self(Arc::new(Parts {
            trust_domain: trust_domain.to_owned(),
            namespace: namespace.to_owned(),
            app_id: app_id.to_owned(),
        })))
    }

    /// From the URI in a certificate.
    pub fn parse(text: &str) -> Result<Self, SpiffeIdError> {
        let form = || SpiffeIdError::Form(text.chars().take(MAX_LENGTH).collect());
        let rest = text.strip_prefix("spiffe://").ok_or_else(form)?;
        let mut parts = rest.split('/');
        match std::array::from_fn(|_| parts.next()) {
            [
                Some(trust_domain),
                Some("ns"),
                Some(namespace),
                Some(app_id),
                None,
            ] => Self::new(trust_domain, namespace, app_id),
            _ => Err(form()),
        }
    }

    /// The trust domain.
    pub fn trust_domain(&self) -> &str {
        &self.0.trust_domain
    }

    /// The namespace of the app.
    pub fn namespace(&self) -> &str {
        &self.0.namespace
    }

    /// The id of the app.
    pub fn app_id(&self) -> &str {
        &self.0.app_id
    }
}

/// SPIFFE-ID, section 2.1.
fn is_trust_domain(text: &str) -> bool {
    let is_part = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b'_');
    matches!(text.len(), 1..=255) && text.bytes().all(is_part)
}

/// SPIFFE-ID, section 2.2.
fn is_segment(text: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    !matches!(text, "" | "." | "..") && text.bytes().all(is_part)
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Parts {
            trust_domain,
            namespace,
            app_id,
        } = &*self.0;
        write!(f, "spiffe://{trust_domain}/ns/{namespace}/{app_id}")
    }
}

impl fmt::Debug for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes() {
        let id = SpiffeId::parse("spiffe://cluster.local/ns/shop/cart-1").unwrap();
        let parts = (id.trust_domain(), id.namespace(), id.app_id());
        assert_eq!(parts, ("cluster.local", "shop", "cart-1"));
        assert_eq!(id.to_string(), "spiffe://cluster.local/ns/shop/cart-1");
        assert_eq!(SpiffeId::new("cluster.local", "shop", "cart-1"), Ok(id));
    }

    #[test]
    fn refuses_every_other_form() {
        for text in [
            "",
            "spiffe://td",
            "spiffe://td/ns/a",
            "spiffe://td/ns/a/",
            "spiffe://td/ns//b",
            "spiffe:///ns/a/b",
            "spiffe://td/ns/a/b/",
            "spiffe://td/ns/a/b/c",
            "spiffe://td/other/a/b",
            "spiffe://td/ns/../b",
            "spiffe://td/ns/a/%62",
            "spiffe://td/ns/a/b?c",
            "spiffe://td/ns/a/b#c",
            "spiffe://TD/ns/a/b",
            "spiffe://td:80/ns/a/b",
            "spiffe://u@td/ns/a/b",
            "https://td/ns/a/b",
            "SPIFFE://td/ns/a/b",
        ] {
            assert!(SpiffeId::parse(text).is_err(), "{text}");
        }
        let long = "a".repeat(MAX_LENGTH);
        let error = SpiffeId::new("td", "ns", &long).unwrap_err();
        assert_eq!(error, SpiffeIdError::TooLong);
    }
}
