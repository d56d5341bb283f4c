//! Bodies on their way to the app and back.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;

use super::limit::Place;
use crate::base::token::TOKEN_HEADER;
use crate::process::tasks::BoxError;

/// The body of a request to the app.
pub type RequestBody = UnsyncBoxBody<Bytes, BoxError>;

/// A request body with a limit.
///
/// A body that says at its start that it is larger is refused here, before the app hears of it.
/// One that does not tell its length streams on, and fails where it passes the limit: hyper then
/// breaks the request off (it closes an HTTP/1 connection without the last chunk, and resets an
/// HTTP/2 stream), so the app never sees a truncated body that looks complete. Nothing is held
/// back in memory first: that would delay every streaming upload, and help only those between the
/// two sizes.
///
/// Trailers are dropped: apps that merge them into headers would take them for ours.
pub(super) struct Limited {
    body: RequestBody,
    left: usize,
    exceeded: Exceeded,
}

/// Tells whether a body went past its limit: over HTTP/2, the error of the request does not.
#[derive(Clone, Debug, Default)]
pub(super) struct Exceeded(Option<Arc<AtomicBool>>);

impl Exceeded {
    /// Whether the body went past its limit.
    pub(super) fn is_set(&self) -> bool {
        self.0
            .as_ref()
            .is_some_and(|flag| flag.load(Ordering::Relaxed))
    }
}

impl Limited {
    /// Puts a limit on a body. `None` where it says itself that it is larger.
    pub(super) fn new(body: RequestBody, limit: usize) -> Option<(Self, Exceeded)> {
        let size = body.size_hint();
        if size.lower() > limit as u64 {
            return None;
        }
        // hyper holds a body to the length that it announced, so that one needs no flag.
        let exceeded = Exceeded(size.exact().is_none().then(Arc::default));
        let limited = Self {
            body,
            left: limit,
            exceeded: exceeded.clone(),
        };
        Some((limited, exceeded))
    }
}

/// The error of a body at its limit.
#[derive(Debug, thiserror::Error)]
#[error("the request body is larger than the limit")]
struct PastLimit;

impl Body for Limited {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        let frame = match ready!(Pin::new(&mut this.body).poll_frame(cx)) {
            None => return Poll::Ready(None),
            Some(Err(error)) => return Poll::Ready(Some(Err(error))),
            Some(Ok(frame)) => frame,
        };
        let Some(data) = frame.data_ref() else {
            return Poll::Ready(None);
        };
        if let Some(left) = this.left.checked_sub(data.len()) {
            this.left = left;
            return Poll::Ready(Some(Ok(frame)));
        }
        if let Exceeded(Some(flag)) = &this.exceeded {
            flag.store(true, Ordering::Relaxed);
        }
        Poll::Ready(Some(Err(PastLimit.into())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Removes the token from trailers that an app sends back.
fn without_token(mut frame: Frame<Bytes>) -> Frame<Bytes> {
    if let Some(trailers) = frame.trailers_mut() {
        trailers.remove(TOKEN_HEADER);
    }
    frame
}

/// The body of an answer of the app. It holds the place of its call in the limit of calls at once
/// until it has ended or is dropped: an app that still sends is still busy.
#[derive(Debug)]
pub struct AppBody {
    body: Incoming,
    place: Place,
}

impl AppBody {
    pub(super) fn new(body: Incoming, place: Place) -> Self {
        // Most bodies have ended with the headers, and some callers keep the answer for a while.
        let place = if body.is_end_stream() { None } else { place };
        Self { body, place }
    }
}

impl Body for AppBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if frame.is_none() || self.body.is_end_stream() {
            self.place = None;
        }
        Poll::Ready(frame.map(|frame| frame.map(without_token)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
