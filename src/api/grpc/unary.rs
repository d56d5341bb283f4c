//! Calls with one message in and one out.

use http::{Request, Response};
use hyper::body::Incoming;
use prost::Message;
use tonic::Status;
use tonic::body::Body;
use tonic::server::Grpc;
use tonic_prost::ProstCodec;

/// Reads the message of `request`, of at most `limit` bytes, and sends what `answer` makes of it.
pub(in crate::api) async fn serve<M, R, F, A>(
    request: Request<Incoming>,
    limit: usize,
    answer: F,
) -> Response<Body>
where
    M: Message + Default + Send + 'static,
    R: Message + Default + Send + 'static,
    F: FnOnce(tonic::Request<M>) -> A,
    A: Future<Output = Result<tonic::Response<R>, Status>>,
{
    let mut answer = Some(answer);
    let service = tower::service_fn(|request| {
        let answer = answer.take();
        async move {
            match answer {
                Some(answer) => answer(request).await,
                None => Err(Status::internal("a unary call has one message")),
            }
        }
    });
    Grpc::new(ProstCodec::<R, M>::default())
        .max_decoding_message_size(limit)
        .unary(service, request)
        .await
}
