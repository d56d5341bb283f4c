//! A gRPC application that writes down what it is asked.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use dapr::dapr::proto::common::v1::{InvokeRequest, InvokeResponse};
use dapr::dapr::proto::runtime::v1::app_callback_health_check_server::{
    AppCallbackHealthCheck, AppCallbackHealthCheckServer,
};
use dapr::dapr::proto::runtime::v1::app_callback_server::{AppCallback, AppCallbackServer};
use dapr::dapr::proto::runtime::v1::{
    BindingEventRequest, BindingEventResponse, HealthCheckResponse, JobEventRequest,
    JobEventResponse, ListInputBindingsResponse, ListTopicSubscriptionsResponse,
    TopicEventBulkRequest, TopicEventBulkResponse, TopicEventRequest, TopicEventResponse,
};
use hyper_util::service::TowerToHyperService;
use tokio::task::JoinSet;
use tonic::metadata::MetadataMap;
use tonic::service::Routes;
use tonic::{Request, Response, Status};

use super::listening::listen;
use crate::process::serve::Plain;

/// A call as the application got it.
#[derive(Clone, Debug)]
pub struct RecordedCall {
    /// The name of the method of the gRPC service.
    pub rpc: &'static str,
    /// Its metadata.
    pub metadata: MetadataMap,
    /// The message of `OnInvoke`.
    pub message: Option<InvokeRequest>,
}

impl RecordedCall {
    /// All values of a key.
    pub fn values(&self, key: &str) -> Vec<&str> {
        let values = self.metadata.get_all(key).into_iter();
        values.map(|value| value.to_str().unwrap()).collect()
    }
}

type Answer =
    dyn Fn(&RecordedCall) -> Result<Response<InvokeResponse>, Status> + Send + Sync + 'static;

/// A gRPC application (cleartext) on a free port of 127.0.0.1. It is healthy, and ends when it is
/// dropped.
#[derive(Debug)]
pub struct FakeGrpcApp {
    address: SocketAddr,
    recorded: Arc<Mutex<Vec<RecordedCall>>>,
    _task: JoinSet<()>,
}

impl FakeGrpcApp {
    /// Answers `OnInvoke` with what `answer` makes of a call.
    pub async fn answering<F>(answer: F) -> Self
    where
        F: Fn(&RecordedCall) -> Result<Response<InvokeResponse>, Status> + Send + Sync + 'static,
    {
        Self::start(answer, || {
            Err(Status::unimplemented("not served by this app"))
        })
        .await
    }

    /// Answers `ListTopicSubscriptions` with what `list` hands back at that moment.
    pub async fn subscribing<F>(list: F) -> Self
    where
        F: Fn() -> Result<ListTopicSubscriptionsResponse, Status> + Send + Sync + 'static,
    {
        Self::start(|_| unimplemented(), list).await
    }

    async fn start<F, L>(answer: F, list: L) -> Self
    where
        F: Fn(&RecordedCall) -> Result<Response<InvokeResponse>, Status> + Send + Sync + 'static,
        L: Fn() -> Result<ListTopicSubscriptionsResponse, Status> + Send + Sync + 'static,
    {
        let recorded = Arc::default();
        let callbacks = Callbacks {
            recorded: Arc::clone(&recorded),
            answer: Arc::new(answer),
            list: Arc::new(list),
        };
        let routes = Routes::new(AppCallbackServer::new(callbacks.clone()))
            .add_service(AppCallbackHealthCheckServer::new(callbacks))
            .prepare()
            .into_axum_router();
        let (address, task) = listen(Plain, TowerToHyperService::new(routes)).await;
        Self {
            address,
            recorded,
            _task: task,
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it was asked so far, in order.
    pub fn recorded(&self) -> Vec<RecordedCall> {
        self.recorded.lock().unwrap().clone()
    }
}

/// What an app answers when it is asked what it subscribes to.
type List = dyn Fn() -> Result<ListTopicSubscriptionsResponse, Status> + Send + Sync + 'static;

#[derive(Clone)]
struct Callbacks {
    recorded: Arc<Mutex<Vec<RecordedCall>>>,
    answer: Arc<Answer>,
    list: Arc<List>,
}

impl Callbacks {
    fn record(&self, call: RecordedCall) {
        self.recorded.lock().unwrap().push(call);
    }
}

#[tonic::async_trait]
impl AppCallbackHealthCheck for Callbacks {
    async fn health_check(
        &self,
        request: Request<()>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        self.record(RecordedCall {
            rpc: "HealthCheck",
            metadata: request.metadata().clone(),
            message: None,
        });
        Ok(Response::new(HealthCheckResponse::default()))
    }
}

fn unimplemented<T>() -> Result<Response<T>, Status> {
    Err(Status::unimplemented("not served by this app"))
}

#[tonic::async_trait]
impl AppCallback for Callbacks {
    async fn on_invoke(
        &self,
        request: Request<InvokeRequest>,
    ) -> Result<Response<InvokeResponse>, Status> {
        let (metadata, _, message) = request.into_parts();
        let call = RecordedCall {
            rpc: "OnInvoke",
            metadata,
            message: Some(message),
        };
        let answer = (self.answer)(&call);
        self.record(call);
        answer
    }

    async fn list_topic_subscriptions(
        &self,
        request: Request<()>,
    ) -> Result<Response<ListTopicSubscriptionsResponse>, Status> {
        self.record(RecordedCall {
            rpc: "ListTopicSubscriptions",
            metadata: request.metadata().clone(),
            message: None,
        });
        (self.list)().map(Response::new)
    }

    async fn on_topic_event(
        &self,
        request: Request<TopicEventRequest>,
    ) -> Result<Response<TopicEventResponse>, Status> {
        self.record(RecordedCall {
            rpc: "OnTopicEvent",
            metadata: request.metadata().clone(),
            message: None,
        });
        Ok(Response::new(TopicEventResponse::default()))
    }

    async fn list_input_bindings(
        &self,
        request: Request<()>,
    ) -> Result<Response<ListInputBindingsResponse>, Status> {
        self.record(RecordedCall {
            rpc: "ListInputBindings",
            metadata: request.metadata().clone(),
            message: None,
        });
        Ok(Response::new(ListInputBindingsResponse::default()))
    }

    async fn on_binding_event(
        &self,
        request: Request<BindingEventRequest>,
    ) -> Result<Response<BindingEventResponse>, Status> {
        self.record(RecordedCall {
            rpc: "OnBindingEvent",
            metadata: request.metadata().clone(),
            message: None,
        });
        Ok(Response::new(BindingEventResponse::default()))
    }

    async fn on_bulk_topic_event(
        &self,
        request: Request<TopicEventBulkRequest>,
    ) -> Result<Response<TopicEventBulkResponse>, Status> {
        self.record(RecordedCall {
            rpc: "OnBulkTopicEvent",
            metadata: request.metadata().clone(),
            message: None,
        });
        Ok(Response::new(TopicEventBulkResponse::default()))
    }

    async fn on_job_event(
        &self,
        _: Request<JobEventRequest>,
    ) -> Result<Response<JobEventResponse>, Status> {
        unimplemented()
    }
}
