//! Requests for Secrets to the API server. Limits on time and retries are those of `Guarded`.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use kube::client::Body;
use tokio::sync::OnceCell;

use super::wire::Failure;
use crate::components::retry_after::retry_after;
use crate::process::kubernetes::{Access, Cluster, ConnectError};
use crate::process::tasks::with_causes;

/// How many Secrets one page has, as kubectl asks for.
const PAGE_ITEMS: &str = "500";

/// Why there is no Secret. The texts are for operators.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failed {
    /// It is not there.
    #[error("not found")]
    NotFound,
    /// RBAC does not allow it.
    #[error("{0}")]
    Forbidden(String),
    /// The page cannot be had any more: its list is too old.
    #[error("the list expired while it was read")]
    Expired,
    /// The answer is larger than its limit.
    #[error("the answer has more than {limit} bytes")]
    TooLarge { limit: usize },
    /// The credentials are not accepted.
    #[error("the API server does not accept the credentials: {0}")]
    Unauthenticated(String),
    /// The server cannot be reached or is busy.
    #[error("{text}")]
    Unavailable {
        text: String,
        retry_after: Option<Duration>,
    },
    /// Everything else.
    #[error("{0}")]
    Other(String),
}

/// The API server. Its client is made when it is first asked, since most apps never ask.
pub(super) struct ApiServer {
    access: Access,
    cluster: OnceCell<Cluster>,
}

impl ApiServer {
    pub(super) fn new(access: Access) -> Self {
        Self {
            access,
            cluster: OnceCell::new(),
        }
    }

    /// One Secret, as JSON. Both names have to be names of Kubernetes, of which no part of a URL
    /// but a segment can be made.
    pub(super) async fn secret(
        &self,
        namespace: &str,
        name: &str,
        limit: usize,
    ) -> Result<Bytes, Failed> {
        let path = format!("/api/v1/namespaces/{namespace}/secrets/{name}");
        self.get(&path, limit).await
    }

    /// One page of the Secrets of a namespace, as JSON.
    pub(super) async fn page(
        &self,
        namespace: &str,
        from: Option<&str>,
        limit: usize,
    ) -> Result<Bytes, Failed> {
        let query = form_urlencoded::Serializer::new(String::new())
            .append_pair("limit", PAGE_ITEMS)
            .extend_pairs(from.map(|from| ("continue", from)))
            .finish();
        let path = format!("/api/v1/namespaces/{namespace}/secrets?{query}");
        self.get(&path, limit).await
    }

    async fn get(&self, path: &str, limit: usize) -> Result<Bytes, Failed> {
        let other = |error: &dyn std::error::Error| Failed::Other(with_causes(error));
        let unreachable = |error: &dyn std::error::Error| Failed::Unavailable {
            text: with_causes(error),
            retry_after: None,
        };
        let cluster = self.cluster().await.map_err(|error| other(&error))?;
        let request = Request::get(path)
            .body(Body::empty())
            .map_err(|error| other(&error))?;
        let sent = cluster.client.send(request).await;
        let (head, body) = sent.map_err(|error| unreachable(&error))?.into_parts();
        let body = match Limited::new(body, limit).collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) if error.is::<LengthLimitError>() => return Err(Failed::TooLarge { limit }),
            Err(error) => return Err(unreachable(error.as_ref())),
        };
        if head.status == StatusCode::OK {
            return Ok(body);
        }
        let Failure { message } = serde_json::from_slice(&body).unwrap_or_default();
        Err(match head.status {
            StatusCode::NOT_FOUND => Failed::NotFound,
            StatusCode::FORBIDDEN => Failed::Forbidden(message),
            StatusCode::GONE => Failed::Expired,
            StatusCode::UNAUTHORIZED => Failed::Unauthenticated(message),
            status => {
                let text = format!("the API server answered {status}: {message}");
                if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
                    let retry_after = retry_after(&head.headers);
                    Failed::Unavailable { text, retry_after }
                } else {
                    Failed::Other(text)
                }
            }
        })
    }

    /// The client, made now if it is not there yet.
    pub(super) async fn cluster(&self) -> Result<&Cluster, ConnectError> {
        let connect = || Cluster::connect_without_retries(&self.access);
        self.cluster.get_or_try_init(connect).await
    }
}
