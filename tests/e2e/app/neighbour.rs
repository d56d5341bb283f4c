//! A mutating webhook beside the injector: adds containers, environment and volumes to pods, as
//! mesh injectors and the webhooks of cloud identities do.

use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use anyhow::Context as _;
use bytes::Bytes;
use http::{Request, Response, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use k8s_openapi::ByteString;
use serde::Deserialize;
use serde_json::{Value, json};
use sidegate::process::listener::Listener;
use sidegate::process::serve::serve;
use sidegate::process::shutdown::watch_signals;
use sidegate::tls::handshake::TlsHandshake;
use sidegate::tls::identity::IdentityFiles;
use sidegate::tls::reload::follow;
use tokio_util::sync::CancellationToken;

use crate::serve::LIMITS;

#[derive(clap::Args)]
pub(crate) struct Args {
    #[arg(long)]
    certificate: PathBuf,
    #[arg(long)]
    key: PathBuf,
    #[arg(long, default_value_t = 8443)]
    port: u16,
    /// JSON of what to add
    additions: PathBuf,
}

/// What every new pod gets, where it has nothing of that name.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
struct Additions {
    /// Containers of the pod.
    containers: Vec<Value>,
    /// Volumes of the pod.
    volumes: Vec<Value>,
    /// Environment of each container, init containers too.
    env: Vec<Value>,
    /// Mounts of each container, init containers too.
    volume_mounts: Vec<Value>,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(&args.additions)?;
    let additions: Additions = serde_json::from_str(&text)?;
    let additions: &'static Additions = Box::leak(Box::new(additions));
    let (identity, _follower) = follow(IdentityFiles {
        certificate: args.certificate,
        key: args.key,
        client_ca: None,
        client_names: Vec::new(),
    })?;
    let listener = Listener::bind_tcp((Ipv4Addr::UNSPECIFIED, args.port).into()).await?;
    let stop = CancellationToken::new();
    let service = service_fn(move |request| answer(request, additions));
    let handshake = TlsHandshake::new(identity);
    tokio::select! {
        served = serve(listener, handshake, service, LIMITS, stop.clone()) => {
            served.map_err(anyhow::Error::from_boxed)
        }
        failed = watch_signals(stop.clone(), CancellationToken::new()) => Ok(failed?),
    }
}

async fn answer(
    request: Request<Incoming>,
    additions: &Additions,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let response = match mutate(request, additions).await {
        Ok(review) => Response::builder()
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::from(review.to_string())),
        Err(error) => Response::builder()
            .status(400)
            .body(Full::from(format!("{error:#}"))),
    };
    Ok(response.unwrap_or_default())
}

async fn mutate(request: Request<Incoming>, additions: &Additions) -> anyhow::Result<Value> {
    let body = request.into_body().collect().await?.to_bytes();
    let review: Value = serde_json::from_slice(&body)?;
    let before = &review["request"]["object"];
    let mut after = before.clone();
    let spec = after["spec"]
        .as_object_mut()
        .context("a pod without spec")?;
    for (field, entries) in [
        ("containers", &additions.containers),
        ("volumes", &additions.volumes),
    ] {
        add(spec.entry(field).or_insert_with(|| json!([])), entries);
    }
    for field in ["initContainers", "containers"] {
        let containers = spec.get_mut(field).and_then(Value::as_array_mut);
        for container in containers.into_iter().flatten() {
            let container = container.as_object_mut().context("a container")?;
            add(
                container.entry("env").or_insert_with(|| json!([])),
                &additions.env,
            );
            let mounts = container.entry("volumeMounts").or_insert_with(|| json!([]));
            add(mounts, &additions.volume_mounts);
        }
    }
    let patch = serde_json::to_vec(&json_patch::diff(before, &after))?;
    Ok(json!({
        "apiVersion": review["apiVersion"],
        "kind": review["kind"],
        "response": {
            "uid": review["request"]["uid"],
            "allowed": true,
            "patchType": "JSONPatch",
            "patch": ByteString(patch),
        },
    }))
}

/// Appends the entries whose name is not there yet.
fn add(list: &mut Value, entries: &[Value]) {
    if let Some(list) = list.as_array_mut() {
        for entry in entries {
            if list.iter().all(|present| present["name"] != entry["name"]) {
                list.push(entry.clone());
            }
        }
    }
}
