//! `GetConfiguration`, `SubscribeConfiguration` and `UnsubscribeConfiguration`.

use std::sync::Arc;

use dapr::dapr::proto::common::v1::ConfigurationItem;
use dapr::dapr::proto::runtime::v1 as proto;
use futures_util::{Stream, StreamExt as _, stream};
use hyper::body::Incoming;
use tonic::body::Body;
use tonic::server::Grpc;
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;

use super::status;
use crate::blocks::configuration::{Configurations, Item, Session};

type Wanted = proto::SubscribeConfigurationRequest;
type Told = proto::SubscribeConfigurationResponse;

/// Items by key.
pub(super) async fn get(
    configurations: &Configurations,
    request: Request<proto::GetConfigurationRequest>,
) -> Result<Response<proto::GetConfigurationResponse>, Status> {
    let request = request.into_inner();
    let metadata = request.metadata.into_iter().collect();
    let items = configurations.get(&request.store_name, request.keys, metadata);
    let items = items.await.map_err(|error| status::failure(&error))?;
    let items = items.into_iter().map(|(key, item)| (key, told(item)));
    let items = items.collect();
    Ok(Response::new(proto::GetConfigurationResponse { items }))
}

/// Serves a stream of changes: first the id of the subscription, then one change a message.
pub(super) async fn subscribe(
    configurations: Arc<Configurations>,
    request: http::Request<Incoming>,
    limit: usize,
) -> http::Response<Body> {
    let service = tower::service_fn(move |request| open(Arc::clone(&configurations), request));
    Grpc::new(ProstCodec::<Told, Wanted>::default())
        .max_decoding_message_size(limit)
        .server_streaming(service, request)
        .await
}

async fn open(
    configurations: Arc<Configurations>,
    request: Request<Wanted>,
) -> Result<Response<impl Stream<Item = Result<Told, Status>>>, Status> {
    let request = request.into_inner();
    let metadata = request.metadata.into_iter().collect();
    let session = configurations.stream(&request.store_name, request.keys, metadata);
    let session = session.await.map_err(|error| status::failure(&error))?;
    let begin = Told {
        id: session.id().to_owned(),
        ..Told::default()
    };
    let changes = stream::unfold(session, next);
    Ok(Response::new(stream::iter([Ok(begin)]).chain(changes)))
}

async fn next(session: Session) -> Option<(Result<Told, Status>, Session)> {
    let (key, item) = session.next().await?;
    let change = Told {
        id: session.id().to_owned(),
        items: [(key, told(item))].into(),
    };
    Some((Ok(change), session))
}

/// Ends a subscription. One that is not there is told in the answer, as in Dapr 1.18.
pub(super) fn unsubscribe(
    configurations: &Configurations,
    request: Request<proto::UnsubscribeConfigurationRequest>,
) -> Response<proto::UnsubscribeConfigurationResponse> {
    let request = request.into_inner();
    let ended = configurations.unsubscribe_any(&request.id);
    let message = ended.as_ref().err().map(ToString::to_string);
    Response::new(proto::UnsubscribeConfigurationResponse {
        ok: ended.is_ok(),
        message: message.unwrap_or_default(),
    })
}

fn told(item: Item) -> ConfigurationItem {
    ConfigurationItem {
        value: item.value,
        version: item.version,
        metadata: item.metadata.into_iter().collect(),
    }
}
