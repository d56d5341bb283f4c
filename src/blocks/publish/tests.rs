use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::Mutex;

use async_trait::async_trait;
use serde_json::Value;

use super::*;
use crate::components::message::Intake;
use crate::components::pubsub::scopes::TopicScopes;
use crate::components::pubsub::{Interest, PubSub, PubSubComponent};
use crate::registry::snapshot::Snapshot;
use crate::resiliency::Resiliency;
use crate::resources::decode::Resources;

/// A broker that keeps what it takes, and fails as it is told to, message by message.
#[derive(Default)]
struct Broker {
    kept: Mutex<Vec<(String, Outgoing)>>,
    failures: Mutex<VecDeque<Option<BackendError>>>,
    features: Vec<Feature>,
}

#[async_trait]
impl PubSub for Broker {
    fn features(&self) -> &[Feature] {
        &self.features
    }

    async fn publish(&self, topic: &str, message: Outgoing) -> Result<(), BackendError> {
        if let Some(Some(failure)) = self.failures.lock().unwrap().pop_front() {
            return Err(failure);
        }
        self.kept.lock().unwrap().push((topic.to_owned(), message));
        Ok(())
    }

    async fn subscribe(&self, _: &Interest) -> Result<Box<dyn Intake>, BackendError> {
        Err(BackendError::Refused("nobody subscribes here".to_owned()))
    }
}

struct Setup {
    broker: Arc<Broker>,
    publish: Publish,
}

fn set_up(broker: Broker, scopes: TopicScopes, resiliency: Resiliency) -> Setup {
    let broker = Arc::new(broker);
    let loaded = LoadedPubSub {
        name: "p".to_owned(),
        component: PubSubComponent {
            broker: Arc::clone(&broker) as Arc<dyn PubSub>,
            scopes: Arc::new(scopes),
        },
        topic_prefix: "ns".to_owned(),
    };
    let registry = Registry::holding(Snapshot {
        pubsubs: [("p".to_owned(), Arc::new(loaded))].into(),
        resiliency: Arc::new(resiliency),
        ..Snapshot::default()
    });
    let publish = Publish::new(registry, "shop", "");
    Setup { broker, publish }
}

fn failing(failures: Vec<Option<BackendError>>) -> Broker {
    Broker {
        failures: Mutex::new(failures.into()),
        ..Broker::default()
    }
}

fn unavailable() -> Option<BackendError> {
    Some(BackendError::Unavailable("amqp://user:hunter2@host".into()))
}

fn refused() -> Option<BackendError> {
    Some(BackendError::Refused("inner words".to_owned()))
}

fn retrying(times: u32) -> Resiliency {
    let text = format!(
        "apiVersion: dapr.io/v1alpha1\nkind: Resiliency\nmetadata: {{name: r}}\nspec:\n  \
         policies:\n    retries:\n      again: {{policy: constant, duration: 1ms, maxRetries: \
         {times}}}\n  targets: {{components: {{p: {{outbound: {{retry: again}}}}}}}}\n"
    );
    let mut resources = Resources::default();
    resources.add(Path::new("r.yaml"), &text);
    assert!(resources.problems.is_empty(), "{:?}", resources.problems);
    Resiliency::new(&resources.resiliencies, &Resiliency::default()).unwrap()
}

fn message(data: &'static str) -> Message {
    Message {
        data: Bytes::from_static(data.as_bytes()),
        content_type: "text/plain".to_owned(),
    }
}

fn entry(id: &str, data: &'static str) -> Entry {
    Entry {
        id: id.to_owned(),
        message: message(data),
        metadata: Metadata::new(),
    }
}

impl Setup {
    async fn one(&self, metadata: &[(&str, &str)], message: Message) -> Result<(), Error> {
        let metadata = pairs(metadata);
        self.publish.one(&target(&metadata), message).await
    }

    async fn many(&self, entries: Vec<Entry>) -> Result<Vec<FailedEntry>, Error> {
        let metadata = pairs(&[("from", "call")]);
        self.publish.many(&target(&metadata), entries).await
    }

    fn kept(&self) -> Vec<(String, Outgoing)> {
        self.broker.kept.lock().unwrap().clone()
    }

    /// The texts in the envelopes that the broker has.
    fn texts(&self) -> Vec<String> {
        let kept = self.kept();
        let texts = kept.iter().map(|(_, message)| {
            let envelope: Value = serde_json::from_slice(&message.data).unwrap();
            envelope["data"].as_str().unwrap().to_owned()
        });
        texts.collect()
    }
}

fn pairs(pairs: &[(&str, &str)]) -> Metadata {
    let pairs = pairs.iter();
    pairs
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

fn target(metadata: &Metadata) -> Target<'_> {
    static NO_TRACE: Trace = Trace {
        parent: String::new(),
        state: String::new(),
    };
    Target {
        pubsub: "p",
        topic: "t",
        metadata,
        trace: &NO_TRACE,
    }
}

fn plain() -> Setup {
    set_up(
        Broker::default(),
        TopicScopes::default(),
        Resiliency::default(),
    )
}

#[tokio::test]
async fn a_message_goes_to_the_prefixed_topic_in_an_envelope() {
    let setup = plain();
    setup.one(&[("key", "k1")], message("hi")).await.unwrap();
    let [(topic, kept)] = setup.kept().try_into().unwrap();
    assert_eq!(topic, "nst");
    assert_eq!(
        kept.content_type.as_deref(),
        Some("application/cloudevents+json")
    );
    assert_eq!(kept.metadata, pairs(&[("key", "k1")]));
    let envelope: BTreeMap<String, Value> = serde_json::from_slice(&kept.data).unwrap();
    assert_eq!(
        (&envelope["data"], &envelope["topic"]),
        (&"hi".into(), &"t".into())
    );
    assert_eq!(envelope["source"], "shop");
    assert!(!envelope.contains_key("expiration"));
}

#[tokio::test]
async fn raw_data_is_left_alone() {
    let setup = plain();
    setup
        .one(&[("rawPayload", "true")], message("hi"))
        .await
        .unwrap();
    let [(_, kept)] = setup.kept().try_into().unwrap();
    assert_eq!(kept.data, "hi");
    assert_eq!(kept.content_type.as_deref(), Some("text/plain"));
}

#[tokio::test]
async fn a_time_to_live_is_in_the_envelope_unless_the_broker_looks_after_it() {
    for (features, is_there) in [(vec![], true), (vec![Feature::MessageTtl], false)] {
        let broker = Broker {
            features,
            ..Broker::default()
        };
        let setup = set_up(broker, TopicScopes::default(), Resiliency::default());
        setup
            .one(&[("ttlInSeconds", "60")], message("hi"))
            .await
            .unwrap();
        let [(_, kept)] = setup.kept().try_into().unwrap();
        let envelope: BTreeMap<String, Value> = serde_json::from_slice(&kept.data).unwrap();
        assert_eq!(envelope.contains_key("expiration"), is_there);
        assert_eq!(kept.metadata["ttlInSeconds"], "60");
    }
}

#[tokio::test]
async fn refusals_come_in_their_order_and_reach_no_broker() {
    let setup = plain();
    let metadata = pairs(&[("ttlInSeconds", "soon")]);
    for (pubsub, topic, reason, text) in [
        ("", "", Reason::PubSubNameEmpty, "pubsub name is empty"),
        (
            "x",
            "",
            Reason::TopicNameEmpty,
            "topic is empty in pubsub x",
        ),
        ("x", "t", Reason::PubSubNotFound, "pubsub x is not found"),
        (
            "p",
            "t",
            Reason::PublishMetadataInvalid,
            "failed deserializing metadata: ttlInSeconds is \"soon\"; accepted are whole numbers \
             from 1 to 9223372036",
        ),
    ] {
        let target = Target {
            pubsub,
            topic,
            ..target(&metadata)
        };
        let error = setup.publish.one(&target, message("hi")).await.unwrap_err();
        assert_eq!((error.reason(), error.message()), (reason, text));
        let error = setup.publish.many(&target, vec![entry("1", "hi")]).await;
        assert_eq!(error.unwrap_err().reason(), reason);
    }
    let event = Message {
        data: Bytes::from_static(b"text"),
        content_type: "application/cloudevents+json".to_owned(),
    };
    let error = setup.one(&[], event).await.unwrap_err();
    assert_eq!(error.reason(), Reason::CloudEventInvalid);
    assert!(setup.kept().is_empty());
}

#[tokio::test]
async fn a_failure_of_the_broker_is_told_without_its_words() {
    for (failure, text) in [
        (unavailable(), "the broker cannot be reached, or is busy"),
        (refused(), "the broker refused the message"),
    ] {
        let broker = failing(vec![failure]);
        let setup = set_up(broker, TopicScopes::default(), Resiliency::default());
        let error = setup.one(&[], message("hi")).await.unwrap_err();
        assert_eq!(error.reason(), Reason::PublishFailed);
        let expected = format!("error when publishing to topic t in pubsub p: {text}");
        assert_eq!(error.message(), expected);
    }
}

#[tokio::test]
async fn resiliency_tries_what_may_heal_again() {
    let broker = failing(vec![unavailable(), unavailable(), None, refused(), None]);
    let setup = set_up(broker, TopicScopes::default(), retrying(5));
    setup.one(&[], message("a")).await.unwrap();
    assert_eq!(setup.texts(), ["a"]);
    let error = setup.one(&[], message("b")).await.unwrap_err();
    assert_eq!(error.reason(), Reason::PublishFailed);
    assert_eq!(setup.texts(), ["a"]);
}

#[tokio::test]
async fn of_several_messages_those_that_failed_are_named() {
    let broker = failing(vec![None, unavailable(), refused(), None]);
    let setup = set_up(broker, TopicScopes::default(), Resiliency::default());
    let entries = vec![
        entry("1", "a"),
        entry("2", "b"),
        entry("3", "c"),
        entry("4", "d"),
    ];
    let failed = setup.many(entries).await.unwrap();
    let ids: Vec<_> = failed.iter().map(|entry| entry.entry_id.as_str()).collect();
    assert_eq!(ids, ["2", "3"]);
    assert_eq!(
        failed[1].error,
        "error when publishing to topic t in pubsub p: the broker refused the message"
    );
    assert_eq!(setup.texts(), ["a", "d"]);
    assert_eq!(setup.kept()[0].1.metadata, pairs(&[("from", "call")]));
}

#[tokio::test]
async fn of_several_messages_only_those_that_may_heal_are_tried_again() {
    let broker = failing(vec![None, unavailable(), refused(), unavailable(), None]);
    let setup = set_up(broker, TopicScopes::default(), retrying(5));
    let entries = vec![entry("1", "a"), entry("2", "b"), entry("3", "c")];
    let failed = setup.many(entries).await.unwrap();
    let ids: Vec<_> = failed.iter().map(|entry| entry.entry_id.as_str()).collect();
    assert_eq!(ids, ["3"]);
    assert_eq!(setup.texts(), ["a", "b"]);
}

#[tokio::test]
async fn ids_of_entries_are_there_and_unique() {
    let setup = plain();
    for ids in [["1", "1"], ["1", ""]] {
        let entries = ids.map(|id| entry(id, "a")).into();
        let error = setup.many(entries).await.unwrap_err();
        assert_eq!(error.reason(), Reason::BulkUnreadable);
        assert!(error.message().ends_with("for entry 1"), "{error}");
    }
    assert_eq!(setup.many(Vec::new()).await.unwrap(), []);
    assert!(setup.kept().is_empty());
}

#[tokio::test]
async fn metadata_of_an_entry_goes_before_that_of_the_call() {
    let setup = plain();
    let own = Entry {
        metadata: pairs(&[("from", "entry"), ("rawPayload", "true")]),
        ..entry("1", "a")
    };
    assert_eq!(setup.many(vec![own]).await.unwrap(), []);
    let [(_, kept)] = setup.kept().try_into().unwrap();
    assert_eq!(
        (kept.metadata["from"].as_str(), kept.data.as_ref()),
        ("entry", &b"a"[..])
    );
}
