//! Clients that write the same key at the same time.

use std::sync::Arc;

use futures_util::future::join_all;
use serde_json::json;
use tokio::task::JoinSet;

use super::*;

#[tokio::test]
async fn of_two_writes_with_one_etag_one_counts() {
    let world = World::start().await;
    world.save("k", "0").await;
    for round in 1..=25 {
        let etag = world.etag("k").await;
        let write = async |client: &str| {
            let value = format!("{round} {client}");
            let body = json!([{"key": "k", "value": value, "etag": etag}]);
            let answer = world.post("s", body.to_string()).await;
            (answer.status().as_u16(), format!("{value:?}"))
        };
        let mut written = join_all([write("a"), write("b")]).await;
        written.sort();
        let statuses: Vec<_> = written.iter().map(|(status, _)| *status).collect();
        assert_eq!(statuses, [204, 409], "{round}");
        assert_eq!(world.value("k").await.unwrap(), written[0].1);
    }
}

#[tokio::test]
async fn a_counter_counts_every_client() {
    const CLIENTS: u32 = 8;
    const TURNS: u32 = 10;
    let world = Arc::new(World::start().await);
    world.save("count", "0").await;
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        let world = Arc::clone(&world);
        clients.spawn(async move {
            for _ in 0..TURNS {
                while !has_added(&world).await {}
            }
        });
    }
    while let Some(ended) = clients.join_next().await {
        ended.unwrap();
    }
    let count = world.value("count").await.unwrap();
    assert_eq!(count, (CLIENTS * TURNS).to_string());
}

/// Reads the counter and writes it back with one more, where nobody else was faster.
async fn has_added(world: &World) -> bool {
    let answer = world.get("s/count").await;
    let etag = answer.headers()["etag"].to_str().unwrap();
    let count: u32 = text(&answer).parse().unwrap();
    let body = json!([{"key": "count", "value": count + 1, "etag": etag}]);
    let answer = world.post("s", body.to_string()).await;
    match answer.status().as_u16() {
        204 => true,
        409 => false,
        _ => panic!("{answer:?}"),
    }
}
