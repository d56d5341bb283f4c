//! Bodies in pieces, as they travel between sidecars.

use bytes::Bytes;
use futures_util::stream::{self, Stream, StreamExt as _};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use tonic::{Status, Streaming};

use crate::process::body::{Body, boxed};
use crate::process::tasks::BoxError;
use crate::proto::internals::{
    InternalInvokeRequestStream, InternalInvokeResponseStream, StreamPayload,
};

/// The most bytes of a body in one piece. A piece has to fit into the limit of messages of the
/// other sidecar, which follows its limit of bodies.
const PIECE: usize = 64 * 1024;

/// A message with a piece of a body.
pub trait Piece {
    /// What the message has: the head of a call or of an answer comes once.
    fn into_payload(self) -> (bool, Option<StreamPayload>);
}

impl Piece for InternalInvokeRequestStream {
    fn into_payload(self) -> (bool, Option<StreamPayload>) {
        (self.request.is_some(), self.payload)
    }
}

impl Piece for InternalInvokeResponseStream {
    fn into_payload(self) -> (bool, Option<StreamPayload>) {
        (self.response.is_some(), self.payload)
    }
}

/// A body as pieces, numbered from 0. One that breaks off ends with a status, so that the other
/// side never takes it for whole.
pub fn pieces(body: Body) -> impl Stream<Item = Result<StreamPayload, Status>> + Send {
    let start = (Some(body), Bytes::new(), 0_u64);
    stream::unfold(start, |(mut body, mut rest, seq)| async move {
        while rest.is_empty() {
            rest = match body.as_mut()?.frame().await? {
                // Trailers of HTTP have no place in a piece.
                Ok(frame) => frame.into_data().unwrap_or_default(),
                Err(error) => {
                    let broken = Status::aborted(format!("the body broke off: {error}"));
                    return Some((Err(broken), (None, Bytes::new(), seq)));
                }
            };
        }
        let data = rest.split_to(rest.len().min(PIECE));
        Some((Ok(StreamPayload { data, seq }), (body, rest, seq + 1)))
    })
}

/// The body that comes in pieces: the first one with the head, the rest in further messages.
pub fn joined<M>(first: Option<StreamPayload>, rest: Streaming<M>) -> Body
where
    M: Piece + Send + 'static,
{
    let frames = stream::unfold((first, Some(rest), 0_u64), next_frame);
    boxed(StreamBody::new(frames))
}

type State<M> = (Option<StreamPayload>, Option<Streaming<M>>, u64);

async fn next_frame<M: Piece>(
    (mut first, mut rest, expected): State<M>,
) -> Option<(Result<Frame<Bytes>, BoxError>, State<M>)> {
    loop {
        let payload = match first.take() {
            Some(payload) => Ok(Some(payload)),
            None => match rest.as_mut()?.next().await? {
                Ok(message) => match message.into_payload() {
                    (false, payload) => Ok(payload),
                    (true, _) => Err("a second head in the stream of a peer".into()),
                },
                Err(status) => Err(BoxError::from(status)),
            },
        };
        let failure = match payload {
            Ok(None) => continue,
            Ok(Some(payload)) if payload.seq == expected => {
                let frame = Frame::data(payload.data);
                return Some((Ok(frame), (None, rest, expected + 1)));
            }
            Ok(Some(payload)) => {
                let seq = payload.seq;
                format!("piece {seq} of a body came in place of piece {expected}").into()
            }
            Err(failure) => failure,
        };
        return Some((Err(failure), (None, None, expected)));
    }
}
