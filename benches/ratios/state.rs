//! State in Redis: what the sidecar adds to a call of the client that it has, and how many calls it
//! takes at once.

use std::net::SocketAddr;
use std::time::Instant;

use redis::AsyncCommands as _;
use redis::aio::MultiplexedConnection;
use tokio::task::JoinSet;

use super::load::Load;
use super::measure::{compare, median};
use super::report::Report;
use super::servers::{Stage, TOKEN, bare, redis_server};

/// How many calls a figure is made of, in turns of a tenth of them.
const CALLS: usize = 2000;
const TURNS: usize = 10;

/// How many connections there are at once, and how many calls of each the client alone makes.
const CONNECTIONS: usize = 256;
const CALLS_OF_EACH: usize = 200;

/// How many operations a transaction has.
const OPERATIONS: usize = 4;

/// What is stored: about as much as an order.
const VALUE: &str = r#"{"id":1,"customer":"4711","items":[{"sku":"A-1","count":2}]}"#;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    Set,
    Get,
    Transaction,
}

/// Measures state in Redis, where this machine has it.
pub(crate) async fn measure(stage: &Stage, report: &mut Report) {
    let Some(redis) = redis_server() else {
        println!("      skipped: no redis-server to keep state in");
        return;
    };
    let sidecar = stage.sidecar_of_state(redis.address);
    let direct = Direct::to(redis.address).await;
    for (call, what, bound) in [
        (Call::Set, "state set", 0.25),
        (Call::Get, "state get", 0.25),
        (Call::Transaction, "transaction of 4", 0.5),
    ] {
        let own = request(sidecar.address, call);
        // The first calls make connections and load scripts.
        own.latencies(50).await;
        direct.latencies(call, 50).await;
        let (mut own_times, mut other_times) = (Vec::new(), Vec::new());
        for _ in 0..TURNS {
            other_times.extend(direct.latencies(call, CALLS / TURNS).await);
            own_times.extend(own.latencies(CALLS / TURNS).await);
        }
        let (a, b) = (median(&mut own_times), median(&mut other_times));
        let p99 = CALLS / 100 * 99;
        let (own_p99, other_p99) = (own_times[p99], other_times[p99]);
        let details = format!("{a:.3} and {b:.3} ms; p99 {own_p99:.3} and {other_p99:.3} ms");
        let name = format!("{what} on Redis, added p50, ms");
        report.at_most(&name, a - b, bound, &details);
    }
    let server = bare("state", &[&redis.address.to_string()]);
    for (call, what) in [(Call::Set, "set"), (Call::Get, "get")] {
        let many = |address| Load {
            connections: CONNECTIONS,
            ..request(address, call)
        };
        let name = format!("state {what} by {CONNECTIONS}, of a bare server");
        let (own, other) = (many(sidecar.address), many(server.address));
        compare(report, &name, [&own, &other], 0.5).await;
        let rate = direct.rate(call).await;
        println!("      the client alone, for {CONNECTIONS} at once: {rate:.0} a second");
    }
    let resident = sidecar.resident_mib();
    println!("      the sidecar is resident with {resident:.1} MiB after them");
}

/// The request for a call, of the sidecar or of the bare server.
fn request(server: SocketAddr, call: Call) -> Load {
    let headers = format!("dapr-api-token: {TOKEN}\r\ncontent-type: application/json\r\n");
    let item = |number: usize| format!(r#"{{"key":"order-{number}","value":{VALUE}}}"#);
    let (line, body, status) = match call {
        Call::Set => ("POST /v1.0/state/redis", format!("[{}]", item(0)), 204),
        Call::Get => ("GET /v1.0/state/redis/order-0", String::new(), 200),
        Call::Transaction => {
            let operation =
                |number| format!(r#"{{"operation":"upsert","request":{}}}"#, item(number));
            let operations: Vec<_> = (0..OPERATIONS).map(operation).collect();
            let body = format!(r#"{{"operations":[{}]}}"#, operations.join(","));
            ("POST /v1.0/state/redis/transaction", body, 204)
        }
    };
    Load {
        status,
        ..Load::new(server, line, &headers, &body)
    }
}

/// The client of the sidecar, without a sidecar.
struct Direct(MultiplexedConnection);

impl Direct {
    async fn to(server: SocketAddr) -> Self {
        let client = redis::Client::open(format!("redis://{server}")).unwrap();
        Self(client.get_multiplexed_async_connection().await.unwrap())
    }

    /// How long calls take one after the other, in milliseconds.
    async fn latencies(&self, call: Call, count: usize) -> Vec<f64> {
        let mut times = Vec::with_capacity(count);
        for _ in 0..count {
            let start = Instant::now();
            run(self.0.clone(), call).await;
            times.push(start.elapsed().as_secs_f64() * 1000.0);
        }
        times
    }

    /// Calls a second where many wait at once.
    async fn rate(&self, call: Call) -> f64 {
        let start = Instant::now();
        let mut clients = JoinSet::new();
        for _ in 0..CONNECTIONS {
            let connection = self.0.clone();
            clients.spawn(async move {
                for _ in 0..CALLS_OF_EACH {
                    run(connection.clone(), call).await;
                }
            });
        }
        while let Some(ended) = clients.join_next().await {
            ended.unwrap();
        }
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        let calls = (CONNECTIONS * CALLS_OF_EACH) as f64;
        calls / start.elapsed().as_secs_f64()
    }
}

/// One call with the fields that the sidecar keeps, and without its conditions.
async fn run(mut connection: MultiplexedConnection, call: Call) {
    let fields = [("data", VALUE), ("version", "1")];
    match call {
        Call::Set => {
            let () = connection.hset_multiple("direct-0", &fields).await.unwrap();
        }
        Call::Get => {
            let found: Vec<(String, String)> = connection.hgetall("direct-0").await.unwrap();
            assert_eq!(found.len(), fields.len());
        }
        Call::Transaction => {
            let mut pipeline = redis::pipe();
            pipeline.atomic();
            for number in 0..OPERATIONS {
                let key = format!("direct-{number}");
                pipeline.hset_multiple(key, &fields).ignore();
            }
            let () = pipeline.query_async(&mut connection).await.unwrap();
        }
    }
}
