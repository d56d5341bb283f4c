//! Values that end by themselves.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::{Subject, get, run, some};
use crate::components::state::{
    Condition, Feature, Item, Operation, Set, StateError, StateStore, Ttl,
};
use crate::testing::eventually::eventually;

/// An hour, in seconds.
const LONG: u32 = 3600;
/// How far clocks may differ.
const CLOCKS: Duration = Duration::from_secs(60);

pub(super) async fn check(store: &Arc<dyn StateStore>, prefix: &str) {
    let on = (store, prefix);
    run(on, "a TTL is shown", shown).await;
    run(on, "a value stays and ends", stays_and_ends).await;
    run(on, "later writes decide about the TTL", later_writes).await;
    if store.features().contains(&Feature::ETag) {
        run(on, "an ended value is as if absent", as_if_absent).await;
    }
    if store.features().contains(&Feature::Transactional) {
        run(on, "a TTL in a transaction", in_transaction).await;
    }
}

/// When a value ends, where it does.
fn end(item: &Item) -> Option<SystemTime> {
    let text = item.metadata.get("ttlExpireTime")?;
    let time = text.parse::<k8s_openapi::jiff::Timestamp>();
    Some(time.expect("a time in RFC 3339").into())
}

async fn ended(on: &Subject, key: &str) {
    eventually("a value ends", async || {
        on.item(key).await.is_none().then_some(())
    })
    .await;
}

async fn write(on: &Subject, operation: Operation) {
    assert_eq!(on.write(operation).await, Ok(()));
}

async fn shown(on: Subject) {
    let long = Duration::from_secs(LONG.into());
    let before = SystemTime::now();
    write(&on, on.set_for("key", "value", LONG)).await;
    let item = on.item("key").await.expect("it is there");
    let end_shown = end(&item).expect("its end is shown");
    assert!(end_shown >= before + long - CLOCKS, "{end_shown:?}");
    assert!(
        end_shown <= SystemTime::now() + long + CLOCKS,
        "{end_shown:?}"
    );
    let all = on.store.get_all(&[get(&on.key("key"))], 1).await;
    assert_eq!(all, [Ok(Some(item))], "in bulk as well");
    on.put("forever", "value").await;
    let item = on.item("forever").await.expect("it is there");
    assert_eq!(end(&item), None, "no other one ends");
}

async fn stays_and_ends(on: Subject) {
    let start = Instant::now();
    write(&on, on.set_for("key", "value", 1)).await;
    write(&on, on.set_for("long", "value", u32::MAX >> 1)).await;
    ended(&on, "key").await;
    let stayed = start.elapsed();
    assert!(stayed >= Duration::from_millis(900), "it stayed {stayed:?}");
    assert_eq!(on.values(&["key", "long"], 10).await, [None, some("value")]);
}

async fn later_writes(on: Subject) {
    for key in ["cleared", "forever", "longer", "deleted"] {
        write(&on, on.set_for(key, "old", 1)).await;
    }
    on.put("shorter", "old").await;
    on.put("cleared", "new").await;
    let forever = Set {
        ttl: Ttl::Forever,
        ..on.set("forever", "new")
    };
    write(&on, Operation::Set(forever)).await;
    write(&on, on.set_for("longer", "new", LONG)).await;
    on.remove("deleted").await;
    on.put("deleted", "new").await;
    write(&on, on.set_for("shorter", "new", 1)).await;
    let item = on.item("cleared").await.expect("it is there");
    assert_eq!(end(&item), None, "a write without a TTL clears it");
    // Written last, it ends last.
    ended(&on, "shorter").await;
    for key in ["cleared", "forever", "longer", "deleted"] {
        assert_eq!(on.value(key).await, some("new"), "{key}");
    }
}

async fn as_if_absent(on: Subject) {
    let keys = ["set", "deleted", "first", "plain", "overwritten"];
    for key in keys {
        write(&on, on.set_for(key, "old", 1)).await;
    }
    let mut old = Vec::new();
    for key in keys {
        // On a slow machine it may have ended before it was read.
        old.push(on.item(key).await.and_then(|item| item.etag));
    }
    for key in keys {
        ended(&on, key).await;
    }
    let matches = |place: usize| old[place].clone().map(Condition::Matches);
    if let Some(condition) = matches(0) {
        let set = on.write(on.set_if("set", "new", condition)).await;
        assert_eq!(set, Err(StateError::Mismatch), "a set with its ETag");
    }
    if let Some(condition) = matches(1) {
        let deleted = on.write(on.delete_if("deleted", condition)).await;
        assert_eq!(deleted, Err(StateError::Mismatch), "a delete with it");
    }
    write(&on, on.set_if("first", "new", Condition::Absent)).await;
    assert_eq!(on.value("first").await, some("new"), "a first write");
    on.remove("plain").await;
    on.put("overwritten", "new").await;
    for (place, key) in [(2, "first"), (4, "overwritten")] {
        let item = on.item(key).await.expect("it is there");
        assert_eq!(end(&item), None, "{key} does not end");
        assert!(old[place].is_none() || item.etag != old[place], "{key}");
    }
    assert_eq!(
        on.values(&["set", "deleted", "plain"], 1).await,
        [None, None, None]
    );
}

async fn in_transaction(on: Subject) {
    write(&on, on.set_for("before", "old", 1)).await;
    let done = on.transact([
        on.set_for("a", "value", 1),
        on.set_for("b", "value", LONG),
        on.set_if("c", "value", Condition::Always),
    ]);
    assert_eq!(done.await, Ok(()));
    let item = on.item("b").await.expect("it is there");
    assert!(end(&item).is_some(), "its end is shown");
    ended(&on, "a").await;
    ended(&on, "before").await;
    let values = on.values(&["a", "b", "c"], 1).await;
    assert_eq!(values, [None, some("value"), some("value")]);
    if on.store.features().contains(&Feature::ETag) {
        let etag = on.etag("c").await;
        let done = on.transact([
            on.set_if("new", "value", Condition::Always),
            on.set_if("before", "new", Condition::Matches(etag)),
        ]);
        assert_eq!(done.await, Err(StateError::Mismatch), "it has ended");
        assert_eq!(on.item("new").await, None, "nothing is written");
        let done = on.transact([on.set_if("before", "new", Condition::Absent)]);
        assert_eq!(done.await, Ok(()), "it has ended");
    }
}
