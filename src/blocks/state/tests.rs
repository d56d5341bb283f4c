//! Calls of a store that fails as it is told to.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;

use super::*;
use crate::components::state::key_prefix::KeyPrefix;
use crate::components::state::{
    Condition, ETag, Feature, Get, Operation, StateComponent, StateError, StateStore,
};
use crate::registry::snapshot::FailedComponent;
use crate::registry::stores::LoadedState;
use crate::resiliency::Resiliency;
use crate::resources::decode::Resources;

mod tries;

/// What becomes of one read or write.
#[derive(Clone)]
enum Told {
    Done,
    Fails(StateError),
    NeverEnds,
}

/// A store that keeps what it is asked for, and answers as it is told to, key by key; when it was
/// told nothing more, all is done.
#[derive(Default)]
struct Fake {
    asked: Mutex<Vec<String>>,
    conditions: Mutex<Vec<Condition>>,
    told: Mutex<VecDeque<Told>>,
    features: Vec<Feature>,
    most_operations: Option<usize>,
}

impl Fake {
    fn told(told: &[Told]) -> Self {
        Self {
            told: Mutex::new(told.to_vec().into()),
            features: vec![Feature::Transactional],
            ..Self::default()
        }
    }

    async fn answer(&self, key: &str) -> Result<(), StateError> {
        self.asked.lock().unwrap().push(key.to_owned());
        let told = self.told.lock().unwrap().pop_front();
        match told {
            None | Some(Told::Done) => Ok(()),
            Some(Told::Fails(error)) => Err(error),
            Some(Told::NeverEnds) => std::future::pending().await,
        }
    }
}

#[async_trait]
impl StateStore for Fake {
    fn features(&self) -> &[Feature] {
        &self.features
    }

    async fn get(&self, get: &Get) -> Result<Option<Item>, StateError> {
        self.answer(&get.key).await?;
        Ok(None)
    }

    async fn get_all(&self, gets: &[Get], at_once: usize) -> Vec<Result<Option<Item>, StateError>> {
        let mut items = Vec::new();
        for get in gets {
            items.push(self.get(get).await);
        }
        self.asked
            .lock()
            .unwrap()
            .push(format!("{at_once} at once"));
        items
    }

    async fn write(&self, operation: Operation) -> Result<(), StateError> {
        let (key, condition) = match operation {
            Operation::Set(set) => (set.key, set.condition),
            Operation::Delete(delete) => (delete.key, delete.condition),
        };
        self.conditions.lock().unwrap().push(condition);
        self.answer(&key).await
    }

    async fn transact(&self, operations: Vec<Operation>) -> Result<(), StateError> {
        self.answer(&format!("{} operations", operations.len()))
            .await
    }

    fn most_operations(&self) -> Option<usize> {
        self.most_operations
    }
}

struct Setup {
    fake: Arc<Fake>,
    state: State,
}

fn set_up(fake: Fake, policies: &str) -> Setup {
    let fake = Arc::new(fake);
    let component = StateComponent {
        store: Arc::clone(&fake) as Arc<dyn StateStore>,
        key_prefix: KeyPrefix::Namespace,
    };
    let loaded = LoadedState::new("s", &component);
    let registry = Registry::holding(Snapshot {
        states: [("s".to_owned(), Arc::new(loaded))].into(),
        resiliency: Arc::new(resiliency(policies)),
        ..Snapshot::default()
    });
    let state = State::new(registry, "shop", "ns");
    Setup { fake, state }
}

/// Policies of the store, in the form of YAML in one line.
fn resiliency(policies: &str) -> Resiliency {
    if policies.is_empty() {
        return Resiliency::default();
    }
    let text = format!(
        "apiVersion: dapr.io/v1alpha1\nkind: Resiliency\nmetadata: {{name: r}}\nspec:\n  \
         policies:\n    timeouts: {{short: 20ms}}\n    retries:\n      twice: {{policy: \
         constant, duration: 1ms, maxRetries: 2}}\n    circuitBreakers:\n      once: {{trip: \
         \"consecutiveFailures >= 1\", timeout: 60s}}\n  targets: {{components: {{s: {{outbound: \
         {policies}}}}}}}\n"
    );
    let mut resources = Resources::default();
    resources.add(Path::new("r.yaml"), &text);
    assert!(resources.problems.is_empty(), "{:?}", resources.problems);
    Resiliency::new(&resources.resiliencies, &Resiliency::default()).unwrap()
}

impl Setup {
    fn store(&self) -> Store<'_> {
        self.state.store("s").unwrap()
    }

    fn asked(&self) -> Vec<String> {
        self.fake.asked.lock().unwrap().clone()
    }

    /// Saves values under these keys, each in the place of another one.
    async fn save(&self, keys: &[&str]) -> Result<(), Error> {
        let items = keys.iter().map(|key| Save {
            key: (*key).to_owned(),
            value: Bytes::from_static(b"1"),
            etag: Some("7".to_owned()),
            ..Save::default()
        });
        self.store().save(items.collect()).await
    }
}

fn unavailable() -> Told {
    let text = "redis://user:hunter2@host is down".to_owned();
    Told::Fails(StateError::Unavailable(text))
}

fn refused() -> Told {
    Told::Fails(StateError::Refused("inner words".to_owned()))
}

fn mismatch() -> Told {
    Told::Fails(StateError::Mismatch)
}

fn told(error: &Error) -> (StateReason, &str) {
    match error.reason() {
        Reason::State(reason) => (reason, error.message()),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn keys_get_their_prefix_and_requests_their_condition() {
    let setup = set_up(Fake::default(), "");
    setup.save(&["a"]).await.unwrap();
    let first = Save {
        key: "b".to_owned(),
        options: Options {
            concurrency: Concurrency::FirstWrite,
            ..Options::default()
        },
        ..Save::default()
    };
    setup.store().save(vec![first]).await.unwrap();
    let removal = Removal {
        key: "c".to_owned(),
        ..Removal::default()
    };
    setup.store().delete(removal).await.unwrap();
    assert_eq!(setup.asked(), ["ns.shop||a", "ns.shop||b", "ns.shop||c"]);
    let conditions = setup.fake.conditions.lock().unwrap().clone();
    let matches = Condition::Matches(ETag::new("7"));
    assert_eq!(conditions, [matches, Condition::Absent, Condition::Always]);
}

#[tokio::test]
async fn a_key_that_is_none_reaches_no_store() {
    let setup = set_up(Fake::told(&[]), "");
    let error = setup.save(&["good", "a||b"]).await.unwrap_err();
    let text = "input key/keyPrefix 'a||b' can't contain '||'";
    assert_eq!(told(&error), (StateReason::KeyIllegal, text));
    let subject = error.subject().unwrap();
    assert_eq!(subject.field.as_deref(), Some("a||b"));
    assert_eq!(subject.resource.as_ref().unwrap().name, "s");
    let nothing = Metadata::new();
    let store = setup.store();
    let read = store.get("", Consistency::Strong, nothing.clone()).await;
    let reads = store.get_all(vec![String::new()], 0, &nothing).await;
    for error in [
        setup.save(&["good", ""]).await.unwrap_err(),
        read.unwrap_err(),
        reads.unwrap_err(),
    ] {
        assert_eq!(error.reason(), Reason::MalformedRequest);
        assert_eq!(error.message(), "\"key\" is a required field");
    }
    let many = vec!["k".to_owned(); 100_001];
    let error = store.get_all(many, 0, &nothing).await.unwrap_err();
    assert_eq!(error.reason(), Reason::MalformedRequest);
    assert_eq!(setup.asked(), [""; 0]);
}

#[tokio::test]
async fn a_store_that_is_not_there_is_told_apart() {
    let setup = set_up(Fake::default(), "");
    let error = setup.state.store("x").err().unwrap();
    let text = "state store x is not found";
    assert_eq!(told(&error), (StateReason::StoreNotFound, text));
    let facts = &error.subject().unwrap().facts;
    assert_eq!(facts[..], [("appID", "shop".to_owned())]);

    let state = State::new(Registry::empty(), "shop", "");
    let error = state.store("x").err().unwrap();
    let text = "state store x is not configured";
    assert_eq!(told(&error), (StateReason::StoresNotConfigured, text));

    let failed = FailedComponent {
        name: "x".to_owned(),
        component_type: "state.redis".to_owned(),
        version: "v1".to_owned(),
        reason: "no password".to_owned(),
        keeps_running: false,
    };
    let registry = Registry::holding(Snapshot {
        failed: vec![failed],
        ..Snapshot::default()
    });
    let state = State::new(registry, "shop", "");
    let error = state.store("x").err().unwrap();
    let text = "state store x is not found: it is defined, but could not be loaded";
    assert_eq!(told(&error), (StateReason::StoreNotFound, text));
}

#[tokio::test]
async fn failures_are_told_without_the_words_of_the_store() {
    let setup = set_up(
        Fake::told(&[
            mismatch(),
            Told::Fails(StateError::ETagInvalid),
            refused(),
            unavailable(),
        ]),
        "",
    );
    for (reason, why) in [
        (
            StateReason::SaveMismatch,
            "possible etag mismatch. error from state store: there is another value, or none, or \
             one already",
        ),
        (
            StateReason::SaveETagInvalid,
            "invalid etag value: the store has none of this form",
        ),
        (StateReason::Save, "the store refused it"),
        (StateReason::Save, "the store cannot be reached, or is busy"),
    ] {
        let error = setup.save(&["k"]).await.unwrap_err();
        let text = format!("failed saving state in state store s: {why}");
        assert_eq!(told(&error), (reason, &*text));
    }
}

#[tokio::test]
async fn reads_of_several_keys_fail_one_by_one_or_all_together() {
    let keys = || vec!["a".to_owned(), "b".to_owned()];
    let nothing = Metadata::new();
    let setup = set_up(Fake::told(&[Told::Done, refused()]), "");
    let reads = setup.store().get_all(keys(), 0, &nothing).await.unwrap();
    assert_eq!(reads[0].outcome, Ok(None));
    assert_eq!(reads[1].outcome, Err("the store refused it".to_owned()));
    for (wanted, at_once) in [(-1, 10), (3, 3), (1_000_000, 100)] {
        setup
            .store()
            .get_all(keys(), wanted, &nothing)
            .await
            .unwrap();
        let expected = format!("{at_once} at once");
        assert_eq!(setup.asked().last(), Some(&expected));
    }
    let setup = set_up(Fake::told(&[unavailable(), unavailable()]), "");
    let error = setup
        .store()
        .get_all(keys(), 0, &nothing)
        .await
        .unwrap_err();
    assert_eq!(told(&error).0, StateReason::BulkGet);
    assert_eq!(
        setup
            .store()
            .get_all(Vec::new(), 0, &nothing)
            .await
            .unwrap(),
        []
    );
}

#[tokio::test]
async fn transactions_have_limits_of_the_store() {
    let change = || {
        Change::Save(Save {
            key: "k".to_owned(),
            ..Save::default()
        })
    };
    let mut fake = Fake::told(&[mismatch(), Told::Done]);
    fake.most_operations = Some(2);
    let setup = set_up(fake, "");
    let store = setup.store();
    let error = store.transact(vec![change(), change()]).await.unwrap_err();
    assert_eq!(told(&error).0, StateReason::TransactionMismatch);
    store.transact(vec![change(), change()]).await.unwrap();
    store.transact(Vec::new()).await.unwrap();
    let error = store
        .transact(vec![change(), change(), change()])
        .await
        .unwrap_err();
    let text = "the transaction contains 3 operations, which is more than what the state store \
                supports: 2";
    assert_eq!(told(&error), (StateReason::TooManyOperations, text));
    assert_eq!(setup.asked(), ["2 operations"; 2]);

    let setup = set_up(Fake::default(), "");
    let error = setup.store().transact(vec![change()]).await.unwrap_err();
    let text = "state store s doesn't support transactions";
    assert_eq!(told(&error), (StateReason::TransactionsUnsupported, text));
}
