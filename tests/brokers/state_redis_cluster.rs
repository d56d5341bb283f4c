//! `state.redis`, `pubsub.redis` and `bindings.redis` with a cluster of three primaries.

use std::sync::Arc;

use bytes::Bytes;
use sidegate::components::catalog::Backend;
use sidegate::components::message::Metadata;
use sidegate::components::pubsub::{Interest, Outgoing};
use sidegate::components::state::{Condition, ETag, Operation, StateError, StateStore};
use sidegate::testing::eventually::{eventually, in_time};
use sidegate::testing::ports::free_port;
use sidegate::testing::state_contract::{get, holds, set};

use crate::direct::{binding, build, create, next_settled, state};
use crate::redis::ask;
use crate::servers::Server;
use crate::state_redis::{eventual, is_unavailable, item, put, put_strongly, value};

/// Servers of a cluster.
struct Cluster {
    servers: Vec<Server>,
    /// The ports at which they speak to each other.
    buses: Vec<String>,
}

impl Cluster {
    /// So many primaries, of which each has a part of the slots, and other servers without any.
    async fn start(primaries: u16, others: usize) -> Self {
        let mut servers = Vec::new();
        let mut buses = Vec::new();
        for _ in 0..usize::from(primaries) + others {
            let bus = free_port().to_string();
            let options = [
                &["--cluster-enabled", "yes", "--cluster-port", &bus][..],
                &["--cluster-node-timeout", "1000"],
                &["--cluster-require-full-coverage", "no"],
                &["--repl-diskless-sync-delay", "0"],
            ];
            servers.push(Server::redis(&options.concat()).await);
            buses.push(bus);
        }
        let part = 16384 / primaries;
        for (number, server) in (0..primaries).zip(&servers) {
            let first = number * part;
            let last = if number + 1 == primaries {
                16383
            } else {
                first + part - 1
            };
            let range = [first.to_string(), last.to_string()];
            ask(server, &["CLUSTER", "ADDSLOTSRANGE", &range[0], &range[1]]);
        }
        for (number, server) in servers.iter().enumerate() {
            ask(
                server,
                &["CLUSTER", "SET-CONFIG-EPOCH", &(number + 1).to_string()],
            );
        }
        let cluster = Self { servers, buses };
        cluster.meet();
        cluster.agrees(usize::from(primaries)).await;
        cluster
    }

    fn meet(&self) {
        for (server, bus) in self.servers.iter().zip(&self.buses).skip(1) {
            let port = server.address().port().to_string();
            ask(
                &self.servers[0],
                &["CLUSTER", "MEET", "127.0.0.1", &port, bus],
            );
        }
    }

    /// Until every server knows all others, and so many primaries with slots.
    async fn agrees(&self, primaries: usize) {
        let mut asked = 0;
        for server in &self.servers {
            eventually("the cluster agrees", async || {
                asked += 1;
                if asked % 100 == 0 {
                    // On a slow machine one may not have heard of another in time.
                    self.meet();
                }
                let told = ask(server, &["CLUSTER", "INFO"]);
                let all = format!("cluster_known_nodes:{}", self.servers.len());
                let size = format!("cluster_size:{primaries}");
                let is_one = told.contains("cluster_state:ok")
                    && told.contains(&all)
                    && told.contains(&size);
                is_one.then_some(())
            })
            .await;
        }
    }

    fn hosts(&self) -> String {
        let hosts: Vec<_> = self
            .servers
            .iter()
            .map(|server| server.address().to_string())
            .collect();
        hosts.join(",")
    }

    async fn store(&self) -> Arc<dyn StateStore> {
        let hosts = self.hosts();
        let properties = [("redisHost", hosts.as_str()), ("redisType", "cluster")];
        state("state.redis", &properties).await.unwrap()
    }

    fn id(&self, number: usize) -> String {
        ask(&self.servers[number], &["CLUSTER", "MYID"])
    }

    /// The place of the server that has a slot.
    fn owner(&self, slot: u16) -> usize {
        usize::from(slot / (16384 / 3)).min(2)
    }
}

fn slot(server: &Server, key: &str) -> u16 {
    ask(server, &["CLUSTER", "KEYSLOT", key]).parse().unwrap()
}

#[tokio::test]
async fn a_cluster_keeps_the_contract() {
    let cluster = Cluster::start(3, 0).await;
    let store = cluster.store().await;
    // With one tag, so that transactions are possible.
    holds(&store, "app||{tag}").await;

    let keys: Vec<_> = (0..200).map(|number| format!("app||k{number}")).collect();
    let sets = keys.iter().map(|key| Operation::Set(set(key, key)));
    assert_eq!(store.write_all(sets.collect()).await, vec![Ok(()); 200]);
    let gets: Vec<_> = keys.iter().map(|key| get(key)).collect();
    for (key, found) in keys.iter().zip(store.get_all(&gets, 1).await) {
        assert_eq!(found.unwrap().unwrap().value, key);
    }
    for server in &cluster.servers {
        let size: u32 = ask(server, &["DBSIZE"]).parse().unwrap();
        assert!(size > 20, "{size} of 200 keys");
    }

    let apart = ["a", "b"].map(|key| Operation::Set(eventual(key, "1")));
    let refused = store.transact(apart.to_vec()).await;
    assert!(
        matches!(&refused, Err(StateError::Refused(text)) if text.contains("in braces")),
        "{refused:?}"
    );
    assert_eq!(item(&store, "a").await, Ok(None));
}

#[tokio::test]
async fn messages_and_bindings_find_their_servers() {
    let cluster = Cluster::start(3, 0).await;
    // All others are found from one.
    let host = cluster.servers[1].address().to_string();
    let properties = [("redisHost", host.as_str()), ("redisType", "cluster")];
    let Ok(Backend::PubSub(pubsub)) = build("pubsub.redis", &properties).await else {
        panic!("no pub/sub");
    };
    let bound = binding("bindings.redis", &properties).await;
    for topic in ["a", "b", "c", "d", "e"] {
        let interest = Interest {
            topic: topic.to_owned(),
            metadata: Metadata::new(),
        };
        let mut intake = pubsub.broker.subscribe(&interest).await.unwrap();
        let message = Outgoing {
            data: Bytes::from_static(b"1"),
            content_type: None,
            metadata: Metadata::new(),
        };
        let published = pubsub
            .broker
            .publish_all(topic, vec![message.clone(), message])
            .await;
        assert_eq!(published, [Ok(()), Ok(())]);
        for _ in 0..2 {
            assert_eq!(next_settled(&mut intake).await.unwrap().0, "1");
        }
        intake.close().await;
        let key = format!("key-{topic}");
        create(&bound, "v", &[("key", &key)]).await.unwrap();
        let owner = cluster.owner(slot(&cluster.servers[0], &key));
        assert_eq!(ask(&cluster.servers[owner], &["GET", &key]), "v");
    }
}

#[tokio::test]
async fn configuration_is_read_from_all_and_locks_are_refused() {
    let cluster = Cluster::start(3, 0).await;
    let hosts = cluster.hosts();
    let properties = [("redisHost", hosts.as_str()), ("redisType", "cluster")];
    let Ok(Backend::Configuration(store)) = build("configuration.redis", &properties).await else {
        panic!("no configuration store");
    };
    let keys = ["a", "b", "c", "d", "e", "f"].map(str::to_owned);
    let set = |key: &str, value: &str| {
        let owner = cluster.owner(slot(&cluster.servers[0], key));
        ask(&cluster.servers[owner], &["SET", key, value])
    };
    for key in &keys[..5] {
        assert_eq!(set(key, &format!("{key}||1")), "OK");
    }
    let items = store.get(&keys, &Metadata::new()).await.unwrap();
    assert_eq!(items.len(), 5);
    assert_eq!(items["c"].value, "c");
    let all = store.get(&[], &Metadata::new()).await.unwrap_err();
    assert!(all.to_string().contains("name those wanted"), "{all}");
    let mut changes = store.subscribe(&keys, &Metadata::new()).await.unwrap();
    set("f", "new");
    assert_eq!(
        in_time("a change", changes.next()).await.unwrap()["f"].value,
        "new"
    );

    let error = build("lock.redis", &properties).await.err().unwrap();
    assert!(error.to_string().contains("two could hold it"), "{error}");
}

#[tokio::test]
async fn follows_a_slot_that_moves() {
    let cluster = Cluster::start(3, 0).await;
    let store = cluster.store().await;
    let (old, new) = (&cluster.servers[2], &cluster.servers[0]);
    // Slot 12182, of the third.
    let [moved, left, later] = ["{foo}moved", "{foo}left", "{foo}later"];
    for key in [moved, left] {
        put(&store, key, "1").await.unwrap();
    }
    let etag = item(&store, moved).await.unwrap().unwrap().etag.unwrap();
    let slot = slot(old, moved).to_string();
    ask(
        new,
        &["CLUSTER", "SETSLOT", &slot, "IMPORTING", &cluster.id(2)],
    );
    ask(
        old,
        &["CLUSTER", "SETSLOT", &slot, "MIGRATING", &cluster.id(0)],
    );
    let port = new.address().port().to_string();
    let migrate = |key| ask(old, &["MIGRATE", "127.0.0.1", &port, key, "0", "5000"]);
    assert_eq!(migrate(moved), "OK");

    // The old server sends those away that it does not have any more.
    assert_eq!(value(&store, moved).await.as_deref(), Ok("1"));
    assert_eq!(value(&store, left).await.as_deref(), Ok("1"));
    let mut second = eventual(moved, "2");
    second.condition = Condition::Matches(etag);
    assert_eq!(store.write(Operation::Set(second)).await, Ok(()));
    assert_eq!(put(&store, later, "1").await, Ok(()));
    assert_eq!(ask(old, &["EXISTS", left]), "1");
    let found = store.get_all(&[moved, left, later].map(get), 1).await;
    let found: Vec<_> = found
        .into_iter()
        .map(|found| found.unwrap().unwrap().value)
        .collect();
    assert_eq!(found, ["2", "1", "1"]);
    let both = [moved, left].map(|key| Operation::Set(eventual(key, "3")));
    let torn = store.transact(both.to_vec()).await;
    assert!(is_unavailable(&torn), "{torn:?}");

    assert_eq!(migrate(left), "OK");
    for server in [new, old] {
        ask(
            server,
            &["CLUSTER", "SETSLOT", &slot, "NODE", &cluster.id(0)],
        );
    }
    assert_eq!(store.transact(both.to_vec()).await, Ok(()));
    assert_eq!(value(&store, left).await.as_deref(), Ok("3"));
    let mut wrong = eventual(left, "4");
    wrong.condition = Condition::Matches(ETag::of_version(1));
    let wrong = store.write(Operation::Set(wrong)).await;
    assert_eq!(wrong, Err(StateError::Mismatch));
    // It asks the right one from now on.
    ask(old, &["CONFIG", "RESETSTAT"]);
    assert_eq!(value(&store, moved).await.as_deref(), Ok("3"));
    let errors = ask(old, &["INFO", "errorstats"]);
    assert!(!errors.contains("MOVED"), "{errors}");
}

#[tokio::test]
async fn a_replica_takes_over() {
    let mut cluster = Cluster::start(3, 1).await;
    let primary = cluster.id(2);
    eventually("it becomes a replica", async || {
        let told = ask(&cluster.servers[3], &["CLUSTER", "REPLICATE", &primary]);
        (told == "OK").then_some(())
    })
    .await;
    eventually("the replica follows", async || {
        let told = ask(&cluster.servers[2], &["INFO", "replication"]);
        told.contains("state=online").then_some(())
    })
    .await;
    let store = cluster.store().await;
    // Of the third, and of the first.
    let (lost, other) = ("foo", "{bar}");
    assert_eq!(cluster.owner(slot(&cluster.servers[0], lost)), 2);
    assert_eq!(cluster.owner(slot(&cluster.servers[0], other)), 0);
    put_strongly(&store, lost, "1").await;
    put(&store, other, "1").await.unwrap();

    cluster.servers[2].kill();
    let first = put(&store, lost, "2").await;
    assert!(is_unavailable(&first), "{first:?}");
    assert_eq!(
        value(&store, other).await.as_deref(),
        Ok("1"),
        "the others go on"
    );
    let found = eventually("the replica takes over", async || {
        value(&store, lost).await.ok()
    });
    assert_eq!(found.await, "1");
    assert_eq!(put(&store, lost, "2").await, Ok(()));
    assert_eq!(ask(&cluster.servers[3], &["HGET", lost, "data"]), "2");
    // The old one comes back as a replica.
    cluster.servers[2].start_again().await;
    cluster.agrees(3).await;
    assert_eq!(put(&store, lost, "3").await, Ok(()));
    assert_eq!(value(&store, lost).await.as_deref(), Ok("3"));
}
