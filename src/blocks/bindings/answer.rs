//! What an app answers to an event: it may name output bindings that get its data.

use bytes::Bytes;
use dapr::dapr::proto::runtime::v1::BindingEventResponse;
use dapr::dapr::proto::runtime::v1::binding_event_response::BindingEventConcurrency;
use futures_util::future::join_all;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::output::OutputBindings;
use crate::components::binding::{BindingRequest, CREATE};
use crate::components::message::Metadata;

/// How many output bindings get the data of one event at the same time.
const AT_ONCE: usize = 16;
/// The most output bindings of one answer.
const MAX_TARGETS: usize = 1000;

/// An answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Answer {
    /// For the component that the event came from.
    pub(super) body: Bytes,
    /// The output bindings that get `data`, in order.
    to: Vec<String>,
    data: Bytes,
    is_parallel: bool,
    /// Whether it asks for state to be saved.
    has_state: bool,
}

/// The answer of an HTTP app as it is written. Every field may be missing.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Written {
    data: Option<Box<RawValue>>,
    to: Option<Vec<String>>,
    state: Option<Vec<IgnoredAny>>,
    concurrency: Option<String>,
}

impl Answer {
    /// The answer of an HTTP app. A body that is another document, or none, asks for nothing.
    pub(super) fn of_http(body: Bytes) -> Self {
        let Ok(written) = serde_json::from_slice::<Written>(&body) else {
            return Self {
                body,
                ..Self::default()
            };
        };
        let data = written.data.map(|data| data.get().to_owned());
        let concurrency = written.concurrency.unwrap_or_default();
        Self {
            body,
            to: written.to.unwrap_or_default(),
            data: data.map(Bytes::from).unwrap_or_default(),
            is_parallel: concurrency.eq_ignore_ascii_case("parallel"),
            has_state: written.state.is_some_and(|state| !state.is_empty()),
        }
    }

    /// The answer of a gRPC app.
    pub(super) fn of_grpc(message: BindingEventResponse) -> Self {
        let data = Bytes::from(message.data);
        Self {
            body: data.clone(),
            to: message.to,
            data,
            is_parallel: message.concurrency == BindingEventConcurrency::Parallel as i32,
            has_state: !message.states.is_empty(),
        }
    }

    /// Does what it asks for.
    ///
    /// # Errors
    ///
    /// What could not be done: the event is not dealt with then.
    pub(super) async fn act(&self, outputs: &OutputBindings) -> Result<(), String> {
        if self.has_state {
            return Err(
                "the app's answer has state, and this build has no state stores".to_owned(),
            );
        }
        if self.to.len() > MAX_TARGETS {
            return Err(format!(
                "the app's answer names more than {MAX_TARGETS} output bindings"
            ));
        }
        let at_once = if self.is_parallel { AT_ONCE } else { 1 };
        let mut failures = Vec::new();
        for names in self.to.chunks(at_once) {
            let sent = join_all(names.iter().map(|name| self.send(outputs, name))).await;
            failures.extend(sent.into_iter().filter_map(Result::err));
            if !self.is_parallel && !failures.is_empty() {
                break;
            }
        }
        if failures.is_empty() {
            Ok(())
        } else {
            Err(failures.join("; "))
        }
    }

    async fn send(&self, outputs: &OutputBindings, name: &str) -> Result<(), String> {
        let request = BindingRequest {
            operation: CREATE.to_owned(),
            data: self.data.clone(),
            metadata: Metadata::new(),
        };
        let sent = outputs.invoke(name, request).await;
        sent.map(|_| ())
            .map_err(|failure| failure.error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_http_app_answers_in_json() {
        let answer = |body: &'static str| Answer::of_http(Bytes::from_static(body.as_bytes()));
        let full = answer(
            r#"{"data": {"n": 1.0}, "to": ["a", "b"], "concurrency": "PARALLEL", "other": 1}"#,
        );
        assert_eq!(full.to, ["a", "b"]);
        assert_eq!(
            (&*full.data, full.is_parallel),
            (&br#"{"n": 1.0}"#[..], true)
        );
        assert!(!full.has_state);
        assert!(answer(r#"{"storeName": "s", "state": [{"key": "k"}]}"#).has_state);
        assert!(!answer(r#"{"state": [], "to": null, "data": null}"#).has_state);
        for other in [
            "",
            "OK",
            "[]",
            "7",
            "null",
            r#"{"to": "you"}"#,
            r#"{"to": [1]}"#,
        ] {
            let answer = answer(other);
            assert_eq!(answer.body, other);
            assert_eq!((answer.to.len(), answer.has_state), (0, false), "{other}");
        }
    }
}
