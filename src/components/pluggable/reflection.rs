//! Asks a socket which services it has.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::stream::{self, StreamExt as _};
use http::uri::PathAndQuery;
use tokio::time::timeout;
use tonic::{Code, Status};

use super::line::{Broken, Line, Wire, is_unknown_method};
use super::scrub::Scrubber;
use super::service::Service;
use super::socket::Socket;
use crate::proto::reflection::{ServerReflectionRequest, ServerReflectionResponse, V1, V1ALPHA};

/// How long a socket may take to answer. It is below the time of an init, so that what is told is
/// that the socket does not answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);

/// The services of a socket that are components, and the names of all.
pub(super) struct Services {
    pub(super) known: BTreeSet<Service>,
    pub(super) names: Vec<String>,
}

/// Asks over a connection of its own.
pub(super) async fn services(socket: &Socket) -> Result<Services, Broken> {
    let asking = async {
        socket
            .check()
            .await
            .map_err(|error| Broken(error.to_string()))?;
        let mut line = Line::connect(&socket.path, None).await?;
        let wire = line.wire.clone();
        line.during(names(&wire)).await
    };
    let names = timeout(ANSWER_TIMEOUT, asking).await.map_err(|_| {
        Broken(format!(
            "it did not say within {ANSWER_TIMEOUT:?} which services it has"
        ))
    })??;
    let is_known = |service: &Service| names.iter().any(|name| name == service.name());
    Ok(Services {
        known: Service::ALL.into_iter().filter(is_known).collect(),
        names,
    })
}

/// In the older version, which Dapr asks in, and where that is gone in the newer.
async fn names(wire: &Wire) -> Result<Vec<String>, Broken> {
    let answer = match list(wire, V1ALPHA).await {
        Err(status) if is_unknown_method(&status) => list(wire, V1).await,
        answer => answer,
    };
    answer.map_err(|status| {
        // No settings were sent, so that none can come back.
        let text = Scrubber::new(std::iter::empty()).clean(status.message());
        Broken(format!(
            "it does not tell its services by gRPC reflection: {text}"
        ))
    })
}

async fn list(wire: &Wire, path: &'static str) -> Result<Vec<String>, Status> {
    let question = ServerReflectionRequest {
        host: String::new(),
        list_services: Some("*".to_owned()),
    };
    // The stream stays open, as some servers end when it ends.
    let questions = stream::iter([question]).chain(stream::pending());
    let mut answers = wire
        .streaming::<_, ServerReflectionResponse>(PathAndQuery::from_static(path), questions)
        .await?;
    let answer = answers.message().await?.unwrap_or_default();
    match (answer.list_services_response, answer.error_response) {
        (Some(list), _) => Ok(list
            .service
            .into_iter()
            .map(|service| service.name)
            .collect()),
        (None, Some(error)) => Err(Status::new(
            Code::from(error.error_code),
            error.error_message,
        )),
        (None, None) => Err(Status::internal("the answer is empty")),
    }
}
