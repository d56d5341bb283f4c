//! Messages for an app that speaks HTTP.

use async_trait::async_trait;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use super::verdicts::{self, of_status, said, shown};
use super::{Message, Outcome, Subscriber, bulk, headers};
use crate::app_channel::{AppChannel, Error, Road};

/// The type of one message.
const CLOUD_EVENT: HeaderValue = HeaderValue::from_static("application/cloudevents+json");
/// The type of messages together.
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// What cannot stand in the target of a request. A `%` is one of the route's own.
const NOT_IN_TARGETS: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'<')
    .add(b'>')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// An app that gets messages over HTTP.
pub(super) struct HttpSubscriber {
    channel: AppChannel,
}

impl HttpSubscriber {
    /// The app at the other end of this road.
    pub(super) fn new(channel: AppChannel) -> Self {
        Self { channel }
    }

    async fn post(
        &self,
        road: Road,
        path: &str,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Response<Bytes>, Error> {
        let mut request = Request::post(target(path)?).body(body);
        if let Ok(request) = &mut request {
            *request.headers_mut() = headers;
        }
        let request = request.map_err(|_| Error::Request)?;
        self.channel.call_http(road, request).await
    }
}

#[async_trait]
impl Subscriber for HttpSubscriber {
    async fn deliver(&self, message: &Message) -> Outcome {
        let mut headers = headers::of(message);
        headers.insert(CONTENT_TYPE, CLOUD_EVENT);
        let body = message.event.envelope().clone();
        let answer = self.post(Road::TopicEventHttp, &message.path, headers, body);
        match answer.await {
            Ok(answer) => outcome(message, answer.status(), answer.body()),
            Err(error) => verdicts::broken(message.event.id(), &error),
        }
    }

    async fn deliver_all(&self, messages: &[Message]) -> Vec<Outcome> {
        let Some(first) = messages.first() else {
            return Vec::new();
        };
        let ids = bulk::entry_ids(messages.len());
        let body = bulk::envelope(messages, &ids);
        let mut headers = headers::of_component(&first.pubsub);
        headers.insert(CONTENT_TYPE, JSON);
        let answer = self.post(Road::BulkTopicEventHttp, &first.path, headers, body);
        match answer.await {
            Ok(answer) if answer.status().is_success() => {
                bulk::outcomes(messages, &ids, answer.body())
            }
            Ok(answer) => {
                let (status, body) = (answer.status(), answer.body());
                let outcome = |message| outcome(message, status, body);
                messages.iter().map(outcome).collect()
            }
            Err(error) => {
                let broken = |message: &Message| verdicts::broken(message.event.id(), &error);
                messages.iter().map(broken).collect()
            }
        }
    }
}

/// The target of the request for a route.
fn target(path: &str) -> Result<Uri, Error> {
    let path = path.strip_prefix('/').unwrap_or(path);
    let target = format!("/{}", utf8_percent_encode(path, NOT_IN_TARGETS));
    let target = PathAndQuery::try_from(target).map_err(|_| Error::Request)?;
    Ok(Uri::from(target))
}

/// What an answer says of a message, as in Dapr 1.18. The texts are those of its log.
fn outcome(message: &Message, status: StatusCode, body: &[u8]) -> Outcome {
    let id = message.event.id();
    if status.is_success() {
        return of_status(said(body).as_deref().unwrap_or_default(), id);
    }
    let body = shown(body);
    if status == StatusCode::NOT_FOUND {
        return Outcome::Drop(format!(
            "non-retriable error returned from app while processing pub/sub event {id}: {body}. \
             status code returned: 404"
        ));
    }
    let (topic, status) = (&message.topic, status.as_u16());
    Outcome::Retry(format!(
        "retriable error returned from app while processing pub/sub event {id}, topic: {topic}, \
         body: {body}. status code returned: {status}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocks::subscriptions::tests::message;

    #[test]
    fn each_answer_means_what_it_means_to_dapr() {
        let message = message(r#"{"id": "7"}"#);
        let of = |status: u16, body: &'static str| {
            let status = StatusCode::from_u16(status).unwrap();
            outcome(&message, status, body.as_bytes())
        };
        for body in [
            "",
            "fine",
            "{}",
            r#"{"status":""}"#,
            r#"{"status":"SUCCESS"}"#,
            r#"{"status":5}"#,
            "[]",
        ] {
            for status in [200, 201, 204, 299] {
                assert_eq!(of(status, body), Outcome::Success, "{status} {body}");
            }
        }
        let retry = "RETRY status returned from app while processing pub/sub event 7";
        assert_eq!(
            of(200, r#"{"status":"RETRY"}"#),
            Outcome::Retry(retry.into())
        );
        assert_eq!(
            of(200, r#"{"Status":"RETRY"}"#),
            Outcome::Retry(retry.into())
        );
        let drop = "DROP status returned from app while processing pub/sub event 7";
        assert_eq!(of(200, r#"{"status":"DROP"}"#), Outcome::Drop(drop.into()));
        let unknown = "unknown status returned from app while processing pub/sub event 7, status: \
                       WHAT";
        assert_eq!(
            of(200, r#"{"status":"WHAT"}"#),
            Outcome::Retry(unknown.into())
        );
        let gone = "non-retriable error returned from app while processing pub/sub event 7: no. \
                    status code returned: 404";
        assert_eq!(of(404, "no"), Outcome::Drop(gone.into()));
        for status in [301, 304, 400, 401, 403, 409, 429, 500, 503] {
            let text = format!(
                "retriable error returned from app while processing pub/sub event 7, topic: t, \
                 body: why. status code returned: {status}"
            );
            assert_eq!(of(status, "why"), Outcome::Retry(text), "{status}");
        }
    }

    #[test]
    fn a_route_is_called_as_it_is_written() {
        for (path, expected) in [
            ("orders", "/orders"),
            ("/orders", "/orders"),
            ("a/b?c=d", "/a/b?c=d"),
            ("a%2Fb", "/a%2Fb"),
            ("with space", "/with%20space"),
            ("bestellungen/über", "/bestellungen/%C3%BCber"),
            ("a#b", "/a%23b"),
            ("", "/"),
            ("//evil.example/x", "//evil.example/x"),
        ] {
            assert_eq!(target(path).unwrap().to_string(), expected, "{path}");
        }
    }
}
