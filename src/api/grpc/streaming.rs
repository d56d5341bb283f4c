//! `SubscribeTopicEventsAlpha1`: messages go out over a stream, and answers come back over it.

use std::sync::Arc;
use std::time::Duration;

use dapr::dapr::proto::runtime::v1 as proto;
use futures_util::{Stream, StreamExt as _, stream};
use hyper::body::Incoming;
use proto::subscribe_topic_events_request_alpha1::SubscribeTopicEventsRequestType as Said;
use proto::subscribe_topic_events_response_alpha1::SubscribeTopicEventsResponseType as Told;
use proto::topic_event_response::TopicEventResponseStatus as Processed;
use tonic::body::Body;
use tonic::server::Grpc;
use tonic::{Request, Response, Status, Streaming as Messages};
use tonic_prost::ProstCodec;

use super::status;
use crate::blocks::subscriptions::Outcome;
use crate::blocks::subscriptions::streaming::{Session, Streaming, Wanted};

/// How long a stream may be open without a word.
const FIRST_MESSAGE: Duration = Duration::from_secs(60);

type ToSidecar = proto::SubscribeTopicEventsRequestAlpha1;
type ToApp = proto::SubscribeTopicEventsResponseAlpha1;

/// Serves a stream whose messages have at most `limit` bytes.
pub(super) async fn serve(
    streaming: Arc<Streaming>,
    request: http::Request<Incoming>,
    limit: usize,
) -> http::Response<Body> {
    let service = tower::service_fn(move |request| open(Arc::clone(&streaming), request));
    Grpc::new(ProstCodec::<ToApp, ToSidecar>::default())
        .max_decoding_message_size(limit)
        .streaming(service, request)
        .await
}

/// A stream that is open: what the app says, and what it gets.
struct Call {
    answers: Messages<ToSidecar>,
    session: Session,
}

async fn open(
    streaming: Arc<Streaming>,
    request: Request<Messages<ToSidecar>>,
) -> Result<Response<impl Stream<Item = Result<ToApp, Status>>>, Status> {
    let mut answers = request.into_inner();
    let first = tokio::time::timeout(FIRST_MESSAGE, answers.message()).await;
    let first = first.map_err(|_| Status::deadline_exceeded("no initial request came"))??;
    let Some(Said::InitialRequest(initial)) = first.and_then(said) else {
        let text = "the first message of a stream has to be an initial request";
        return Err(Status::invalid_argument(text));
    };
    let session = streaming.open(wanted(initial)).await;
    let session = session.map_err(|error| status::failure(&error))?;
    let begin = Told::InitialResponse(proto::SubscribeTopicEventsResponseInitialAlpha1 {});
    let begin = stream::iter([Ok(told(begin))]);
    let events = stream::unfold(Some(Call { answers, session }), step);
    Ok(Response::new(begin.chain(events)))
}

/// The next message of a stream, and the rest of the stream; it ends with the app's side, and after
/// an error.
async fn step(call: Option<Call>) -> Option<(Result<ToApp, Status>, Option<Call>)> {
    let mut call = call?;
    loop {
        let message = tokio::select! {
            event = call.session.next() => {
                let event = told(Told::EventMessage(event?));
                return Some((Ok(event), Some(call)));
            }
            message = call.answers.message() => message,
        };
        match message.map(|message| message.map(said)) {
            Ok(Some(Some(Said::EventProcessed(answer)))) => {
                call.session.answer(&answer.id, outcome(&answer));
            }
            Ok(Some(_)) => {
                let text = "after the first message a stream takes answers to events only";
                return Some((Err(Status::invalid_argument(text)), None));
            }
            Ok(None) => return None,
            Err(status) => return Some((Err(status), None)),
        }
    }
}

fn wanted(initial: proto::SubscribeTopicEventsRequestInitialAlpha1) -> Wanted {
    Wanted {
        pubsub: initial.pubsub_name,
        topic: initial.topic,
        metadata: initial.metadata.into_iter().collect(),
        dead_letter_topic: initial.dead_letter_topic,
    }
}

/// What an answer says. One without a status is a success, as the wire form has it.
fn outcome(answer: &proto::SubscribeTopicEventsRequestProcessedAlpha1) -> Outcome {
    let status = answer.status.unwrap_or_default().status;
    match Processed::try_from(status) {
        Ok(Processed::Success) => Outcome::Success,
        Ok(Processed::Retry) => Outcome::Retry("the stream answered RETRY".to_owned()),
        Ok(Processed::Drop) => Outcome::Drop("the stream answered DROP".to_owned()),
        Err(_) => Outcome::Retry(format!("the stream answered an unknown status, {status}")),
    }
}

fn said(message: ToSidecar) -> Option<Said> {
    message.subscribe_topic_events_request_type
}

fn told(message: Told) -> ToApp {
    ToApp {
        subscribe_topic_events_response_type: Some(message),
    }
}
