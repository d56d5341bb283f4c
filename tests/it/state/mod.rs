//! The state API of a whole sidecar, over HTTP and gRPC, with stores in memory.

mod access;
mod errors;
mod grpc;
mod http_values;
mod lists;
mod races;
mod transactions;

use bytes::Bytes;
use dapr::dapr::proto::runtime::v1::dapr_client::DaprClient;
use http::{Request, Response};
use http_body_util::Full;
use serde_json::Value;
use sidegate::testing::http_client::send;
use tempfile::TempDir;
use tonic::transport::Channel;

use crate::sidecar::Running;

/// A sidecar of the app `app` with the state stores `s` and `t`.
struct World {
    sidecar: Running,
    _folder: TempDir,
}

impl World {
    async fn start() -> Self {
        Self::start_with(&[], &[]).await
    }

    async fn start_with(flags: &[&str], environment: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["s", "t"] {
            let text = format!(
                "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {{name: {name}}}\n\
                 spec: {{type: state.in-memory, version: v1}}\n"
            );
            std::fs::write(folder.path().join(format!("{name}.yaml")), text).unwrap();
        }
        let resources = format!("--resources-path={}", folder.path().display());
        let flags = [&[resources.as_str()], flags].concat();
        Self {
            sidecar: Running::start(&flags, environment).await,
            _folder: folder,
        }
    }

    /// Calls the API below `/v1.0/state/`.
    async fn call(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Response<Bytes> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("/v1.0/state/{path}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::from(body.into())).unwrap();
        send(self.sidecar.http(), request).await
    }

    async fn get(&self, path: &str) -> Response<Bytes> {
        self.call("GET", path, &[], "").await
    }

    async fn post(&self, path: &str, body: impl Into<Bytes>) -> Response<Bytes> {
        self.call("POST", path, &[], body).await
    }

    /// The value of a key of `s` as text; `None` where it has none.
    async fn value(&self, key: &str) -> Option<String> {
        let answer = self.get(&format!("s/{key}")).await;
        match answer.status().as_u16() {
            204 => None,
            200 => Some(text(&answer)),
            _ => panic!("{answer:?}"),
        }
    }

    /// The ETag of a key of `s`.
    async fn etag(&self, key: &str) -> String {
        let answer = self.get(&format!("s/{key}")).await;
        answer.headers()["etag"].to_str().unwrap().to_owned()
    }

    /// Saves a text of JSON under a key of `s`.
    async fn save(&self, key: &str, json: &str) {
        let answer = self.post("s", format!(r#"[{{"key": "{key}", "value": {json}}}]"#));
        let answer = answer.await;
        assert_eq!(answer.status(), 204, "{answer:?}");
        assert!(answer.body().is_empty());
    }

    async fn client(&self) -> DaprClient<Channel> {
        let address = format!("http://{}", self.sidecar.grpc());
        DaprClient::connect(address).await.unwrap()
    }
}

fn text(answer: &Response<Bytes>) -> String {
    String::from_utf8(answer.body().to_vec()).unwrap()
}

/// The status, the errorCode and the message of a failure.
fn failure(answer: &Response<Bytes>) -> (u16, String, String) {
    let body: Value = serde_json::from_slice(answer.body()).unwrap();
    let field = |name: &str| body[name].as_str().unwrap().to_owned();
    let status = answer.status().as_u16();
    (status, field("errorCode"), field("message"))
}
