//! Calls to an app that speaks gRPC.

use std::error::Error as _;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use dapr::dapr::proto::common::v1::InvokeRequest;
use dapr::dapr::proto::runtime::v1::app_callback_client::AppCallbackClient;
use dapr::dapr::proto::runtime::v1::app_callback_health_check_client::AppCallbackHealthCheckClient;
use http::uri::PathAndQuery;
use http::{HeaderMap, Request, Response};
use http_body_util::BodyExt as _;
use tonic::Status;
use tonic::client::Grpc;
use tonic::metadata::MetadataMap;
use tonic_prost::ProstCodec;
use tower::Service;

use super::{AppBody, AppChannel, Error, RequestBody, Road};
use crate::proto::grpc_answer::{GrpcAnswer, GrpcFailure};

pub(super) async fn invoke(
    channel: &AppChannel,
    headers: HeaderMap,
    message: InvokeRequest,
) -> Result<GrpcAnswer, Error> {
    let most = channel.config().max_body_bytes;
    let mut client = AppCallbackClient::new(GrpcRoad::new(channel, Road::InvokeGrpc))
        .max_decoding_message_size(most);
    let metadata = MetadataMap::from_headers(headers);
    let request = tonic::Request::from_parts(metadata, tonic::Extensions::default(), message);
    let (metadata, outcome) = match client.on_invoke(request).await {
        Ok(response) => {
            let (metadata, message, _) = response.into_parts();
            (metadata, Ok(message))
        }
        Err(status) => {
            let failure = failure(&status);
            (own_failure(status)?, Err(failure))
        }
    };
    let headers = metadata.into_headers();
    Ok(GrpcAnswer { headers, outcome })
}

/// A call with one message each way. The inner error is a status that the app gave.
pub(super) async fn callback<M, R>(
    channel: &AppChannel,
    (road, path): (Road, &'static str),
    headers: HeaderMap,
    message: M,
) -> Result<Result<R, GrpcFailure>, Error>
where
    M: prost::Message + Send + Sync + 'static,
    R: prost::Message + Default + Send + Sync + 'static,
{
    let metadata = MetadataMap::from_headers(headers);
    let request = tonic::Request::from_parts(metadata, tonic::Extensions::default(), message);
    let most = channel.config().max_body_bytes;
    let mut client = Grpc::new(GrpcRoad::new(channel, road)).max_decoding_message_size(most);
    let path = PathAndQuery::from_static(path);
    let codec = ProstCodec::<M, R>::default();
    match client.unary(request, path, codec).await {
        Ok(answer) => Ok(Ok(answer.into_inner())),
        Err(status) => {
            let failure = failure(&status);
            own_failure(status).map(|_| Err(failure))
        }
    }
}

fn failure(status: &Status) -> GrpcFailure {
    GrpcFailure {
        code: status.code() as i32,
        message: status.message().to_owned(),
        details: Bytes::copy_from_slice(status.details()),
    }
}

/// Asks for the health of the app. An app without the service is not healthy, as in Dapr.
pub(super) async fn probe(channel: &AppChannel) -> Result<(), String> {
    let road = GrpcRoad::new(channel, Road::HealthProbeGrpc);
    let answer = AppCallbackHealthCheckClient::new(road)
        .health_check(())
        .await;
    answer.map(drop).map_err(|status| status.to_string())
}

/// The metadata of a status that the app gave; an error where the call itself failed.
fn own_failure(status: Status) -> Result<MetadataMap, Error> {
    match status
        .source()
        .and_then(|cause| cause.downcast_ref::<Error>())
    {
        Some(error) => Err(*error),
        None => Ok(status.metadata().clone()),
    }
}

/// One call, as the transport of a generated client.
struct GrpcRoad {
    channel: AppChannel,
    road: Road,
}

impl GrpcRoad {
    fn new(channel: &AppChannel, road: Road) -> Self {
        let channel = channel.clone();
        Self { channel, road }
    }
}

impl Service<Request<tonic::body::Body>> for GrpcRoad {
    type Response = Response<AppBody>;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<tonic::body::Body>) -> Self::Future {
        let (channel, road) = (self.channel.clone(), self.road);
        let request = request.map(|body| RequestBody::new(body.map_err(Into::into)));
        Box::pin(async move { channel.send(road, request).await })
    }
}
