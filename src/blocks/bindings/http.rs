//! Bindings of apps that speak HTTP.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Request, StatusCode, Uri};

use super::answer::Answer;
use super::{Event, Refusal, headers};
use crate::app_channel::{AppChannel, Error, Road};

/// Asks whether the app wants the events of a route (`OPTIONS`, as in Dapr 1.18).
pub(super) async fn probe(app: &AppChannel, route: &str) -> Result<bool, Error> {
    let mut request = request(Method::OPTIONS, route, Bytes::new())?;
    let json = HeaderValue::from_static("application/json");
    request.headers_mut().insert(CONTENT_TYPE, json);
    let answer = app.call_http(Road::BindingProbe, request).await?;
    let status = answer.status();
    Ok(status.is_success() || status == StatusCode::METHOD_NOT_ALLOWED)
}

/// Delivers an event once.
pub(super) async fn deliver(app: &AppChannel, event: &Event) -> Result<Answer, Refusal> {
    let mut request = request(Method::POST, &event.route, event.data.clone())?;
    *request.headers_mut() = headers::of(&event.metadata);
    let answer = app.call_http(Road::BindingEventHttp, request).await?;
    match answer.status() {
        status if status.is_success() => Ok(Answer::of_http(answer.into_body())),
        status => Err(Refusal::Http(status.as_u16())),
    }
}

fn request(method: Method, route: &str, body: Bytes) -> Result<Request<Bytes>, Error> {
    let mut request = Request::new(body);
    *request.method_mut() = method;
    *request.uri_mut() = route.parse::<Uri>().map_err(|_| Error::Request)?;
    Ok(request)
}
