//! The first step: the webhook patches a pod.

use anyhow::Context as _;
use http::StatusCode;
use serde_json::{Value, json};
use tokio::net::TcpStream;

use super::stage::{APP_ID, Stage};
use super::story::Story;
use crate::cli::admission::{apply, named, post, review, roots, secure};
use crate::cli::loopback::address;

/// Has a pod patched by a webhook over TLS, and shows what it became.
pub(super) async fn patch(story: &mut Story, stage: &Stage) -> anyhow::Result<()> {
    story.step("A webhook gives an annotated pod its sidecar, as the API server asks it to");
    let webhook = stage.webhook().await?;
    let mut pod = pod();
    story.say(&yaml("annotations", &pod["metadata"]["annotations"])?);
    story.request(&format!(
        "POST https://localhost:{}/mutate   an AdmissionReview",
        webhook.port
    ));
    let stream = TcpStream::connect(address(webhook.port)).await?;
    // Trusting its certificate only.
    let roots = roots(stage.certificate().as_bytes())?;
    let stream = secure(stream, roots, "localhost").await;
    let stream = stream.context("no TLS with the webhook")?;
    let answer = post(stream, "/mutate", &review(&pod)).await?;
    story.answer(&answer);
    webhook.stop().await;

    let reply: Value = serde_json::from_slice(answer.body()).unwrap_or(Value::Null);
    let allowed = reply["response"]["allowed"] == json!(true);
    story.check(
        answer.status() == StatusCode::OK && allowed,
        "the pod is allowed",
    );
    let patched = apply(&mut pod, &reply);
    story.check(patched.is_ok(), "the patch fits the pod");
    let none = json!(null);
    let sidecar = named(&pod["spec"]["initContainers"], "daprd").unwrap_or(&none);
    let app = named(&pod["spec"]["containers"], "web").unwrap_or(&none);
    story.say(&yaml("container daprd", &excerpt(sidecar))?);
    story.check(
        sidecar["restartPolicy"] == json!("Always"),
        "a native sidecar \"daprd\" runs before and beside the app",
    );
    for (env, secret) in [
        ("DAPR_API_TOKEN", "api-token"),
        ("APP_API_TOKEN", "app-token"),
    ] {
        story.check(
            refers_to(sidecar, env, secret) && refers_to(app, env, secret),
            &format!("both containers have {env} from Secret \"{secret}\", by reference"),
        );
    }
    Ok(())
}

fn pod() -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "shop",
            "namespace": "default",
            "annotations": {
                "dapr.io/enabled": "true",
                "dapr.io/app-id": APP_ID,
                "dapr.io/app-port": "8080",
                "dapr.io/api-token-secret": "api-token",
                "dapr.io/app-token-secret": "app-token",
                "sidegate.dev/app-env-tokens": "true",
            },
        },
        "spec": {"containers": [{"name": "web", "image": "example.org/shop:1"}]},
    })
}

fn variable<'a>(container: &'a Value, name: &str) -> Option<&'a Value> {
    let mut variables = container["env"].as_array()?.iter();
    variables.find(|variable| variable["name"] == json!(name))
}

fn refers_to(container: &Value, name: &str, secret: &str) -> bool {
    let reference = json!({"name": secret, "key": "token"});
    variable(container, name)
        .is_some_and(|variable| variable["valueFrom"]["secretKeyRef"] == reference)
}

/// The parts of a container that this demo is about.
fn excerpt(container: &Value) -> Value {
    let tokens = ["DAPR_API_TOKEN", "APP_API_TOKEN"];
    let env: Vec<_> = tokens
        .iter()
        .filter_map(|name| variable(container, name))
        .collect();
    json!({
        "image": container["image"],
        "restartPolicy": container["restartPolicy"],
        "env": env,
        "securityContext": container["securityContext"],
    })
}

fn yaml(title: &str, value: &Value) -> anyhow::Result<String> {
    serde_saphyr::to_string(&json!({title: value})).context("a JSON value can be written as YAML")
}
