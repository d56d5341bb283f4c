//! The details of a failure, as Dapr's newer APIs give them: the messages of `google.rpc` in JSON.

use serde::{Serialize, Serializer};

use crate::api::status::{
    self, BAD_REQUEST, DETAIL_DOMAIN, ERROR_INFO, HELP, HELP_DESCRIPTION, RESOURCE_INFO, Row,
};
use crate::blocks::error::Error;

/// One detail.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Detail<'a> {
    /// `google.rpc.ErrorInfo`.
    Error {
        #[serde(rename = "@type")]
        url: &'static str,
        domain: &'static str,
        reason: &'static str,
        /// Dapr has `null` for none.
        metadata: Option<Facts<'a>>,
    },
    /// `google.rpc.ResourceInfo`.
    Resource {
        #[serde(rename = "@type")]
        url: &'static str,
        resource_type: &'static str,
        resource_name: &'a str,
        owner: &'static str,
        description: &'a str,
    },
    /// `google.rpc.BadRequest`.
    Request {
        #[serde(rename = "@type")]
        url: &'static str,
        field_violations: [Violation<'a>; 1],
    },
    /// `google.rpc.Help`.
    Help {
        #[serde(rename = "@type")]
        url: &'static str,
        links: [Link; 1],
    },
}

/// An object of facts.
pub(super) struct Facts<'a>(&'a [(&'static str, String)]);

impl Serialize for Facts<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

#[derive(Serialize)]
pub(super) struct Violation<'a> {
    field: &'a str,
    description: &'a str,
}

#[derive(Serialize)]
pub(super) struct Link {
    url: &'static str,
    description: &'static str,
}

/// The details of a failure; none where its row has none.
pub(super) fn of<'a>(error: &'a Error, row: &Row) -> Vec<Detail<'a>> {
    let Some(reason) = row.detail else {
        return Vec::new();
    };
    let subject = error.subject();
    let facts = subject.map(|subject| &*subject.facts).unwrap_or_default();
    let info = Detail::Error {
        url: ERROR_INFO,
        domain: DETAIL_DOMAIN,
        reason,
        metadata: (!facts.is_empty()).then_some(Facts(facts)),
    };
    let resource = subject.and_then(|subject| subject.resource.as_ref());
    let resource = resource.map(|resource| {
        let (kind, description) = status::resource(resource.kind, error.message());
        Detail::Resource {
            url: RESOURCE_INFO,
            resource_type: kind,
            resource_name: &resource.name,
            owner: "",
            description,
        }
    });
    let field = subject.and_then(|subject| subject.field.as_deref());
    let request = field.map(|field| Detail::Request {
        url: BAD_REQUEST,
        field_violations: [Violation {
            field,
            description: error.message(),
        }],
    });
    let help = row.help.map(|url| Detail::Help {
        url: HELP,
        links: [Link {
            url,
            description: HELP_DESCRIPTION,
        }],
    });
    let all = [Some(info), resource, request, help];
    all.into_iter().flatten().collect()
}
