//! Calls of a gRPC app's own services, through one sidecar and through two.

use std::pin::Pin;
use std::sync::{Arc, Mutex};

use futures_util::stream::{self, Stream, StreamExt as _};
use sidegate::app_channel::{AppChannelConfig, AppProtocol};
use sidegate::process::serve::Plain;
use sidegate::testing::fake_app::FakeApp;
use sidegate::testing::listening::listen;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::codec::Streaming;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Response, Status};
use tonic_prost::ProstCodec;

use super::{Pair, Started};
use crate::app_channel::{Server, config, token};
use crate::invoke::{Setup, Sidecar, TOKEN_HEADER, World};

type Words = ProstCodec<String, String>;
type Outgoing = Pin<Box<dyn Stream<Item = Result<String, Status>> + Send>>;

/// An app with a service of its own protocol: it says every word twice, and writes the metadata
/// of each call down.
pub(super) struct Echo {
    pub(super) address: std::net::SocketAddr,
    calls: Arc<Mutex<Vec<MetadataMap>>>,
    _task: tokio::task::JoinSet<()>,
}

#[derive(Clone)]
struct Service(Arc<Mutex<Vec<MetadataMap>>>);

impl tonic::server::StreamingService<String> for Service {
    type Response = String;
    type ResponseStream = Outgoing;
    type Future = std::future::Ready<Result<Response<Outgoing>, Status>>;

    fn call(&mut self, request: Request<Streaming<String>>) -> Self::Future {
        self.0.lock().unwrap().push(request.metadata().clone());
        let words = request.into_inner().map(|word| match word {
            Ok(word) if word == "fail" => Err(Status::data_loss("as asked")),
            Ok(word) => Ok(format!("{word}{word}")),
            Err(status) => Err(status),
        });
        let mut answer = Response::new(Box::pin(words) as Outgoing);
        answer
            .metadata_mut()
            .insert("x-initial", "1".parse().unwrap());
        std::future::ready(Ok(answer))
    }
}

impl Echo {
    pub(super) async fn start() -> Self {
        let calls: Arc<Mutex<Vec<MetadataMap>>> = Arc::default();
        let service = Service(Arc::clone(&calls));
        let answer = hyper::service::service_fn(move |request| {
            let service = service.clone();
            async move {
                let mut grpc = tonic::server::Grpc::new(Words::default());
                Ok::<_, std::convert::Infallible>(grpc.streaming(service, request).await)
            }
        });
        let (address, task) = listen(Plain, answer).await;
        Self {
            address,
            calls,
            _task: task,
        }
    }

    /// How often it was called.
    pub(super) fn calls(&self) -> usize {
        self.calls.lock().unwrap().len()
    }

    fn last(&self, key: &str) -> Vec<String> {
        let calls = self.calls.lock().unwrap();
        let values = calls.last().unwrap().get_all(key).into_iter();
        values
            .map(|value| value.to_str().unwrap().to_owned())
            .collect()
    }
}

pub(super) async fn connect(sidecar: &Sidecar) -> Client {
    let endpoint = Endpoint::from_shared(format!("http://{}", sidecar.grpc)).unwrap();
    Client(endpoint.connect().await.unwrap())
}

/// A client of any method.
pub(super) struct Client(Channel);

impl Client {
    async fn ready(&self) -> tonic::client::Grpc<Channel> {
        let mut client = tonic::client::Grpc::new(self.0.clone());
        client.ready().await.unwrap();
        client
    }

    pub(super) async fn unary(
        &self,
        request: Request<String>,
        method: &'static str,
    ) -> Result<Response<String>, Status> {
        let mut client = self.ready().await;
        client.unary(request, path(method), Words::default()).await
    }

    async fn streaming(
        &self,
        request: Request<impl Stream<Item = String> + Send + 'static>,
    ) -> Result<Response<Streaming<String>>, Status> {
        let mut client = self.ready().await;
        client
            .streaming(request, path(ECHO), Words::default())
            .await
    }
}

fn path(text: &'static str) -> http::uri::PathAndQuery {
    http::uri::PathAndQuery::from_static(text)
}

pub(super) const ECHO: &str = "/own.v1.Echo/Say";

pub(super) fn to<T>(target: &'static str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    let target = MetadataValue::from_static(target);
    request.metadata_mut().insert("dapr-app-id", target);
    request
}

#[tokio::test]
async fn unary_calls_and_streams_pass_through_two_sidecars_and_one() {
    let app = Echo::start().await;
    let channel = AppChannelConfig {
        token: Some(token("own")),
        ..config(AppProtocol::Grpc, app.address)
    };
    let pair = Pair::with(channel).await;
    for (sidecar, caller) in [(&pair.caller, "caller"), (&pair.callee, "callee")] {
        let client = connect(sidecar).await;
        let mut request = to("callee", "ping".to_owned());
        for (name, value) in [
            (TOKEN_HEADER, "spoof"),
            ("dapr-caller-app-id", "spoof"),
            ("dapr-caller-namespace", "spoof"),
            ("x-own", "1"),
        ] {
            request.metadata_mut().insert(name, value.parse().unwrap());
        }
        request.set_timeout(std::time::Duration::from_secs(3600));
        let answer = client.unary(request, ECHO).await.unwrap();
        assert_eq!(answer.metadata().get("x-initial").unwrap(), "1");
        assert_eq!(answer.into_inner(), "pingping");
        assert_eq!(app.last(TOKEN_HEADER), ["own"]);
        assert!(app.last("dapr-app-id").is_empty());
        assert_eq!(app.last("dapr-caller-app-id"), [caller]);
        assert_eq!(app.last("dapr-caller-namespace"), ["ns"]);
        assert_eq!(app.last("dapr-callee-app-id"), ["callee"]);
        assert_eq!(app.last("x-own"), ["1"]);
        assert_eq!(app.last("grpc-timeout").len(), 1, "the deadline goes on");

        let (sender, receiver) = mpsc::channel(1);
        sender.send("a".to_owned()).await.unwrap();
        let words = to("callee.ns", ReceiverStream::new(receiver));
        let answer = client.streaming(words).await.unwrap();
        let mut words = answer.into_inner();
        assert_eq!(words.next().await.unwrap().unwrap(), "aa");
        sender.send("b".to_owned()).await.unwrap();
        assert_eq!(words.next().await.unwrap().unwrap(), "bb");
        sender.send("fail".to_owned()).await.unwrap();
        let status = words.next().await.unwrap().unwrap_err();
        assert_eq!(
            (status.code(), status.message()),
            (Code::DataLoss, "as asked")
        );

        let one = to("callee", "c".to_owned());
        let mut ready = client.ready().await;
        let answer = ready
            .server_streaming(one, path(ECHO), Words::default())
            .await
            .unwrap();
        let all: Vec<_> = answer.into_inner().map(Result::unwrap).collect().await;
        assert_eq!(all, ["cc"]);
        let many = to("callee", stream::iter(["d".to_owned()]));
        let mut ready = client.ready().await;
        let answer = ready
            .client_streaming(many, path(ECHO), Words::default())
            .await
            .unwrap();
        assert_eq!(answer.into_inner(), "dd");
    }
}

#[tokio::test]
async fn a_caller_that_goes_away_is_noticed_by_the_app() {
    let (reached, mut has_reached) = mpsc::channel::<()>(1);
    let (held, mut gone) = mpsc::channel::<()>(1);
    let held = Arc::new(Mutex::new(Some(held)));
    let app = Server::start(move |_| {
        // Held by the call: dropped with it.
        let (held, reached) = (held.lock().unwrap().take(), reached.clone());
        async move {
            reached.send(()).await.unwrap();
            std::future::pending::<()>().await;
            drop(held);
            http::Response::new(sidegate::process::body::empty())
        }
    })
    .await;
    let pair = Pair::of(AppProtocol::Grpc, app.address).await;
    let client = connect(&pair.caller).await;
    let calling =
        Started::new(async move { client.unary(to("callee", "x".to_owned()), ECHO).await });
    has_reached.recv().await.unwrap();
    drop(calling);
    assert!(gone.recv().await.is_none(), "the app's handler was dropped");
}

#[tokio::test]
async fn what_cannot_pass_is_told() {
    let grpc_app = Echo::start().await;
    let http_app = FakeApp::start().await;
    let pair = Pair::of(AppProtocol::Grpc, grpc_app.address).await;
    let http = Pair::of(AppProtocol::Http, http_app.address()).await;
    for (sidecar, target, method, code, text) in [
        (
            &pair.caller,
            "nobody",
            ECHO,
            Code::Internal,
            "failed to invoke, id: nobody, err: couldn't find service: nobody",
        ),
        (
            &pair.caller,
            "callee",
            "/dapr.proto.runtime.v1.AppCallback/OnTopicEvent",
            Code::Unimplemented,
            "failed to invoke, id: callee, err: method \
             /dapr.proto.runtime.v1.AppCallback/OnTopicEvent belongs to Dapr itself and is not \
             proxied",
        ),
        (
            &pair.caller,
            "callee",
            "/dapr.proto.internals.v1.ServiceInvocation/CallLocal",
            Code::Unimplemented,
            "failed to invoke, id: callee, err: method \
             /dapr.proto.internals.v1.ServiceInvocation/CallLocal belongs to Dapr itself and is \
             not proxied",
        ),
        (
            &pair.callee,
            "callee",
            "/a/../b",
            Code::Unimplemented,
            "malformed method name: accepted is /service/method with letters, digits, \".\", \
             \"_\" and \"-\"",
        ),
        (
            &http.caller,
            "callee",
            ECHO,
            Code::Unavailable,
            "the app speaks http: gRPC calls reach apps whose protocol is \"grpc\" or \"grpcs\" \
             (flag --app-protocol, annotation dapr.io/app-protocol)",
        ),
    ] {
        let client = connect(sidecar).await;
        let request = to(target, "x".to_owned());
        let status = client.unary(request, method).await.unwrap_err();
        assert_eq!((status.code(), status.message()), (code, text), "{method}");
    }
    let client = connect(&pair.caller).await;
    let nameless = Request::new("x".to_owned());
    let status = client.unary(nameless, ECHO).await.unwrap_err();
    assert_eq!(status.code(), Code::Unknown);
    assert!(grpc_app.calls.lock().unwrap().is_empty());
    assert!(http_app.recorded().is_empty());
}

#[tokio::test]
async fn the_token_of_the_api_guards_calls_that_pass_through() {
    let app = Echo::start().await;
    let world = World::default();
    let sidecar = Sidecar::set_up(Setup {
        app: Some(config(AppProtocol::Grpc, app.address)),
        api_token: Some("api"),
        world: Some(&world),
        ..Setup::default()
    })
    .await;
    let client = connect(&sidecar).await;
    let request = to("app", "x".to_owned());
    let status = client.unary(request, ECHO).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated);
    let mut request = to("app", "x".to_owned());
    request
        .metadata_mut()
        .insert(TOKEN_HEADER, "api".parse().unwrap());
    client.unary(request, ECHO).await.unwrap();
    assert!(
        app.last(TOKEN_HEADER).is_empty(),
        "the API token goes no further"
    );
}
