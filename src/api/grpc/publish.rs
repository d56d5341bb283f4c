//! `PublishEvent`, `BulkPublishEvent` and `BulkPublishEventAlpha1`.

use std::sync::Arc;

use dapr::dapr::proto::runtime::v1 as proto;
use tonic::{Request, Response, Status};

use super::status;
use crate::blocks::publish::{Entry, FailedEntry, Message, Publish, Target, Trace};

/// Answers once the broker has the message.
pub(super) async fn single(
    publish: Arc<Publish>,
    request: Request<proto::PublishEventRequest>,
) -> Result<Response<()>, Status> {
    let trace = trace(&request);
    let event = request.into_inner();
    let target = Target {
        pubsub: &event.pubsub_name,
        topic: &event.topic,
        metadata: &event.metadata.into_iter().collect(),
        trace: &trace,
    };
    let message = Message {
        data: event.data.into(),
        content_type: event.data_content_type,
    };
    let answer = publish.one(&target, message).await;
    answer.map_err(|error| status::failure(&error))?;
    Ok(Response::new(()))
}

/// Answers with the messages that the broker does not have.
pub(super) async fn bulk(
    publish: Arc<Publish>,
    request: Request<proto::BulkPublishRequest>,
) -> Result<Response<proto::BulkPublishResponse>, Status> {
    let trace = trace(&request);
    let bulk = request.into_inner();
    let target = Target {
        pubsub: &bulk.pubsub_name,
        topic: &bulk.topic,
        metadata: &bulk.metadata.into_iter().collect(),
        trace: &trace,
    };
    let entries = bulk.entries.into_iter().map(entry).collect();
    let answer = publish.many(&target, entries).await;
    let failed = answer.map_err(|error| status::failure(&error))?;
    let failed_entries = failed.into_iter().map(failed_entry).collect();
    Ok(Response::new(proto::BulkPublishResponse { failed_entries }))
}

fn entry(entry: proto::BulkPublishRequestEntry) -> Entry {
    Entry {
        id: entry.entry_id,
        message: Message {
            data: entry.event.into(),
            content_type: entry.content_type,
        },
        metadata: entry.metadata.into_iter().collect(),
    }
}

fn failed_entry(entry: FailedEntry) -> proto::BulkPublishResponseFailedEntry {
    let FailedEntry { entry_id, error } = entry;
    proto::BulkPublishResponseFailedEntry { entry_id, error }
}

fn trace<M>(request: &Request<M>) -> Trace {
    Trace::of(&request.metadata().clone().into_headers())
}
