//! ETags, and writes that count on a condition only.

use std::collections::HashSet;
use std::sync::Arc;

use super::{Subject, run, some};
use crate::components::state::{Condition, ETag, StateError, StateStore};

/// What is no ETag of this build's stores.
const MALFORMED: [&str; 9] = [
    "",
    "0",
    "01",
    "-1",
    "1.0",
    "not-an-etag",
    "\"1\"",
    "2b1d6f9e-8a4c-4d0e-9c1b-2f3e4d5c6b7a",
    "340282366920938463463374607431768211456",
];

pub(super) async fn check(store: &Arc<dyn StateStore>, prefix: &str) {
    let on = (store, prefix);
    run(on, "an ETag for each write", one_for_each_write).await;
    run(on, "an ETag that matches", matching).await;
    run(on, "an ETag that is not the value's", wrong).await;
    run(on, "an ETag of no value", of_no_value).await;
    run(on, "an ETag that is none", malformed).await;
    run(on, "no ETag comes twice", not_twice).await;
    run(on, "first write", first_write).await;
    run(on, "one condition of several fails", several).await;
}

async fn one_for_each_write(on: Subject) {
    let one = on.put("key", "same").await;
    assert_eq!(on.etag("key").await, one, "reading changes nothing");
    let two = on.put("key", "same").await;
    assert_ne!(one, two, "the same value is another write");
    for etag in [one, two] {
        assert!(etag.version().is_ok(), "{etag} has the one form");
    }
}

async fn matching(on: Subject) {
    let etag = on.put("key", "one").await;
    let written = on.set_if("key", "two", Condition::Matches(etag.clone()));
    assert_eq!(on.write(written).await, Ok(()));
    assert_eq!(on.value("key").await, some("two"));
    let next = on.etag("key").await;
    assert_ne!(next, etag, "it has a new one");
    let deleted = on.delete_if("key", Condition::Matches(next));
    assert_eq!(on.write(deleted).await, Ok(()));
    assert_eq!(on.item("key").await, None);
}

async fn wrong(on: Subject) {
    let old = on.put("key", "one").await;
    let current = on.put("key", "two").await;
    let other = on.put("other", "value").await;
    let next = ETag::of_version(current.version().unwrap().wrapping_add(1).max(1));
    for etag in [
        old,
        other,
        next,
        ETag::of_version(1),
        ETag::of_version(u128::MAX),
    ] {
        if etag == current {
            continue;
        }
        let condition = || Condition::Matches(etag.clone());
        let set = on.write(on.set_if("key", "three", condition())).await;
        assert_eq!(set, Err(StateError::Mismatch), "set with {etag}");
        let deleted = on.write(on.delete_if("key", condition())).await;
        assert_eq!(deleted, Err(StateError::Mismatch), "delete with {etag}");
        assert_eq!(on.value("key").await, some("two"), "nothing is written");
        assert_eq!(on.etag("key").await, current, "its ETag is the same");
    }
}

async fn of_no_value(on: Subject) {
    let etag = on.put("key", "value").await;
    on.remove("key").await;
    for key in ["key", "never"] {
        let condition = || Condition::Matches(etag.clone());
        let set = on.write(on.set_if(key, "value", condition())).await;
        assert_eq!(set, Err(StateError::Mismatch), "set of {key:?}");
        let deleted = on.write(on.delete_if(key, condition())).await;
        assert_eq!(deleted, Err(StateError::Mismatch), "delete of {key:?}");
        assert_eq!(on.item(key).await, None, "{key:?} is not made");
    }
}

async fn malformed(on: Subject) {
    let etag = on.put("key", "value").await;
    for text in MALFORMED {
        for key in ["key", "missing"] {
            let condition = || Condition::Matches(ETag::new(text));
            let set = on.write(on.set_if(key, "new", condition())).await;
            assert_eq!(set, Err(StateError::ETagInvalid), "set with {text:?}");
            let deleted = on.write(on.delete_if(key, condition())).await;
            assert_eq!(deleted, Err(StateError::ETagInvalid), "delete, {text:?}");
        }
        assert_eq!(on.etag("key").await, etag, "{text:?} writes nothing");
        assert_eq!(on.item("missing").await, None, "{text:?} makes nothing");
    }
}

/// A key that is deleted and written again has no ETag that it had before: who holds an old one
/// is not taken for one who knows the new value.
async fn not_twice(on: Subject) {
    let mut seen = HashSet::new();
    for round in 0..10 {
        let one = on.put("key", "value").await;
        let two = on.put("key", "value").await;
        for etag in [one.clone(), two] {
            assert!(seen.insert(etag), "an ETag came twice, in round {round}");
        }
        on.remove("key").await;
        on.put("key", "value").await;
        let late = on.set_if("key", "late", Condition::Matches(one));
        assert_eq!(on.write(late).await, Err(StateError::Mismatch));
        assert!(seen.insert(on.etag("key").await), "twice, in {round}");
        on.remove("key").await;
    }
}

async fn first_write(on: Subject) {
    let first = on.set_if("key", "one", Condition::Absent);
    assert_eq!(on.write(first).await, Ok(()), "nothing was there");
    let second = on.set_if("key", "two", Condition::Absent);
    assert_eq!(on.write(second).await, Err(StateError::Mismatch));
    assert_eq!(on.value("key").await, some("one"));
    on.put("empty", "").await;
    let over = on.set_if("empty", "value", Condition::Absent);
    let over = on.write(over).await;
    assert_eq!(over, Err(StateError::Mismatch), "an empty value is one");
    on.remove("key").await;
    let again = on.set_if("key", "three", Condition::Absent);
    assert_eq!(on.write(again).await, Ok(()), "after it was deleted");
    assert_eq!(on.value("key").await, some("three"));
}

async fn several(on: Subject) {
    let current = on.put("b", "old").await;
    on.put("c", "old").await;
    let wrong = ETag::of_version(7);
    let outcomes = on.store.write_all(vec![
        on.set_if("a", "new", Condition::Absent),
        on.set_if("b", "new", Condition::Matches(current)),
        on.set_if("c", "new", Condition::Matches(wrong)),
        on.set_if("d", "new", Condition::Matches(ETag::new("x"))),
        on.delete_if("e", Condition::Always),
        on.set_if("f", "new", Condition::Always),
    ]);
    let expected = [
        Ok(()),
        Ok(()),
        Err(StateError::Mismatch),
        Err(StateError::ETagInvalid),
        Ok(()),
        Ok(()),
    ];
    assert_eq!(outcomes.await, expected, "what became of each");
    let values = on.values(&["a", "b", "c", "d", "e", "f"], 10).await;
    let new = || some("new");
    let expected = [new(), new(), some("old"), None, None, new()];
    assert_eq!(values, expected, "the others are written");
}
