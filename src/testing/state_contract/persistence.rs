//! What outlives the store that wrote it.

use std::collections::HashSet;
use std::sync::Arc;

use super::{Subject, run, some};
use crate::components::state::{Condition, ETag, StateError, StateStore};
use crate::testing::eventually::eventually;

/// Checks a store that persists. `open` opens it, as a sidecar that starts does; dropping it
/// closes it. `prefix` is in front of every key, and has to be new.
pub async fn survives(open: impl AsyncFn() -> Arc<dyn StateStore>, prefix: &str) {
    let name = "what outlives the store";
    let mut seen = HashSet::new();
    let store = open().await;
    let mut before = Vec::new();
    run((&store, prefix), name, async |on: Subject| {
        write(&on, &mut seen).await;
        for key in ["plain", "binary", "long", "transacted"] {
            before.push((key, on.item(key).await));
        }
    })
    .await;
    drop(store);
    let store = open().await;
    run((&store, prefix), name, async |on: Subject| {
        for (key, item) in &before {
            assert_eq!(&on.item(key).await, item, "{key}");
        }
        again(&on, &mut seen).await;
    })
    .await;
}

async fn write(on: &Subject, seen: &mut HashSet<ETag>) {
    on.put("plain", "value").await;
    on.put("binary", [0, 0xff, 0xc3, 0x28]).await;
    for operation in [
        on.set_for("long", "value", 3600),
        on.set_for("short", "value", 1),
    ] {
        assert_eq!(on.write(operation).await, Ok(()));
    }
    let done = on.transact([
        on.set_if("transacted", "value", Condition::Absent),
        on.delete_if("plain2", Condition::Always),
    ]);
    assert_eq!(done.await, Ok(()));
    on.put("deleted", "value").await;
    on.remove("deleted").await;
    for _ in 0..3 {
        assert!(seen.insert(on.put("counted", "value").await));
        on.remove("counted").await;
    }
}

async fn again(on: &Subject, seen: &mut HashSet<ETag>) {
    assert_eq!(on.item("deleted").await, None, "what was deleted");
    eventually("the TTL goes on", async || {
        on.item("short").await.is_none().then_some(())
    })
    .await;
    let etag = on.etag("plain").await;
    let written = on.set_if("plain", "new", Condition::Matches(etag.clone()));
    assert_eq!(on.write(written).await, Ok(()), "its ETag still counts");
    let late = on.set_if("plain", "late", Condition::Matches(etag));
    assert_eq!(on.write(late).await, Err(StateError::Mismatch));
    assert_eq!(on.value("plain").await, some("new"));
    let first = on.set_if("transacted", "first", Condition::Absent);
    assert_eq!(on.write(first).await, Err(StateError::Mismatch));
    for _ in 0..3 {
        let etag = on.put("counted", "value").await;
        assert!(seen.insert(etag), "no ETag of before comes again");
        on.remove("counted").await;
    }
}
