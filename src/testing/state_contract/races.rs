//! Several writers of one key at once.

use std::sync::Arc;

use tokio::task::JoinSet;

use super::{Subject, run};
use crate::components::state::{Condition, StateError, StateStore};

/// How many write at once.
const WRITERS: usize = 8;
/// How often each of them adds one.
const INCREMENTS: usize = 15;

pub(super) async fn check(store: &Arc<dyn StateStore>, prefix: &str) {
    let on = (store, prefix);
    run(on, "no increment is lost", increments).await;
    run(on, "one first write wins", one_first).await;
    run(on, "one delete wins", one_delete).await;
}

async fn increments(on: Subject) {
    on.put("counter", "0").await;
    let mut writers = JoinSet::new();
    for _ in 0..WRITERS {
        let on = on.clone();
        writers.spawn(async move {
            for _ in 0..INCREMENTS {
                increment(&on).await;
            }
        });
    }
    while let Some(ended) = writers.join_next().await {
        ended.expect("a writer ends well");
    }
    let counted = number(&on, "counter").await;
    assert_eq!(counted, WRITERS * INCREMENTS, "each of them counts once");
}

/// Adds one, again and again until nobody was faster.
async fn increment(on: &Subject) {
    loop {
        let item = on.item("counter").await.expect("it is there");
        let etag = item.etag.expect("it has an ETag");
        let text = std::str::from_utf8(&item.value).expect("a number");
        let next = text.parse::<usize>().expect("a number") + 1;
        // Lets others in between also where the store never waits.
        tokio::task::yield_now().await;
        let set = on.set_if("counter", next.to_string(), Condition::Matches(etag));
        match on.write(set).await {
            Ok(()) => return,
            Err(StateError::Mismatch) => {}
            Err(error) => panic!("{error:?}"),
        }
    }
}

async fn number(on: &Subject, key: &str) -> usize {
    let value = on.value(key).await.expect("it is there");
    std::str::from_utf8(&value)
        .ok()
        .and_then(|text| text.parse().ok())
        .expect("a number")
}

async fn one_first(on: Subject) {
    for round in 0..10 {
        let key = format!("key{round}");
        let winners = race(&on, |writer| {
            on.set_if(&key, writer.to_string(), Condition::Absent)
        });
        let winners = winners.await;
        assert_eq!(winners.len(), 1, "of round {round}: {winners:?}");
        assert_eq!(number(&on, &key).await, winners[0], "its value is there");
    }
}

async fn one_delete(on: Subject) {
    for round in 0..10 {
        let etag = on.put("key", "value").await;
        let winners = race(&on, |_| {
            on.delete_if("key", Condition::Matches(etag.clone()))
        });
        let winners = winners.await;
        assert_eq!(winners.len(), 1, "of round {round}: {winners:?}");
        assert_eq!(on.item("key").await, None);
    }
}

/// Lets all writers write at once, and says who won. The others find that the condition of their
/// write does not hold.
async fn race(
    on: &Subject,
    operation: impl Fn(usize) -> crate::components::state::Operation,
) -> Vec<usize> {
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let (on, operation) = (on.clone(), operation(writer));
        writers.spawn(async move {
            tokio::task::yield_now().await;
            (writer, on.write(operation).await)
        });
    }
    let mut winners = Vec::new();
    while let Some(ended) = writers.join_next().await {
        match ended.expect("a writer ends well") {
            (writer, Ok(())) => winners.push(writer),
            (_, Err(error)) => assert_eq!(error, StateError::Mismatch),
        }
    }
    winners
}
