//! A whole sidecar with a broker in memory, and an app that writes down what it gets.

use bytes::Bytes;
use dapr::dapr::proto::runtime::v1::dapr_client::DaprClient;
use http::{Request, Response};
use http_body_util::Full;
use serde_json::{Value, json};
use sidegate::testing::eventually::eventually;
use sidegate::testing::fake_app::{FakeApp, Recorded};
use sidegate::testing::http_client::send;
use tonic::transport::Channel;

use super::{Files, in_memory, in_memory_with};
use crate::sidecar::Running;

/// The id of messages that only ask whether a subscription is there.
const PROBE: &str = "probe";

/// A sidecar with the brokers `p`, which has no rules, and `scoped`.
pub(super) struct Whole {
    pub(super) sidecar: Running,
    app: FakeApp,
    _files: Files,
}

impl Whole {
    /// The app subscribes to topic `t` of `p` at `/t`, and without envelope to `raw` at `/raw`.
    pub(super) async fn start() -> Self {
        let list = json!([
            {"pubsubname": "p", "topic": "t", "route": "/t"},
            {"pubsubname": "p", "topic": "raw", "route": "/raw",
             "metadata": {"rawPayload": "true"}},
        ]);
        let whole = Self::start_with(&list, &[]).await;
        whole.receives("t", "").await;
        whole.receives("raw", "&metadata.rawPayload=true").await;
        whole
    }

    /// The app subscribes to what the list says.
    pub(super) async fn start_with(list: &Value, environment: &[(&str, &str)]) -> Self {
        let list = list.to_string();
        let app = FakeApp::answering(move |request| match request.uri.path() {
            "/dapr/subscribe" => Response::new(Full::from(list.clone())),
            _ => Response::default(),
        })
        .await;
        let scopes = json!([
            {"name": "allowedTopics", "value": "open, closed,own"},
            {"name": "protectedTopics", "value": "closed"},
            {"name": "publishingScopes", "value": "app = own; other ="},
            {"name": "subscriptionScopes", "value": "app=open"},
        ]);
        let files = Files::new();
        files.write("p.yaml", &in_memory("p"));
        files.write(
            "scoped.yaml",
            &in_memory_with("scoped", &scopes.to_string()),
        );
        let flags = [
            format!("--resources-path={}", files.path("").display()),
            format!("--app-port={}", app.address().port()),
        ];
        let flags: Vec<_> = flags.iter().map(String::as_str).collect();
        Self {
            sidecar: Running::start(&flags, environment).await,
            app,
            _files: files,
        }
    }

    /// Waits until messages of a topic reach the app at the path of its name.
    async fn receives(&self, topic: &str, query: &str) {
        eventually(&format!("messages of {topic}"), async || {
            let uri = format!("/v1.0/publish/p/{topic}?metadata.cloudevent.id={PROBE}{query}");
            let answer = self.post(&uri, "text/plain", PROBE).await;
            assert_eq!(answer.status(), 204);
            let path = format!("/{topic}");
            let recorded = self.app.recorded();
            recorded
                .iter()
                .any(|request| request.uri.path() == path)
                .then_some(())
        })
        .await;
    }

    pub(super) async fn post(
        &self,
        uri: &str,
        content_type: &str,
        body: impl Into<Bytes>,
    ) -> Response<Bytes> {
        let mut request = Request::post(uri);
        if !content_type.is_empty() {
            request = request.header("content-type", content_type);
        }
        let body = Full::from(body.into());
        send(self.sidecar.http(), request.body(body).unwrap()).await
    }

    pub(super) async fn client(&self) -> DaprClient<Channel> {
        let address = format!("http://{}", self.sidecar.grpc());
        DaprClient::connect(address).await.unwrap()
    }

    /// The first so many messages that came to a path, in the order of their bodies.
    pub(super) async fn received(&self, path: &str, count: usize) -> Vec<Recorded> {
        let probe = [PROBE, "cHJvYmU="];
        let mut found = eventually(&format!("{count} messages at {path}"), async || {
            let mut recorded = self.app.recorded();
            recorded.retain(|request| {
                let body = String::from_utf8_lossy(&request.body);
                request.uri.path() == path && !probe.iter().any(|probe| body.contains(probe))
            });
            (recorded.len() >= count).then_some(recorded)
        })
        .await;
        found.sort_by(|one, other| one.body.cmp(&other.body));
        found
    }

    /// Publishes to topic `t` over HTTP and hands back the envelope that the app gets, as it is
    /// written. Its id is `1`.
    pub(super) async fn delivered(&self, content_type: &str, body: &str) -> String {
        let before = self.received("/t", 0).await.len();
        let uri = "/v1.0/publish/p/t?metadata.cloudevent.subject=s";
        let answer = self.post(uri, content_type, body.to_owned()).await;
        assert_eq!(answer.status(), 204, "{:?}", answer.body());
        self.newest(before).await
    }

    /// The envelope that came to `/t` after so many others.
    pub(super) async fn newest(&self, before: usize) -> String {
        self.received("/t", before + 1).await;
        let recorded = self.app.recorded();
        let mut here = recorded.iter().rev();
        let newest = here.find(|request| request.uri.path() == "/t").unwrap();
        String::from_utf8(newest.body.to_vec()).unwrap()
    }
}

/// The JSON of an answer.
pub(super) fn json_of(answer: &Response<Bytes>) -> Value {
    serde_json::from_slice(answer.body()).unwrap()
}
