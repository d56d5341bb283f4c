//! The webhooks over TLS: `POST /mutate` for pods, `POST /advise` for what makes them.
//!
//! Whoever reaches the port can send a review, so nothing that a review says opens a connection,
//! an answer holds no secret, and everything that a client can make grow has a limit.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::map_request;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use http_body_util::BodyExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tracing::{debug, error, info};

use super::advice;
use super::config::Config;
use super::judgement::{Judgement, Outcome};
use super::metrics;
use super::others::OtherInjectors;
use super::requester::Requesters;
use super::review::{Review, ReviewError};
use crate::process::admin;
use crate::process::metrics::Metrics;
use crate::process::serve::Limits;
use crate::tls::identity::Identity;

/// The most bytes of a review by default. The API server takes objects of 3 MiB at most
/// (`MaxRequestBodyBytes`), and sends at most two of them and the options.
pub const BODY_BYTES: usize = 8 * 1024 * 1024;

/// The most bytes of all reviews that are being received, as a multiple of the limit for one.
const BODIES_AT_ONCE: usize = 8;

/// How long a client may take to send a review by default. The API server waits for an answer for
/// 10 seconds by default (`timeoutSeconds`).
pub const BODY_TIME: Duration = Duration::from_secs(10);

/// The limits of the webhook's connections.
pub const LIMITS: Limits = Limits {
    header_bytes: 16 * 1024,
    header_timeout: Duration::from_secs(10),
    handshake_timeout: Duration::from_secs(5),
    connections: 1024,
    streams: 250,
    drain: Duration::from_secs(10),
};

/// What the webhook works with.
#[derive(Debug)]
pub struct Settings {
    /// What is the same for every pod.
    pub config: Config,
    /// Who may get pods injected.
    pub requesters: Requesters,
    /// Other webhooks of the cluster that add sidecars.
    pub others: OtherInjectors,
    /// The most bytes of a review, [`BODY_BYTES`] by default.
    pub body_bytes: usize,
    /// How long a client may take to send a review, [`BODY_TIME`] by default.
    pub body_time: Duration,
}

/// The routes of the webhook's port.
pub fn routes(settings: Settings) -> Router {
    metrics::describe();
    let room = settings.body_bytes.saturating_mul(BODIES_AT_ONCE);
    let webhook = Webhook {
        room: Arc::new(Semaphore::new(room.min(Semaphore::MAX_PERMITS))),
        settings,
    };
    Router::new()
        .route("/mutate", post(mutate))
        .route("/advise", post(advise))
        .with_state(Arc::new(webhook))
}

/// The routes of the metrics port: those of every process, with the age of the certificate.
pub fn metrics_routes(metrics: Metrics, identity: watch::Receiver<Arc<Identity>>) -> Router {
    let refresh = move |request: Request| {
        let identity = identity.borrow();
        if identity.is_some() {
            metrics::certificate_ends(identity.not_after);
        }
        std::future::ready(request)
    };
    admin::metrics_routes(metrics).layer(map_request(refresh))
}

struct Webhook {
    settings: Settings,
    /// One permit for each byte that may be held.
    room: Arc<Semaphore>,
}

/// A request that gets no review in answer.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("Content-Type {0:?} is not accepted: send application/json")]
    MediaType(String),
    #[error("the body is empty: send an AdmissionReview")]
    Empty,
    #[error("the body is larger than {0} bytes")]
    TooLarge(usize),
    #[error("the body did not arrive within {0:?}")]
    TooSlow(Duration),
    #[error("the body did not arrive whole")]
    Incomplete,
    #[error("too many reviews at once")]
    Busy,
    #[error(transparent)]
    Review(#[from] ReviewError),
    #[error("the answer cannot be encoded")]
    Encode(#[from] serde_json::Error),
}

impl Refusal {
    fn status(&self) -> StatusCode {
        match self {
            Self::MediaType(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Empty | Self::Incomplete | Self::Review(_) => StatusCode::BAD_REQUEST,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooSlow(_) => StatusCode::REQUEST_TIMEOUT,
            Self::Busy => StatusCode::SERVICE_UNAVAILABLE,
            Self::Encode(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// A stable name, for metric labels.
    fn as_str(&self) -> &'static str {
        match self {
            Self::MediaType(_) => "media_type",
            Self::Empty => "empty_body",
            Self::TooLarge(_) => "body_too_large",
            Self::TooSlow(_) => "body_too_slow",
            Self::Incomplete => "body_incomplete",
            Self::Busy => "busy",
            Self::Review(_) => "undecodable",
            Self::Encode(_) => "internal",
        }
    }
}

async fn mutate(State(webhook): State<Arc<Webhook>>, request: Request) -> Response {
    let started = Instant::now();
    let answer = webhook.answer(request, Settings::judge).await;
    match &answer {
        Ok((judgement, _)) => metrics::judged(judgement, started.elapsed()),
        Err(refusal) => metrics::refused(refusal.as_str(), started.elapsed()),
    }
    respond(answer)
}

async fn advise(State(webhook): State<Arc<Webhook>>, request: Request) -> Response {
    let started = Instant::now();
    let answer = webhook.answer(request, Settings::advise).await;
    match &answer {
        Ok((judgement, _)) => metrics::advised(judgement, started.elapsed()),
        Err(refusal) => metrics::advice_refused(refusal.as_str(), started.elapsed()),
    }
    respond(answer)
}

/// A judgement, and its review encoded.
type Answer = Result<(Judgement, Vec<u8>), Refusal>;

fn respond(answer: Answer) -> Response {
    match answer {
        Ok((_, body)) => ([(header::CONTENT_TYPE, "application/json")], body).into_response(),
        Err(refusal) => {
            let status = refusal.status();
            if status.is_server_error() {
                error!(error = %refusal, "A review could not be answered");
            } else {
                debug!(error = %refusal, "Refused a request");
            }
            (status, format!("{refusal}\n")).into_response()
        }
    }
}

impl Settings {
    /// What becomes of a pod.
    fn judge(&self, review: &Review) -> Judgement {
        let judgement = review.judge(&self.config, &self.requesters, &self.others.borrow());
        log(review, &judgement);
        judgement
    }

    /// What the author of a workload is told.
    fn advise(&self, review: &Review) -> Judgement {
        let judgement = advice::advise(review, &self.config, &self.others.borrow());
        let (namespace, object, reason) =
            (review.namespace(), review.object_name(), judgement.reason);
        debug!(%namespace, %object, reason, "Let an object pass with advice");
        judgement
    }
}

impl Webhook {
    async fn answer(
        &self,
        request: Request,
        judge: impl FnOnce(&Settings, &Review) -> Judgement,
    ) -> Answer {
        check_media_type(request.headers())?;
        let receive = self.receive(request.into_body());
        let time = self.settings.body_time;
        let received = tokio::time::timeout(time, receive)
            .await
            .map_err(|_| Refusal::TooSlow(time))??;
        let review = Review::decode(&received.bytes)?;
        drop(received);
        let judgement = judge(&self.settings, &review);
        let body = review.encode(&judgement)?;
        Ok((judgement, body))
    }

    async fn receive(&self, mut body: Body) -> Result<Received, Refusal> {
        let limit = self.settings.body_bytes;
        let mut bytes = Vec::new();
        let mut permits: Option<OwnedSemaphorePermit> = None;
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| Refusal::Incomplete)?;
            let Ok(data) = frame.into_data() else {
                continue;
            };
            if data.len() > limit - bytes.len() {
                return Err(Refusal::TooLarge(limit));
            }
            let size = u32::try_from(data.len()).map_err(|_| Refusal::TooLarge(limit))?;
            let more = self.room.clone().try_acquire_many_owned(size);
            let more = more.map_err(|_| Refusal::Busy)?;
            match &mut permits {
                None => permits = Some(more),
                Some(permits) => permits.merge(more),
            }
            bytes.extend_from_slice(&data);
        }
        if bytes.is_empty() {
            return Err(Refusal::Empty);
        }
        Ok(Received {
            bytes,
            _permits: permits,
        })
    }
}

/// A body, with the permits for its bytes.
struct Received {
    bytes: Vec<u8>,
    _permits: Option<OwnedSemaphorePermit>,
}

/// `application/json`, with any parameters.
fn check_media_type(headers: &HeaderMap) -> Result<(), Refusal> {
    let value = headers.get(header::CONTENT_TYPE);
    let text = value.and_then(|value| value.to_str().ok()).unwrap_or("");
    let essence = text.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("application/json") {
        Ok(())
    } else {
        Err(Refusal::MediaType(text.to_owned()))
    }
}

fn log(review: &Review, judgement: &Judgement) {
    let (namespace, pod, reason) = (review.namespace(), review.object_name(), judgement.reason);
    match (judgement.outcome, &judgement.denial) {
        (Outcome::Injected, _) => {
            // The field "app_id" of a line is this process' own.
            let app = judgement.app_id.as_deref().unwrap_or_default();
            info!(%namespace, %pod, app, "Injected a sidecar");
        }
        (_, Some(denial)) => {
            info!(%namespace, %pod, reason, denial = %denial.message, "Denied a pod");
        }
        (_, None) => debug!(%namespace, %pod, reason, "Let an object pass"),
    }
}
