//! State in servers that are killed, behind networks that fail, by sidecars that are killed: no
//! write that was acknowledged is lost, and no conflict of ETags goes unnoticed.

use std::net::SocketAddr;

use sidegate::testing::eventually::eventually;

use crate::faults::with_fields;
use crate::postgres_server::{PostgresServer, connection_string};
use crate::proxy::{Proxy, Weather};
use crate::servers::Server;
use crate::sidecar::Sidecar;
use crate::state_load::{Load, StateClient, assert_unavailable};

/// How many writes have to be acknowledged before and after each fault.
const WRITES: u64 = 150;

/// A server of state.
struct Store {
    /// Its name, for what is printed.
    name: &'static str,
    server: Server,
    /// The component `store`, as YAML, at an address. Its calls time out in a second.
    component: fn(SocketAddr) -> String,
}

async fn redis() -> Store {
    Store {
        name: "Redis",
        server: Server::redis(&[]).await,
        component: |address| {
            let host = address.to_string();
            let fields = [
                ("redisHost", host.as_str()),
                ("readTimeout", "1s"),
                ("writeTimeout", "1s"),
            ];
            component("state.redis", &fields)
        },
    }
}

async fn postgresql() -> Store {
    Store {
        name: "PostgreSQL",
        server: PostgresServer::start().await.server,
        component: |address| {
            let connection = connection_string(address, "");
            let fields = [("connectionString", connection.as_str()), ("timeout", "1s")];
            component("state.postgresql", &fields)
        },
    }
}

/// A component `store` without scopes.
pub(crate) fn component(kind: &str, fields: &[(&str, &str)]) -> String {
    let head = format!(
        "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata:\n  name: store\nspec:\n  \
         type: {kind}\n  version: v1\n  metadata:"
    );
    with_fields(head, fields)
}

/// The server is killed and started again under load, twice. While it is down, every call is told.
async fn the_server_is_killed(store: &mut Store) {
    let sidecar = Sidecar::start(None, &(store.component)(store.server.address())).await;
    let client = StateClient::of(sidecar.address());
    let mut load = Load::on(client.clone(), "server-killed");
    for _ in 0..2 {
        load.goes_on(WRITES).await;
        store.server.kill();
        is_told(&client).await;
        store.server.start_again().await;
        load.goes_on(WRITES).await;
    }
    load.holds(&format!("{}, server killed", store.name)).await;
}

/// Asserts that reads, writes and transactions fail with their own errorCodes.
async fn is_told(client: &StateClient) {
    let item = serde_json::json!({"key": "k", "value": 1});
    let answer = client.get("k").await.unwrap();
    assert_unavailable(&answer, "ERR_STATE_GET");
    let answer = client.save(&item).await.unwrap();
    assert_unavailable(&answer, "ERR_STATE_SAVE");
    let answer = client.transact(&[item]).await.unwrap();
    assert_unavailable(&answer, "ERR_STATE_TRANSACTION");
}

/// Writes arrive and their answers do not; then the network is cut, and heals.
async fn the_network_fails(store: &Store) {
    let proxy = Proxy::to(store.server.address()).await;
    let sidecar = Sidecar::start(None, &(store.component)(proxy.address())).await;
    let client = StateClient::of(sidecar.address());
    let mut load = Load::on(client.clone(), "network-fails");
    for worse in [Weather::Unanswered, Weather::Silent] {
        load.goes_on(WRITES).await;
        proxy.turn(worse);
        load.fails().await;
        proxy.turn(Weather::Cut);
        eventually("a read is refused", async || {
            let answer = client.get("k").await?;
            (answer.status() == 500).then_some(())
        })
        .await;
        proxy.turn(Weather::Fair);
    }
    load.goes_on(WRITES).await;
    load.holds(&format!("{}, network cut and answers lost", store.name))
        .await;
}

/// The sidecar is killed and started again under load.
async fn the_sidecar_is_killed(store: &Store) {
    let mut sidecar = Sidecar::start(None, &(store.component)(store.server.address())).await;
    let mut load = Load::on(StateClient::of(sidecar.address()), "sidecar-killed");
    for _ in 0..2 {
        load.goes_on(WRITES).await;
        sidecar.kill();
        load.fails().await;
        sidecar.start_again().await;
    }
    load.goes_on(WRITES).await;
    load.holds(&format!("{}, sidecar killed", store.name)).await;
}

#[tokio::test]
async fn redis_loses_nothing_that_was_acknowledged() {
    let mut store = redis().await;
    the_server_is_killed(&mut store).await;
    the_network_fails(&store).await;
    the_sidecar_is_killed(&store).await;
}

#[tokio::test]
async fn postgresql_loses_nothing_that_was_acknowledged() {
    let mut store = postgresql().await;
    the_server_is_killed(&mut store).await;
    the_network_fails(&store).await;
    the_sidecar_is_killed(&store).await;
}
