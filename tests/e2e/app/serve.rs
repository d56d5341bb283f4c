//! An application as users write it: ready when it listens, gone when its last request is answered.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use sidegate::process::listener::Listener;
use sidegate::process::serve::{Limits, Plain, serve};
use sidegate::process::shutdown::watch_signals;
use tokio_util::sync::CancellationToken;

use crate::call::{send, to_sidecar};

pub(crate) const LIMITS: Limits = Limits {
    header_bytes: 64 * 1024,
    header_timeout: Duration::from_secs(30),
    handshake_timeout: Duration::from_secs(10),
    connections: 1024,
    streams: 256,
    drain: Duration::from_secs(20),
};

#[derive(clap::Args)]
pub(crate) struct Args {
    #[arg(long, default_value_t = 8080)]
    port: u16,
    /// The app id, for calls of itself through its sidecar
    #[arg(long, default_value = "app")]
    app_id: String,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let listener = Listener::bind_tcp((Ipv4Addr::UNSPECIFIED, args.port).into()).await?;
    let stop = CancellationToken::new();
    let app_id: &'static str = args.app_id.leak();
    let service = service_fn(move |request| answer(request, app_id));
    tokio::select! {
        served = serve(listener, Plain, service, LIMITS, stop.clone()) => {
            served.map_err(anyhow::Error::from_boxed)
        }
        failed = watch_signals(stop.clone(), CancellationToken::new()) => Ok(failed?),
    }
}

/// Until a signal to end.
pub(crate) async fn signal() -> anyhow::Result<()> {
    let stop = CancellationToken::new();
    tokio::select! {
        failed = watch_signals(stop.clone(), CancellationToken::new()) => failed?,
        () = stop.cancelled() => {}
    }
    Ok(())
}

async fn answer(
    request: Request<Incoming>,
    app_id: &str,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (status, text) = match (request.method(), request.uri().path()) {
        (_, "/healthz") => (StatusCode::OK, "ready".to_owned()),
        (&Method::GET, "/taken") => (StatusCode::OK, taken()),
        (&Method::POST, "/orders" | "/later") => take(&request),
        (_, "/front") => front(app_id).await,
        _ => method(&request),
    };
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    Ok(response)
}

/// Where messages came to, those with the app token.
static TAKEN: Mutex<BTreeMap<String, usize>> = Mutex::new(BTreeMap::new());

fn take(request: &Request<Incoming>) -> (StatusCode, String) {
    let answer = method(request);
    if answer.0 == StatusCode::OK {
        let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
        *taken.entry(request.uri().path().to_owned()).or_default() += 1;
    }
    answer
}

fn taken() -> String {
    let taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
    let counts: Vec<_> = taken
        .iter()
        .map(|(path, count)| format!("{path} {count}"))
        .collect();
    counts.join(", ")
}

/// What users call: the answer is that of the application's own method, called through its sidecar.
async fn front(app_id: &str) -> (StatusCode, String) {
    let path = format!("/v1.0/invoke/{app_id}/method/hello");
    let asked = match to_sidecar(&path) {
        Ok(request) => send(request).await,
        Err(error) => Err(error),
    };
    match asked {
        Ok(answer) => {
            let text = String::from_utf8_lossy(answer.body());
            (answer.status(), format!("through the sidecar: {text}"))
        }
        Err(error) => (StatusCode::BAD_GATEWAY, format!("no sidecar: {error:#}")),
    }
}

/// What only the sidecar may call: it carries the app token.
fn method(request: &Request<Incoming>) -> (StatusCode, String) {
    let expected = std::env::var("APP_API_TOKEN").unwrap_or_default();
    let carried = request.headers().get("dapr-api-token");
    let carried = carried.and_then(|value| value.to_str().ok()).unwrap_or("");
    if carried == expected {
        (StatusCode::OK, format!("hello, token {carried:?}"))
    } else {
        (StatusCode::FORBIDDEN, format!("token {carried:?}"))
    }
}
