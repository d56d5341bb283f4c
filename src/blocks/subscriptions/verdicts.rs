//! What the answers of apps say of messages, as in Dapr 1.18. The texts are those of its log.

use serde_json::{Map, Value};

use super::Outcome;
use crate::app_channel::Error;

/// How much of an answer the log shows.
const SHOWN: usize = 256;

/// What a status says that an app gave of a message with this id; none is a success.
pub(super) fn of_status(status: &str, id: &str) -> Outcome {
    match status {
        "" | "SUCCESS" => Outcome::Success,
        "RETRY" => retry(id),
        "DROP" => drop(id),
        other => unknown(id, other),
    }
}

/// The app wants the message again.
pub(super) fn retry(id: &str) -> Outcome {
    Outcome::Retry(format!(
        "RETRY status returned from app while processing pub/sub event {id}"
    ))
}

/// The app does not want the message.
pub(super) fn drop(id: &str) -> Outcome {
    Outcome::Drop(format!(
        "DROP status returned from app while processing pub/sub event {id}"
    ))
}

/// The app says something that nobody knows.
pub(super) fn unknown(id: &str, status: &str) -> Outcome {
    let status = shown(status.as_bytes());
    Outcome::Retry(format!(
        "unknown status returned from app while processing pub/sub event {id}, status: {status}"
    ))
}

/// The app says nothing of a message that it got together with others.
pub(super) fn nothing(id: &str) -> Outcome {
    Outcome::Retry(format!(
        "no status returned from app while processing pub/sub event {id}"
    ))
}

/// No answer came.
pub(super) fn broken(id: &str, error: &Error) -> Outcome {
    Outcome::Retry(format!(
        "error from app channel while sending pub/sub event {id} to app: {error}"
    ))
}

/// The status in the body of an answer, where there is one.
pub(super) fn said(body: &[u8]) -> Option<String> {
    let answer: Map<String, Value> = serde_json::from_slice(body).ok()?;
    text(&answer, "status").map(str::to_owned)
}

/// The text in a field. Serialisers of some languages write its name with capitals.
pub(super) fn text<'a>(answer: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    field(answer, name).and_then(Value::as_str)
}

/// A field, whatever the case of its name.
pub(super) fn field<'a>(answer: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    answer.get(name).or_else(|| {
        let mut fields = answer.iter();
        let found = fields.find(|(own, _)| own.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value)
    })
}

/// The beginning of what an app answered.
pub(super) fn shown(body: &[u8]) -> String {
    String::from_utf8_lossy(&body[..body.len().min(SHOWN)]).into_owned()
}
