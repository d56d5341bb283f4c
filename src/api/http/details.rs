//! The details of a failure, as Dapr's newer APIs give them: the messages of `google.rpc` in JSON.

use serde::Serialize;

use crate::api::status::{DETAIL_DOMAIN, ERROR_INFO, PUBSUB_RESOURCE, RESOURCE_INFO, Row};
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
        metadata: Option<Metadata<'a>>,
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
}

#[derive(Serialize)]
pub(super) struct Metadata<'a> {
    topic: &'a str,
}

/// The details of a failure; none where its row has none.
pub(super) fn of<'a>(error: &'a Error, row: &Row) -> Vec<Detail<'a>> {
    let Some(reason) = row.detail else {
        return Vec::new();
    };
    let subject = error.subject();
    let topic = subject.map(|subject| subject.topic.as_str());
    let topic = topic.filter(|topic| !topic.is_empty());
    let info = Detail::Error {
        url: ERROR_INFO,
        domain: DETAIL_DOMAIN,
        reason,
        metadata: topic.map(|topic| Metadata { topic }),
    };
    let resource = subject.map(|subject| Detail::Resource {
        url: RESOURCE_INFO,
        resource_type: PUBSUB_RESOURCE,
        resource_name: &subject.pubsub,
        owner: "",
        description: error.message(),
    });
    std::iter::once(info).chain(resource).collect()
}
