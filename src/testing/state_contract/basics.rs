//! Reading, writing, deleting, one by one and several at once.

use std::sync::Arc;

use super::{Subject, get, run, some};
use crate::components::state::{Condition, Consistency, Operation, StateStore};
use crate::testing::eventually::eventually;

/// How many keys are written and read at once.
const MANY: usize = 250;

pub(super) async fn check(store: &Arc<dyn StateStore>, prefix: &str) {
    let on = (store, prefix);
    run(on, "get set delete", get_set_delete).await;
    run(on, "a read that need not be the newest", eventual).await;
    run(on, "bulk order and misses", bulk).await;
    run(on, "nothing in bulk", nothing).await;
    run(on, "many keys at once", many).await;
}

async fn get_set_delete(on: Subject) {
    assert_eq!(on.item("key").await, None, "nothing is there at first");
    on.put("key", "one").await;
    assert_eq!(on.value("key").await, some("one"));
    assert_eq!(on.value("ke").await, None, "a shorter key is another");
    assert_eq!(on.value("key2").await, None, "a longer key is another");
    on.put("key", "two").await;
    assert_eq!(on.value("key").await, some("two"), "the later write counts");
    on.remove("key").await;
    assert_eq!(on.item("key").await, None, "it is deleted");
    on.remove("key").await;
    on.put("key", "three").await;
    assert_eq!(on.value("key").await, some("three"), "written again");
}

async fn eventual(on: Subject) {
    on.put("key", "value").await;
    let mut read = get(&on.key("key"));
    read.consistency = Consistency::Eventual;
    let item = eventually("a replica has the value", async || {
        on.store.get(&read).await.expect("it is read")
    });
    assert_eq!(Some(item.await.value), some("value"));
}

async fn bulk(on: Subject) {
    for (key, value) in [("a", "1"), ("b", "2"), ("c", "3")] {
        on.put(key, value).await;
    }
    let keys = ["c", "missing", "a", "b", "none", "a"];
    let expected = [some("3"), None, some("1"), some("2"), None, some("1")];
    for parallelism in [1, 10] {
        let values = on.values(&keys, parallelism).await;
        assert_eq!(values, expected, "{parallelism} at once");
    }
    let single = on.item("a").await;
    let gets = [get(&on.key("a"))];
    let both = on.store.get_all(&gets, 1).await;
    assert_eq!(both, [Ok(single)], "the same as one by one");
}

async fn nothing(on: Subject) {
    assert_eq!(on.store.get_all(&[], 10).await, []);
    assert_eq!(on.store.write_all(Vec::new()).await, []);
}

async fn many(on: Subject) {
    let names: Vec<_> = (0..MANY).map(|number| format!("k{number}")).collect();
    let sets = names.iter().map(|key| Operation::Set(on.set(key, key)));
    let outcomes = on.store.write_all(sets.collect()).await;
    assert_eq!(outcomes, vec![Ok(()); MANY]);
    let keys: Vec<_> = names.iter().map(String::as_str).collect();
    for parallelism in [1, 10] {
        let values = on.values(&keys, parallelism).await;
        for (key, value) in keys.iter().zip(&values) {
            assert_eq!(value.as_deref(), Some(key.as_bytes()), "{parallelism}");
        }
    }
    let odd = |number: &usize| number % 2 == 1;
    let deletes = (0..MANY).filter(odd);
    let deletes = deletes.map(|number| on.delete_if(&names[number], Condition::Always));
    let outcomes = on.store.write_all(deletes.collect()).await;
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    let values = on.values(&keys, 10).await;
    for (number, value) in values.iter().enumerate() {
        assert_eq!(value.is_none(), odd(&number), "{number} of {MANY}");
    }
}
