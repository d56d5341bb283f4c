//! The SDK's stubs, for what its client lacks; and with them a subscription by stream.

use std::sync::Arc;

use dapr::client::{ApiTokenInterceptor, ClientOptions};
use dapr::dapr::proto::runtime::v1::dapr_client::DaprClient;
use dapr::dapr::proto::runtime::v1::subscribe_topic_events_request_alpha1 as asked;
use dapr::dapr::proto::runtime::v1::subscribe_topic_events_response_alpha1 as told;
use dapr::dapr::proto::runtime::v1::topic_event_response::TopicEventResponseStatus as Answer;
use dapr::dapr::proto::runtime::v1::{
    SubscribeTopicEventsRequestAlpha1, SubscribeTopicEventsRequestInitialAlpha1,
    SubscribeTopicEventsRequestProcessedAlpha1, SubscribeTopicEventsResponseAlpha1,
    TopicEventRequest, TopicEventResponse,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Status, Streaming};

use crate::app::PUBSUB;
use crate::inbox::Inbox;
use crate::report::Failure;

/// The stubs of a client.
pub(crate) type Stubs = DaprClient<InterceptedService<Channel, ApiTokenInterceptor>>;

/// Connects stubs as the SDK connects a client.
pub(crate) async fn connect(token: Option<&str>) -> Result<Stubs, Failure> {
    let address = ClientOptions::from_env()?.address().to_owned();
    let channel = Endpoint::from_shared(address)?.connect().await?;
    let interceptor = ApiTokenInterceptor::new(token.map(str::to_owned));
    Ok(DaprClient::with_interceptor(channel, interceptor))
}

/// A subscription by stream.
pub(crate) struct Subscription {
    answers: mpsc::Sender<SubscribeTopicEventsRequestAlpha1>,
    responses: Streaming<SubscribeTopicEventsResponseAlpha1>,
}

/// Subscribes to a topic. The outer error is of the test, the inner one what the sidecar says.
pub(crate) async fn subscribe(stubs: &mut Stubs, topic: &str) -> Result<Subscription, Status> {
    let (answers, all) = mpsc::channel(1);
    let first = asked::SubscribeTopicEventsRequestType::InitialRequest(
        SubscribeTopicEventsRequestInitialAlpha1 {
            pubsub_name: PUBSUB.to_owned(),
            topic: topic.to_owned(),
            ..Default::default()
        },
    );
    let is_sent = answers.try_send(SubscribeTopicEventsRequestAlpha1 {
        subscribe_topic_events_request_type: Some(first),
    });
    is_sent.map_err(|error| Status::internal(error.to_string()))?;
    let mut responses = stubs
        .subscribe_topic_events_alpha1(ReceiverStream::new(all))
        .await?
        .into_inner();
    match next(&mut responses).await? {
        told::SubscribeTopicEventsResponseType::InitialResponse(_) => {}
        other => return Err(Status::internal(format!("first came {other:?}"))),
    }
    Ok(Subscription { answers, responses })
}

impl Subscription {
    /// Answers what comes, as long as something does. The second message is refused once.
    pub(crate) async fn answer(mut self, inbox: Arc<Inbox>) -> Result<(), Failure> {
        loop {
            let told::SubscribeTopicEventsResponseType::EventMessage(event) =
                next(&mut self.responses).await?
            else {
                continue;
            };
            let which = inbox.put("streamed", &event);
            let answer = match which {
                _ if event.data == b"drop" => Answer::Drop,
                2 => Answer::Retry,
                _ => Answer::Success,
            };
            self.answers.send(processed(&event, answer)).await?;
        }
    }
}

async fn next(
    responses: &mut Streaming<SubscribeTopicEventsResponseAlpha1>,
) -> Result<told::SubscribeTopicEventsResponseType, Status> {
    let response = responses.message().await?;
    response
        .and_then(|response| response.subscribe_topic_events_response_type)
        .ok_or_else(|| Status::internal("the stream ended"))
}

fn processed(event: &TopicEventRequest, answer: Answer) -> SubscribeTopicEventsRequestAlpha1 {
    let processed = SubscribeTopicEventsRequestProcessedAlpha1 {
        id: event.id.clone(),
        status: Some(TopicEventResponse {
            status: answer.into(),
        }),
    };
    SubscribeTopicEventsRequestAlpha1 {
        subscribe_topic_events_request_type: Some(
            asked::SubscribeTopicEventsRequestType::EventProcessed(processed),
        ),
    }
}
