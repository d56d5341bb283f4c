//! The application that the sidecar sends messages to.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use dapr::appcallback::{
    BindingEventRequest, BindingEventResponse, InvokeRequest, InvokeResponse, JobEventRequest,
    JobEventResponse, ListInputBindingsResponse, ListTopicSubscriptionsResponse,
    TopicEventBulkRequest, TopicEventBulkResponse, TopicEventRequest, TopicEventResponse,
    TopicSubscription,
};
use dapr::client::AppApiTokenLayer;
use dapr::dapr::proto::runtime::v1::app_callback_server::{AppCallback, AppCallbackServer};
use dapr::dapr::proto::runtime::v1::topic_event_bulk_request_entry::Event as Entry;
use dapr::dapr::proto::runtime::v1::topic_event_response::TopicEventResponseStatus as Status;
use dapr::dapr::proto::runtime::v1::{
    BulkSubscribeConfig, TopicEventBulkResponseEntry, TopicEventCeRequest, TopicRoutes, TopicRule,
};
use prost_types::Any;
use tonic::metadata::MetadataMap;
use tonic::transport::Server;
use tonic::{Request, Response};

use crate::inbox::Inbox;
use crate::report::Failure;

/// The pub/sub component.
pub(crate) const PUBSUB: &str = "pubsub";
/// What the application subscribes to.
pub(crate) const TOPICS: [&str; 5] = ["orders", "many", "retried", "refused", "dead"];

/// An application: the SDK's own has no input bindings.
#[derive(Clone, Default)]
pub(crate) struct App {
    /// What arrived.
    pub(crate) inbox: Arc<Inbox>,
    /// Each call, and whether the app's token came with it, and no other.
    calls: Arc<Mutex<Vec<(&'static str, bool)>>>,
}

impl App {
    /// Serves to the end of the program.
    pub(crate) async fn serve(self) -> Result<(), Failure> {
        let port = std::env::var("APP_PORT")?.parse()?;
        Server::builder()
            .layer(AppApiTokenLayer::from_env())
            .add_service(AppCallbackServer::new(self))
            .serve(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
            .await?;
        Ok(())
    }

    /// The calls so far.
    pub(crate) fn calls(&self) -> Vec<(&'static str, bool)> {
        self.calls
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn note(&self, call: &'static str, metadata: &MetadataMap) {
        let own = std::env::var("APP_API_TOKEN").unwrap_or_default();
        let tokens: Vec<_> = metadata.get_all("dapr-api-token").iter().collect();
        let is_own = tokens.len() == 1 && tokens.iter().all(|token| **token == own.as_str());
        self.calls
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push((call, is_own));
    }
}

type Answer<T> = Result<Response<T>, tonic::Status>;

/// An event of several, as one that comes alone.
fn alone(event: TopicEventCeRequest) -> TopicEventRequest {
    TopicEventRequest {
        source: event.source,
        r#type: event.r#type,
        data_content_type: event.data_content_type,
        data: event.data,
        ..Default::default()
    }
}

#[tonic::async_trait]
impl AppCallback for App {
    async fn list_topic_subscriptions(
        &self,
        request: Request<()>,
    ) -> Answer<ListTopicSubscriptionsResponse> {
        self.note("ListTopicSubscriptions", request.metadata());
        let subscription = |topic: &str| {
            let rule = TopicRule {
                r#match: "event.type == \"urgent\"".to_owned(),
                path: "urgent".to_owned(),
            };
            TopicSubscription {
                routes: Some(TopicRoutes {
                    rules: if topic == "orders" {
                        vec![rule]
                    } else {
                        Vec::new()
                    },
                    default: topic.to_owned(),
                }),
                bulk_subscribe: (topic == "many").then_some(BulkSubscribeConfig {
                    enabled: true,
                    max_messages_count: 10,
                    max_await_duration_ms: 10,
                }),
                dead_letter_topic: if topic == "refused" { "dead" } else { "" }.to_owned(),
                ..TopicSubscription::new(PUBSUB.to_owned(), topic.to_owned(), None)
            }
        };
        let subscriptions = TOPICS.into_iter().map(subscription).collect();
        Ok(Response::new(ListTopicSubscriptionsResponse {
            subscriptions,
        }))
    }

    async fn on_topic_event(
        &self,
        request: Request<TopicEventRequest>,
    ) -> Answer<TopicEventResponse> {
        self.note("OnTopicEvent", request.metadata());
        let event = request.into_inner();
        let status = match (event.path.as_str(), self.inbox.put(&event.path, &event)) {
            ("retried", 1) => Status::Retry,
            ("refused", 1..) => Status::Drop,
            _ => Status::Success,
        };
        Ok(Response::new(TopicEventResponse {
            status: status.into(),
        }))
    }

    async fn list_input_bindings(&self, request: Request<()>) -> Answer<ListInputBindingsResponse> {
        self.note("ListInputBindings", request.metadata());
        Ok(Response::new(ListInputBindingsResponse::binding(
            "tick".to_owned(),
        )))
    }

    async fn on_binding_event(
        &self,
        request: Request<BindingEventRequest>,
    ) -> Answer<BindingEventResponse> {
        self.note("OnBindingEvent", request.metadata());
        self.inbox
            .put(&request.into_inner().name, &TopicEventRequest::default());
        Ok(Response::new(BindingEventResponse::default()))
    }

    async fn on_bulk_topic_event(
        &self,
        request: Request<TopicEventBulkRequest>,
    ) -> Answer<TopicEventBulkResponse> {
        self.note("OnBulkTopicEvent", request.metadata());
        let request = request.into_inner();
        let path = &request.path;
        let statuses = request.entries.into_iter().map(|entry| {
            let status = match entry.event {
                Some(Entry::CloudEvent(event)) => {
                    self.inbox.put(path, &alone(event));
                    Status::Success
                }
                _ => Status::Drop,
            };
            TopicEventBulkResponseEntry {
                entry_id: entry.entry_id,
                status: status.into(),
            }
        });
        let statuses = statuses.collect();
        Ok(Response::new(TopicEventBulkResponse { statuses }))
    }

    async fn on_invoke(&self, request: Request<InvokeRequest>) -> Answer<InvokeResponse> {
        self.note("OnInvoke", request.metadata());
        let body = request.into_inner().data.unwrap_or_default().value;
        let value = [br#"{"body":"#.as_slice(), &body, b"}"].concat();
        Ok(Response::new(InvokeResponse {
            data: Some(Any {
                value,
                ..Any::default()
            }),
            content_type: "application/json".to_owned(),
            ..Default::default()
        }))
    }

    async fn on_job_event(&self, _: Request<JobEventRequest>) -> Answer<JobEventResponse> {
        Err(tonic::Status::unimplemented("this application has none"))
    }
}
