//! Bodies that stream from one connection to another.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Empty, Full};

use super::tasks::BoxError;

/// A body, wherever it comes from.
pub type Body = UnsyncBoxBody<Bytes, BoxError>;

/// No body.
pub fn empty() -> Body {
    Body::new(Empty::new().map_err(|never| match never {}))
}

/// A body that is held in memory.
pub fn whole(bytes: impl Into<Bytes>) -> Body {
    Body::new(Full::new(bytes.into()).map_err(|never| match never {}))
}

/// A body of any kind as one that streams.
pub fn boxed<B>(body: B) -> Body
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    Body::new(body.map_err(Into::into))
}

/// Why a body could not be held in memory.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub enum CollectError {
    /// It is larger than allowed.
    #[error("the body is larger than {limit} bytes")]
    TooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// It broke off.
    #[error("the body broke off")]
    Broken,
}

/// A whole body of at most `limit` bytes.
pub async fn collect(mut body: Body, limit: usize) -> Result<Bytes, CollectError> {
    let mut first = Bytes::new();
    let mut all = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| CollectError::Broken)?.into_data() else {
            continue;
        };
        if data.len() > limit.saturating_sub(first.len() + all.len()) {
            return Err(CollectError::TooLarge { limit });
        }
        // Most bodies come in one piece, which needs no copy.
        if first.is_empty() && all.is_empty() {
            first = data;
        } else {
            all.extend_from_slice(&std::mem::take(&mut first));
            all.extend_from_slice(&data);
        }
    }
    Ok(if all.is_empty() { first } else { all.freeze() })
}

/// A body with a limit.
///
/// A body that says at its start that it is larger is refused here, before anybody hears of it.
/// One that does not tell its length streams on, and fails where it passes the limit: hyper then
/// breaks the request off (it closes an HTTP/1 connection without the last chunk, and resets an
/// HTTP/2 stream), so nobody sees a truncated body that looks complete. Nothing is held
/// back in memory first: that would delay every streaming upload, and help only those between the
/// two sizes.
///
/// Trailers are dropped: apps that merge them into headers would take them for ours.
#[derive(Debug)]
pub struct Limited {
    body: Body,
    left: usize,
    exceeded: Exceeded,
}

/// Tells whether a body went past its limit: over HTTP/2, the error of the request does not.
#[derive(Clone, Debug, Default)]
pub struct Exceeded(Option<Arc<AtomicBool>>);

impl Exceeded {
    /// Whether the body went past its limit.
    pub fn is_set(&self) -> bool {
        self.0
            .as_ref()
            .is_some_and(|flag| flag.load(Ordering::Relaxed))
    }
}

impl Limited {
    /// Puts a limit in bytes on a body. `None` where it says itself that it is larger.
    pub fn new(body: Body, limit: usize) -> Option<(Self, Exceeded)> {
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

impl http_body::Body for Limited {
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

/// A body whose length is known from elsewhere. hyper announces that length, and breaks the
/// exchange off where the body has another.
#[derive(Debug)]
pub struct WithLength {
    body: Body,
    left: u64,
}

impl WithLength {
    /// A body of so many bytes.
    pub fn new(body: Body, length: u64) -> Self {
        Self { body, left: length }
    }
}

impl http_body::Body for WithLength {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let polled = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if let Some(Ok(frame)) = &polled
            && let Some(data) = frame.data_ref()
        {
            self.left = self.left.saturating_sub(data.len() as u64);
        }
        Poll::Ready(polled)
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0 && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_limit_refuses_announced_and_breaks_off_unannounced_bodies() {
        assert!(Limited::new(whole("abc"), 2).is_none());
        let (kept, exceeded) = Limited::new(whole("abc"), 3).unwrap();
        assert_eq!(kept.collect().await.unwrap().to_bytes(), "abc");
        assert!(!exceeded.is_set());
        let unannounced = http_body_util::StreamBody::new(futures_util::stream::iter([
            Ok::<_, BoxError>(Frame::data(Bytes::from_static(b"ab"))),
            Ok(Frame::data(Bytes::from_static(b"c"))),
        ]));
        let (body, exceeded) = Limited::new(boxed(unannounced), 2).unwrap();
        assert!(body.collect().await.is_err());
        assert!(exceeded.is_set());
    }

    #[tokio::test]
    async fn collects_every_piece_up_to_the_limit() {
        let pieces = || {
            let pieces = ["ab", "", "c", "de"]
                .map(|piece| Ok::<_, BoxError>(Frame::data(Bytes::from_static(piece.as_bytes()))));
            boxed(http_body_util::StreamBody::new(futures_util::stream::iter(
                pieces,
            )))
        };
        assert_eq!(collect(pieces(), 5).await.unwrap(), "abcde");
        let limit = 4;
        let refused = collect(pieces(), limit).await.unwrap_err();
        assert_eq!(refused, CollectError::TooLarge { limit });
        assert_eq!(collect(empty(), 0).await.unwrap(), "");
    }

    #[test]
    fn a_length_from_elsewhere_is_announced() {
        let unknown = http_body_util::StreamBody::new(futures_util::stream::empty::<
            Result<Frame<Bytes>, BoxError>,
        >());
        let body = WithLength::new(boxed(unknown), 7);
        assert_eq!(body.size_hint().exact(), Some(7));
        assert!(!body.is_end_stream());
    }
}
