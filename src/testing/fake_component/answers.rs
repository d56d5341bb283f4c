//! What a fake component answers to each call.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::Stream;
use futures_util::stream::{self, StreamExt as _};
use http::{Request, Response};
use hyper::body::Incoming;
use tonic::body::Body;
use tonic::server::Grpc;
use tonic::{Status, Streaming};
use tonic_prost::ProstCodec;
use tower::service_fn;

use super::Behaviour;
use super::queue::Session;
use super::state;
use crate::proto::components::bindings::{
    InvokeRequest, InvokeResponse, ListOperationsResponse, ReadRequest, ReadResponse,
};
use crate::proto::components::common::{FeaturesResponse, InitRequest};
use crate::proto::components::pubsub::{
    BulkPublishRequest, BulkPublishResponse, BulkPublishResponseFailedEntry, PublishRequest,
    PullMessagesRequest, PullMessagesResponse,
};
use crate::proto::components::secret_store::{
    BulkGetSecretRequest, BulkGetSecretResponse, GetSecretRequest, GetSecretResponse,
    SecretResponse,
};
use crate::proto::reflection::{
    ListServiceResponse, ServerReflectionRequest, ServerReflectionResponse, ServiceResponse,
};

pub(super) async fn answer(
    behaviour: Arc<Behaviour>,
    path: &str,
    request: Request<Incoming>,
) -> Response<Body> {
    let (service, method) = path.rsplit_once('/').unwrap_or_default();
    match method {
        "ServerReflectionInfo" => reflection(behaviour, request).await,
        "Init" => {
            let init = |init: InitRequest| {
                let settings = init.metadata.unwrap_or_default().properties;
                behaviour.inits.lock().unwrap().push(settings);
                Ok(())
            };
            unary(request, init).await
        }
        "Ping" => unary(request, |()| Ok(())).await,
        "Features" => unary(request, |()| Ok(features(&behaviour))).await,
        method if service.contains("StateStore") || method == "MultiMaxSize" => {
            state::answer(&behaviour.state, method, request).await
        }
        "Publish" => {
            let publish = |message| {
                publish(&behaviour, message);
                Ok(())
            };
            unary(request, publish).await
        }
        "BulkPublish" => unary(request, |messages| Ok(publish_bulk(&behaviour, messages))).await,
        "PullMessages" => pull_messages(behaviour, request).await,
        "Read" => read(behaviour, request).await,
        "ListOperations" => {
            let operations = ["create", "shout"].map(str::to_owned).to_vec();
            unary(request, |()| Ok(ListOperationsResponse { operations })).await
        }
        "Invoke" => unary(request, |message| Ok(invoke(message))).await,
        "Get" => unary(request, get).await,
        "BulkGet" => unary(request, |_: BulkGetSecretRequest| Ok(bulk_get())).await,
        _ => Status::unimplemented("no such method").into_http(),
    }
}

/// A call with one message each way.
pub(super) async fn unary<Q, A>(
    request: Request<Incoming>,
    answer: impl FnOnce(Q) -> Result<A, Status> + Send,
) -> Response<Body>
where
    Q: prost::Message + Default + 'static,
    A: prost::Message + Default + 'static,
{
    let mut answer = Some(answer);
    let service = service_fn(move |request: tonic::Request<Q>| {
        let answer = answer.take().expect("one message a call");
        std::future::ready(answer(request.into_inner()).map(tonic::Response::new))
    });
    let mut grpc = Grpc::new(ProstCodec::<A, Q>::default()).max_decoding_message_size(usize::MAX);
    grpc.unary(service, request).await
}

/// A call with messages both ways.
async fn streaming<Q, A, S>(
    request: Request<Incoming>,
    answers: impl FnOnce(Streaming<Q>) -> S + Send,
) -> Response<Body>
where
    Q: prost::Message + Default + 'static,
    A: prost::Message + Default + 'static,
    S: Stream<Item = Result<A, Status>> + Send + 'static,
{
    let mut answers = Some(answers);
    let service = service_fn(move |request: tonic::Request<Streaming<Q>>| {
        let answers = answers.take().expect("one stream a call");
        std::future::ready(Ok(tonic::Response::new(answers(request.into_inner()))))
    });
    let mut grpc = Grpc::new(ProstCodec::<A, Q>::default());
    grpc.streaming(service, request).await
}

async fn reflection(behaviour: Arc<Behaviour>, request: Request<Incoming>) -> Response<Body> {
    streaming(
        request,
        move |questions: Streaming<ServerReflectionRequest>| {
            questions.map(move |_| {
                let names = behaviour.services.lock().unwrap().clone();
                let service = names.into_iter().map(|name| ServiceResponse { name });
                let list = ListServiceResponse {
                    service: service.collect(),
                };
                Ok(ServerReflectionResponse {
                    list_services_response: Some(list),
                    error_response: None,
                })
            })
        },
    )
    .await
}

fn features(behaviour: &Behaviour) -> FeaturesResponse {
    let lacking = behaviour.lacking.lock().unwrap();
    let features = [
        "MESSAGE_TTL",
        "OF_ITS_OWN",
        "MULTIPLE_KEY_VALUES_PER_SECRET",
        "ETAG",
        "TRANSACTIONAL",
        "TTL",
    ];
    let features = features.iter().map(|name| (*name).to_owned());
    FeaturesResponse {
        features: features.filter(|name| !lacking.contains(name)).collect(),
    }
}

fn text(data: &Bytes) -> String {
    String::from_utf8(data.to_vec()).unwrap()
}

fn publish(behaviour: &Behaviour, message: PublishRequest) {
    let published = (message.topic, text(&message.data));
    behaviour.published.lock().unwrap().push(published);
}

/// Messages whose text is `bad` fail; `worse` is answered with a failure of none of them.
fn publish_bulk(behaviour: &Behaviour, messages: BulkPublishRequest) -> BulkPublishResponse {
    let mut failed_entries = Vec::new();
    for entry in messages.entries {
        let data = text(&entry.event);
        let entry_id = match data.as_str() {
            "bad" => entry.entry_id,
            "worse" => "none".to_owned(),
            _ => {
                let published = (messages.topic.clone(), data);
                behaviour.published.lock().unwrap().push(published);
                continue;
            }
        };
        let error = format!("it is {data}");
        failed_entries.push(BulkPublishResponseFailedEntry { entry_id, error });
    }
    BulkPublishResponse { failed_entries }
}

async fn pull_messages(behaviour: Arc<Behaviour>, request: Request<Incoming>) -> Response<Body> {
    streaming(
        request,
        move |mut replies: Streaming<PullMessagesRequest>| {
            let opening = async move {
                let first = replies.message().await.ok().flatten();
                let topic = first.and_then(|first| first.topic).map(|topic| topic.name);
                let settle = |session: &mut Session, reply: PullMessagesRequest| {
                    let error = reply.ack_error.map(|error| error.message);
                    session.settle(&reply.ack_message_id, Bytes::new(), error);
                };
                let message = move |(id, data): (u64, Bytes)| PullMessagesResponse {
                    data,
                    topic_name: topic.clone().unwrap_or_default(),
                    metadata: BTreeMap::from([("number".to_owned(), id.to_string())]),
                    content_type: "text/plain".to_owned(),
                    id: id.to_string(),
                };
                events(behaviour.topics.session(), replies, settle, message)
            };
            stream::once(opening).flatten()
        },
    )
    .await
}

async fn read(behaviour: Arc<Behaviour>, request: Request<Incoming>) -> Response<Body> {
    streaming(request, move |replies: Streaming<ReadRequest>| {
        let settle = |session: &mut Session, reply: ReadRequest| {
            let error = reply.response_error.map(|error| error.message);
            session.settle(&reply.message_id, reply.response_data, error);
        };
        let event = |(id, data): (u64, Bytes)| ReadResponse {
            data,
            message_id: id.to_string(),
            ..ReadResponse::default()
        };
        events(behaviour.events.session(), replies, settle, event)
    })
    .await
}

/// Messages of a queue as they come, until the other side ends its replies.
fn events<Q, A>(
    session: Session,
    replies: Streaming<Q>,
    mut settle: impl FnMut(&mut Session, Q) + Send + 'static,
    event: impl Fn((u64, Bytes)) -> A + Send + 'static,
) -> impl Stream<Item = Result<A, Status>> + Send + 'static
where
    Q: Send + 'static,
    A: Send + 'static,
{
    let (sender, receiver) = tokio::sync::mpsc::channel(16);
    let serving = async move {
        let (mut session, mut replies) = (session, replies);
        loop {
            while let Some(message) = session.take() {
                if sender.send(Ok(event(message))).await.is_err() {
                    return;
                }
            }
            tokio::select! {
                reply = replies.message() => match reply {
                    Ok(Some(reply)) => settle(&mut session, reply),
                    _ => return,
                },
                () = session.changed() => {}
            }
        }
    };
    let taking = stream::unfold(receiver, |mut receiver| async move {
        Some((receiver.recv().await?, receiver))
    });
    let mut serving = Box::pin(futures_util::FutureExt::fuse(serving));
    let mut taking = Box::pin(taking);
    stream::poll_fn(move |context| {
        let _ = serving.as_mut().poll(context);
        taking.as_mut().poll_next(context)
    })
}

fn invoke(message: InvokeRequest) -> InvokeResponse {
    let operation = message.operation.clone();
    let answer = text(&message.data).to_uppercase();
    InvokeResponse {
        data: answer.into(),
        metadata: BTreeMap::from([("operation".to_owned(), operation)]),
        content_type: String::new(),
    }
}

fn secret(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    let pairs = pairs.iter();
    pairs
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

fn get(request: GetSecretRequest) -> Result<GetSecretResponse, Status> {
    let found = bulk_get().data.remove(&request.key);
    let found = found.ok_or_else(|| Status::not_found("no such secret"))?;
    let data = found.secrets;
    Ok(GetSecretResponse { data })
}

fn bulk_get() -> BulkGetSecretResponse {
    let one = SecretResponse {
        secrets: secret(&[("database", "hunter2")]),
    };
    let two = SecretResponse {
        secrets: secret(&[("password", "pw"), ("user", "u")]),
    };
    let data = [("database".to_owned(), one), ("login".to_owned(), two)];
    BulkGetSecretResponse { data: data.into() }
}
