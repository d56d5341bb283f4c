//! `sidegate check webhook`.

use std::path::PathBuf;
use std::time::Duration;

use rustls::RootCertStore;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::client::TlsStream;

use super::kubernetes::{self, Registration, Service};
use super::report::{Failure, Report};
use crate::cli::admission::{apply, named, post, review, roots, secure};
use crate::process::kubernetes::Access;

/// How long an answer may take: the longest that the API server can be told to wait.
const TIMEOUT: Duration = Duration::from_secs(30);

/// How long a Service that is new may take to lead somewhere, and how often to try.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(500);

/// Check the webhook that injects sidecars, from its registration to its answer
///
/// Reads the MutatingWebhookConfiguration, connects to the Service that it names as the API server
/// does, trusting nothing but its caBundle, and sends a review of a pod that asks for a sidecar.
/// Nothing is made in the cluster. Prints one line a check, with cause and fix where it failed; the
/// exit code is 0 or 1.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Name of the MutatingWebhookConfiguration
    #[arg(long, value_name = "NAME", default_value = "sidegate-injector")]
    mutating_webhook: String,
    /// Where to connect in place of the Service, such as the end of a port forward
    #[arg(long, value_name = "HOST:PORT")]
    address: Option<String>,
    /// Kubeconfig file; without it the service account of the pod, else that of kubectl
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
}

/// Prints a line a check, until one fails that the next needs.
pub(super) async fn check(args: &Args, report: &mut Report) {
    let access = match &args.kubeconfig {
        Some(path) => Access::Kubeconfig(path.clone()),
        None => Access::Any,
    };
    let name = &args.mutating_webhook;
    let read = kubernetes::read(&access, name).await.map(|found| {
        let text = format!(
            "MutatingWebhookConfiguration {name:?} calls {}",
            found.service.host
        );
        (found, text)
    });
    let Some(registration) = report.line(read) else {
        return;
    };
    // Pods can be injected without them, so that the others are checked all the same.
    report.line(conditions(&registration));
    let Some(roots) = report.line(ca_bundle(&registration)) else {
        return;
    };
    let service = &registration.service;
    let Some(stream) = report.line(connect(args, service).await) else {
        return;
    };
    let Some(stream) = report.line(trust(stream, roots, service).await) else {
        return;
    };
    report.line(inject(stream, service).await);
}

fn conditions(registration: &Registration) -> Result<((), String), Failure> {
    if registration.asks_first {
        let text = "only pods that ask for a sidecar are sent to it".to_owned();
        return Ok(((), text));
    }
    Err(Failure {
        cause: "its matchConditions are gone, so that an outage stops every new pod".to_owned(),
        fix: "apply the chart again".to_owned(),
    })
}

fn ca_bundle(registration: &Registration) -> Result<(RootCertStore, String), Failure> {
    if registration.ca_bundle.is_empty() {
        return Err(Failure {
            cause: "its caBundle is empty, so that the API server trusts no answer".to_owned(),
            fix: "the injector writes it: see the log of its pods".to_owned(),
        });
    }
    let roots = roots(&registration.ca_bundle).map_err(|error| Failure {
        cause: format!("its caBundle cannot be used: {error:#}"),
        fix: "the injector writes it: see the log of its pods".to_owned(),
    })?;
    let text = format!("its caBundle holds {} CA certificate(s)", roots.len());
    Ok((roots, text))
}

async fn connect(args: &Args, service: &Service) -> Result<(TcpStream, String), Failure> {
    let own = || format!("{}:{}", service.host, service.port);
    let address = args.address.clone().unwrap_or_else(own);
    let end = Instant::now() + PATIENCE;
    loop {
        let connecting = timeout(PATIENCE, TcpStream::connect(&address)).await;
        let error = match connecting {
            Ok(Ok(stream)) => return Ok((stream, format!("{address} can be reached"))),
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer within {PATIENCE:?}"),
        };
        if Instant::now() + PAUSE > end {
            return Err(Failure {
                cause: format!("{address} cannot be reached: {error}"),
                fix: "see whether the injector's pods are ready, whether a NetworkPolicy or a \
                      firewall keeps this place from them, or, outside the cluster, give --address"
                    .to_owned(),
            });
        }
        sleep(PAUSE).await;
    }
}

async fn trust(
    stream: TcpStream,
    roots: RootCertStore,
    service: &Service,
) -> Result<(TlsStream<TcpStream>, String), Failure> {
    let host = &service.host;
    let failure = |error: String| Failure {
        cause: format!("its certificate is not trusted as {host}: {error}"),
        fix: "the caBundle and the certificate do not fit: see the log of the injector's pods"
            .to_owned(),
    };
    match timeout(TIMEOUT, secure(stream, roots, host)).await {
        Ok(Ok(stream)) => Ok((stream, format!("its certificate is trusted as {host}"))),
        Ok(Err(error)) => Err(failure(format!("{error:#}"))),
        Err(_) => Err(failure(format!("no answer within {TIMEOUT:?}"))),
    }
}

async fn inject(stream: TlsStream<TcpStream>, service: &Service) -> Result<((), String), Failure> {
    let mut pod = pod();
    let failure = |cause: String| Failure {
        cause: format!("a pod that asks for a sidecar gets none: {cause}"),
        fix: "see the log of the injector's pods".to_owned(),
    };
    let answer = match timeout(TIMEOUT, post(stream, &service.path, &review(&pod))).await {
        Ok(answer) => answer.map_err(|error| failure(format!("{error:#}")))?,
        Err(_) => return Err(failure(format!("no answer within {TIMEOUT:?}"))),
    };
    let text = String::from_utf8_lossy(answer.body()).into_owned();
    if !answer.status().is_success() {
        return Err(failure(format!("{} {}", answer.status(), text.trim())));
    }
    let reply: Value = serde_json::from_str(&text)
        .map_err(|error| failure(format!("the answer is no AdmissionReview: {error}")))?;
    if reply["response"]["allowed"] != json!(true) {
        let message = reply["response"]["status"]["message"].as_str();
        return Err(failure(format!("denied: {}", message.unwrap_or_default())));
    }
    apply(&mut pod, &reply).map_err(|error| failure(format!("{error:#}")))?;
    let lists = [&pod["spec"]["initContainers"], &pod["spec"]["containers"]];
    let sidecar = lists.into_iter().find_map(|list| named(list, "daprd"));
    let sidecar = sidecar.ok_or_else(|| failure("no container \"daprd\" in it".to_owned()))?;
    let image = sidecar["image"].as_str().unwrap_or_default();
    let text = format!("a pod that asks for a sidecar gets container \"daprd\" of {image}");
    Ok(((), text))
}

/// A pod that every injector gives a sidecar.
fn pod() -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "sidegate-check",
            "namespace": "default",
            "annotations": {"dapr.io/enabled": "true", "dapr.io/app-id": "sidegate-check"},
        },
        "spec": {"containers": [{"name": "app", "image": "app"}]},
    })
}
