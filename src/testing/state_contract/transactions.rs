//! Several writes, all or none.

use std::sync::Arc;

use tokio::task::JoinSet;

use super::{Subject, run, some};
use crate::components::state::{Condition, ETag, Feature, Operation, StateError, StateStore};

/// How many transactions the reader of two keys may see.
const ROUNDS: usize = 150;

pub(super) async fn check(store: &Arc<dyn StateStore>, prefix: &str) {
    let on = (store, prefix);
    run(on, "transaction of everything", all).await;
    run(on, "transaction of nothing", nothing).await;
    run(on, "transaction with one key twice", one_key_twice).await;
    run(on, "halves of a transaction are not seen", no_halves).await;
    if store.features().contains(&Feature::ETag) {
        run(on, "transaction on conditions", on_conditions).await;
        run(on, "transaction that fails", none).await;
        run(on, "transactions lose no increment", increments).await;
    }
}

fn always(on: &Subject, key: &str, value: &str) -> Operation {
    on.set_if(key, value, Condition::Always)
}

async fn all(on: Subject) {
    on.put("gone", "old").await;
    on.put("changed", "old").await;
    let done = on.transact([
        always(&on, "new", "new"),
        on.delete_if("gone", Condition::Always),
        always(&on, "changed", "new"),
        on.delete_if("never", Condition::Always),
    ]);
    assert_eq!(done.await, Ok(()));
    let values = on.values(&["new", "gone", "changed", "never"], 1).await;
    assert_eq!(values, [some("new"), None, some("new"), None]);
    let most = on.store.most_operations().unwrap_or(100).min(100);
    let sets = (0..most).map(|number| always(&on, &format!("many{number}"), "value"));
    assert_eq!(on.transact(sets).await, Ok(()), "{most} at once");
    let last = format!("many{}", most - 1);
    assert_eq!(on.value(&last).await, some("value"));
}

async fn nothing(on: Subject) {
    assert_eq!(on.transact([]).await, Ok(()));
}

async fn one_key_twice(on: Subject) {
    let done = on.transact([always(&on, "a", "1"), always(&on, "a", "2")]);
    assert_eq!(done.await, Ok(()));
    assert_eq!(on.value("a").await, some("2"), "the later one counts");
    let delete = || on.delete_if("a", Condition::Always);
    let done = on.transact([delete(), always(&on, "a", "3")]);
    assert_eq!(done.await, Ok(()));
    assert_eq!(on.value("a").await, some("3"), "deleted and then written");
    let done = on.transact([always(&on, "a", "4"), delete()]);
    assert_eq!(done.await, Ok(()));
    assert_eq!(on.value("a").await, None, "written and then deleted");
}

async fn on_conditions(on: Subject) {
    let (one, two) = (on.put("a", "old").await, on.put("b", "old").await);
    let done = on.transact([
        on.set_if("a", "new", Condition::Matches(one.clone())),
        on.delete_if("b", Condition::Matches(two)),
        on.set_if("c", "new", Condition::Absent),
    ]);
    assert_eq!(done.await, Ok(()));
    let values = on.values(&["a", "b", "c"], 1).await;
    assert_eq!(values, [some("new"), None, some("new")]);
    assert_ne!(on.etag("a").await, one, "its ETag is new");
    let done = on.transact([
        on.delete_if("c", Condition::Always),
        on.set_if("c", "again", Condition::Absent),
    ]);
    assert_eq!(done.await, Ok(()), "each sees what those before it did");
    assert_eq!(on.value("c").await, some("again"));
}

async fn none(on: Subject) {
    let other = on.put("a", "older").await;
    let current = on.put("a", "old").await;
    on.put("b", "old").await;
    let matches = |text: &str| Condition::Matches(ETag::new(text));
    let cases = [
        (
            "wrong set",
            on.set_if("a", "x", Condition::Matches(other.clone())),
        ),
        ("wrong delete", on.delete_if("a", Condition::Matches(other))),
        (
            "set of no value",
            on.set_if("no", "x", Condition::Matches(current.clone())),
        ),
        (
            "delete of no value",
            on.delete_if("no", Condition::Matches(current.clone())),
        ),
        ("first write", on.set_if("a", "x", Condition::Absent)),
        ("malformed set", on.set_if("a", "x", matches("x"))),
        ("malformed delete", on.delete_if("a", matches(""))),
    ];
    for (name, failing) in cases {
        let expected = match name.split(' ').next() {
            Some("malformed") => StateError::ETagInvalid,
            _ => StateError::Mismatch,
        };
        for place in 0..3 {
            let mut operations = vec![
                always(&on, "new", "new"),
                on.delete_if("b", Condition::Always),
            ];
            operations.insert(place, failing.clone());
            let done = on.transact(operations).await;
            assert_eq!(done, Err(expected.clone()), "{name} in place {place}");
            let values = on.values(&["a", "b", "new", "no"], 1).await;
            let untouched = [some("old"), some("old"), None, None];
            assert_eq!(values, untouched, "{name} in place {place} leaves nothing");
            assert_eq!(on.etag("a").await, current, "{name} in place {place}");
        }
    }
    let twice = on.transact([
        on.set_if("a", "1", Condition::Matches(current.clone())),
        on.set_if("a", "2", Condition::Matches(current)),
    ]);
    assert_eq!(
        twice.await,
        Err(StateError::Mismatch),
        "the first changes it"
    );
    assert_eq!(on.value("a").await, some("old"), "and is taken back");
}

/// The pair always has one number. Who reads its first key and then its second one may see a
/// later transaction at the second, and never an earlier one.
async fn no_halves(on: Subject) {
    let pair = |number: usize| {
        let number = number.to_string();
        [
            always(&on, "first", &number),
            always(&on, "second", &number),
        ]
    };
    assert_eq!(on.transact(pair(0)).await, Ok(()));
    let mut reader = JoinSet::new();
    let reading = on.clone();
    reader.spawn(async move {
        loop {
            let first = number(&reading, "first").await;
            let second = number(&reading, "second").await;
            assert!(second >= first, "{first} was seen without its second half");
            if first == ROUNDS {
                return;
            }
            tokio::task::yield_now().await;
        }
    });
    for round in 1..=ROUNDS {
        assert_eq!(on.transact(pair(round)).await, Ok(()));
        tokio::task::yield_now().await;
    }
    let ended = reader.join_next().await.expect("it runs");
    ended.expect("the reader ends well");
}

/// Two counters that change together, by several writers at once.
async fn increments(on: Subject) {
    const WRITERS: usize = 4;
    const INCREMENTS: usize = 10;
    on.put("first", "0").await;
    on.put("second", "0").await;
    let mut writers = JoinSet::new();
    for _ in 0..WRITERS {
        let on = on.clone();
        writers.spawn(async move {
            let mut left = INCREMENTS;
            while left > 0 {
                let etag = on.etag("first").await;
                let next = number(&on, "first").await + 1;
                tokio::task::yield_now().await;
                let done = on.transact([
                    on.set_if("first", next.to_string(), Condition::Matches(etag)),
                    always(&on, "second", &next.to_string()),
                ]);
                match done.await {
                    Ok(()) => left -= 1,
                    Err(error) => assert_eq!(error, StateError::Mismatch),
                }
            }
        });
    }
    while let Some(ended) = writers.join_next().await {
        ended.expect("a writer ends well");
    }
    for key in ["first", "second"] {
        assert_eq!(number(&on, key).await, WRITERS * INCREMENTS, "{key}");
    }
}

async fn number(on: &Subject, key: &str) -> usize {
    let value = on.value(key).await.expect("it is there");
    let text = std::str::from_utf8(&value).expect("a number");
    text.parse().expect("a number")
}
