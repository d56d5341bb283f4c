//! Bodies on their way to a service and back.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;

use super::{Body, headers};
use crate::process::tasks::BoxError;

/// The body of a request without its trailers, which could hold what no header may.
pub(super) struct WithoutTrailers(pub(super) Body);

impl http_body::Body for WithoutTrailers {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = ready!(Pin::new(&mut self.0).poll_frame(cx));
        Poll::Ready(frame.filter(|frame| !matches!(frame, Ok(frame) if frame.is_trailers())))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

/// The body of an answer. Its trailers lose what the headers lose.
pub(super) fn answer(body: Incoming) -> Body {
    let stripped = body.map_frame(|mut frame| {
        if let Some(trailers) = frame.trailers_mut() {
            headers::strip(trailers);
        }
        frame
    });
    stripped.map_err(Into::into).boxed_unsync()
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderMap;
    use http_body_util::StreamBody;

    #[tokio::test]
    async fn trailers_of_a_request_are_dropped() {
        let frames = [
            Ok(Frame::data(Bytes::from_static(b"data"))),
            Ok(Frame::trailers(HeaderMap::new())),
        ];
        let body = Body::new(StreamBody::new(tokio_stream::iter(frames)));
        let collected = WithoutTrailers(body).collect().await.unwrap();
        assert!(collected.trailers().is_none());
        assert_eq!(collected.to_bytes(), "data");
    }
}
