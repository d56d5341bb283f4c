//! Bodies on their way back from the app.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::limit::Place;
use crate::base::token::TOKEN_HEADER;

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
