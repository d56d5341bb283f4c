//! What an app answers to an event: it may have state to save, and name output bindings that get
//! its data.

use bytes::Bytes;
use dapr::dapr::proto::runtime::v1::BindingEventResponse;
use dapr::dapr::proto::runtime::v1::binding_event_response::BindingEventConcurrency;
use futures_util::future::join_all;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::Means;
use super::output::OutputBindings;
use crate::blocks::error::Error;
use crate::blocks::state::{Save, State, messages, written};
use crate::components::binding::{BindingRequest, CREATE};
use crate::components::message::Metadata;

/// How many output bindings get the data of one event at the same time.
const AT_ONCE: usize = 16;
/// The most output bindings of one answer.
const MAX_TARGETS: usize = 1000;

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    /// For the component that the event came from.
    pub(super) body: Bytes,
    /// The output bindings that get `data`, in order.
    to: Vec<String>,
    data: Bytes,
    is_parallel: bool,
    /// The state store that gets `state`.
    store: String,
    /// What is to be saved; or why it cannot be.
    state: Result<Vec<Save>, String>,
}

impl Default for Answer {
    fn default() -> Self {
        Self {
            body: Bytes::new(),
            to: Vec::new(),
            data: Bytes::new(),
            is_parallel: false,
            store: String::new(),
            state: Ok(Vec::new()),
        }
    }
}

/// The answer of an HTTP app as it is written. Every field may be missing.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Written {
    data: Option<Box<RawValue>>,
    to: Option<Vec<String>>,
    store_name: Option<String>,
    state: Option<Vec<Box<RawValue>>>,
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
        let state = written.state.unwrap_or_default();
        let state = state.iter().map(|value| written::value(value.get()));
        Self {
            body,
            to: written.to.unwrap_or_default(),
            data: data.map(Bytes::from).unwrap_or_default(),
            is_parallel: concurrency.eq_ignore_ascii_case("parallel"),
            store: written.store_name.unwrap_or_default(),
            state: all(state),
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
            store: message.store_name,
            state: all(message.states.into_iter().map(messages::save)),
        }
    }

    /// Does what it asks for.
    ///
    /// # Errors
    ///
    /// What could not be done: the event is not dealt with then.
    pub(super) async fn act(&self, means: &Means) -> Result<(), String> {
        if self.to.len() > MAX_TARGETS {
            return Err(format!(
                "the app's answer names more than {MAX_TARGETS} output bindings"
            ));
        }
        self.save(&means.state).await?;
        let at_once = if self.is_parallel { AT_ONCE } else { 1 };
        let mut failures = Vec::new();
        for names in self.to.chunks(at_once) {
            let sent = join_all(names.iter().map(|name| self.send(&means.outputs, name))).await;
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

    /// Saves the state, before anything leaves for other services.
    async fn save(&self, state: &State) -> Result<(), String> {
        let values = self.state.clone()?;
        if values.is_empty() {
            return Ok(());
        }
        let store = state.store(&self.store).map_err(|error| untold(&error))?;
        let saved = store.save(values).await;
        saved.map_err(|error| untold(&error))
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

/// All values, or why one of them cannot be saved.
fn all(values: impl Iterator<Item = Result<Save, Error>>) -> Result<Vec<Save>, String> {
    let values: Result<_, _> = values.collect();
    values.map_err(|error| untold(&error))
}

fn untold(error: &Error) -> String {
    format!("the state of the app's answer was not saved: {error}")
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
        assert_eq!(full.state, Ok(Vec::new()));
        let stateful = answer(r#"{"storeName": "s", "state": [{"key": "k", "value": 1.0}]}"#);
        let saved = &stateful.state.unwrap()[0];
        assert_eq!((&*stateful.store, &*saved.key), ("s", "k"));
        assert_eq!(saved.value, "1.0");
        let broken = answer(r#"{"storeName": "s", "state": [{"key": 7}]}"#);
        assert!(broken.state.is_err());
        let empty = answer(r#"{"state": [], "to": null, "data": null}"#);
        assert_eq!(empty.state, Ok(Vec::new()));
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
            assert_eq!(
                (answer.to.len(), answer.state),
                (0, Ok(Vec::new())),
                "{other}"
            );
        }
    }
}
