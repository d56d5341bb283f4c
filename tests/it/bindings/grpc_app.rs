//! A gRPC app that has input bindings.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use dapr::dapr::proto::common::v1::{InvokeRequest, InvokeResponse};
use dapr::dapr::proto::runtime::v1::app_callback_server::{AppCallback, AppCallbackServer};
use dapr::dapr::proto::runtime::v1::{
    BindingEventRequest, BindingEventResponse, JobEventRequest, JobEventResponse,
    ListInputBindingsResponse, ListTopicSubscriptionsResponse, TopicEventBulkRequest,
    TopicEventBulkResponse, TopicEventRequest, TopicEventResponse,
};
use hyper_util::service::TowerToHyperService;
use sidegate::process::serve::Plain;
use sidegate::testing::listening::listen;
use tokio::task::JoinSet;
use tonic::metadata::MetadataMap;
use tonic::service::Routes;
use tonic::{Request, Response, Status};

/// An event as the app got it, or without one the question for its bindings.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) event: Option<BindingEventRequest>,
    pub(super) metadata: MetadataMap,
}

/// The app. It ends when it is dropped.
pub(super) struct GrpcApp {
    pub(super) address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    _task: JoinSet<()>,
}

impl GrpcApp {
    /// Wants the events of `bindings`, and fails the first `failures` questions for them.
    pub(super) async fn wanting(
        bindings: &[&str],
        failures: usize,
        answer: BindingEventResponse,
    ) -> Self {
        let seen = Arc::default();
        let callbacks = Callbacks {
            bindings: bindings.iter().map(ToString::to_string).collect(),
            failures,
            answer,
            seen: Arc::clone(&seen),
        };
        let routes = Routes::new(AppCallbackServer::new(callbacks))
            .prepare()
            .into_axum_router();
        let (address, task) = listen(Plain, TowerToHyperService::new(routes)).await;
        Self {
            address,
            seen,
            _task: task,
        }
    }

    /// What it was asked so far.
    pub(super) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// The events that it got so far.
    pub(super) fn events(&self) -> Vec<BindingEventRequest> {
        self.seen()
            .into_iter()
            .filter_map(|one| one.event)
            .collect()
    }
}

struct Callbacks {
    bindings: Vec<String>,
    failures: usize,
    answer: BindingEventResponse,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Callbacks {
    /// How often it was asked before.
    fn see(&self, event: Option<BindingEventRequest>, metadata: &MetadataMap) -> usize {
        let mut seen = self.seen.lock().unwrap();
        let metadata = metadata.clone();
        seen.push(Seen { event, metadata });
        seen.len() - 1
    }
}

fn unimplemented<T>() -> Result<Response<T>, Status> {
    Err(Status::unimplemented("not served by this app"))
}

#[tonic::async_trait]
impl AppCallback for Callbacks {
    async fn list_input_bindings(
        &self,
        request: Request<()>,
    ) -> Result<Response<ListInputBindingsResponse>, Status> {
        if self.see(None, request.metadata()) < self.failures {
            return Err(Status::unavailable("not yet"));
        }
        let bindings = self.bindings.clone();
        Ok(Response::new(ListInputBindingsResponse { bindings }))
    }

    async fn on_binding_event(
        &self,
        request: Request<BindingEventRequest>,
    ) -> Result<Response<BindingEventResponse>, Status> {
        let (metadata, _, event) = request.into_parts();
        self.see(Some(event), &metadata);
        Ok(Response::new(self.answer.clone()))
    }

    async fn on_invoke(
        &self,
        _: Request<InvokeRequest>,
    ) -> Result<Response<InvokeResponse>, Status> {
        unimplemented()
    }

    async fn list_topic_subscriptions(
        &self,
        _: Request<()>,
    ) -> Result<Response<ListTopicSubscriptionsResponse>, Status> {
        unimplemented()
    }

    async fn on_topic_event(
        &self,
        _: Request<TopicEventRequest>,
    ) -> Result<Response<TopicEventResponse>, Status> {
        unimplemented()
    }

    async fn on_bulk_topic_event(
        &self,
        _: Request<TopicEventBulkRequest>,
    ) -> Result<Response<TopicEventBulkResponse>, Status> {
        unimplemented()
    }

    async fn on_job_event(
        &self,
        _: Request<JobEventRequest>,
    ) -> Result<Response<JobEventResponse>, Status> {
        unimplemented()
    }
}
