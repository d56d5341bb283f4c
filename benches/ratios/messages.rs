//! Messages from publishing to delivery: in memory, and through Redis beside a bare client that
//! does the same two hops.

use std::net::SocketAddr;
use std::time::Instant;

use axum::Router;
use axum::routing::post;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::load::{Load, Until};
use super::measure::median;
use super::report::Report;
use super::servers::{Server, Stage, TOKEN, bare, redis_server};

/// How many messages of one turn, fewer than may wait in memory, and how often the turns alternate.
const MESSAGES: usize = 8_000;
const TURNS: usize = 9;

/// How many single messages are timed, one after another.
const SINGLE: usize = 2000;

/// Measures the road of messages.
pub(crate) async fn measure(stage: &Stage, report: &mut Report) {
    let app = bare("app", &[]);
    let redis = redis_server();
    let at = redis.as_ref().map(|server| server.address);
    let sidecar = stage.sidecar_of_messages(app.address, at);
    let memory = Road::of_sidecar(&sidecar, "memory");
    memory.rate(&app).await;
    let mut rates = Vec::new();
    for _ in 0..TURNS {
        rates.push(memory.rate(&app).await);
    }
    let rate = median(&mut rates);
    let spread = format!("{:.0} to {:.0}", rates[0], rates[TURNS - 1]);
    report.at_least("messages in memory, a second", rate, 12_000.0, &spread);
    println!(
        "      the sidecar is resident with {:.1} MiB after {} messages",
        sidecar.resident_mib(),
        MESSAGES * (TURNS + 1)
    );
    single(stage, "memory", at).await;
    let Some(redis) = redis else {
        println!("      skipped: no redis-server to publish through");
        return;
    };
    let bridge = bare(
        "bridge",
        &[&redis.address.to_string(), &app.address.to_string()],
    );
    let (own, other) = (
        Road::of_sidecar(&sidecar, "redis"),
        Road::of_bridge(&bridge),
    );
    own.rate(&app).await;
    other.rate(&app).await;
    let (mut ratios, mut own_rates, mut other_rates) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..TURNS {
        let (a, b) = (own.rate(&app).await, other.rate(&app).await);
        ratios.push(a / b);
        own_rates.push(a);
        other_rates.push(b);
    }
    let (a, b) = (median(&mut own_rates), median(&mut other_rates));
    let details = format!("{a:.0} and {b:.0} a second");
    let name = "messages through Redis, of a bare client";
    report.at_least(name, median(&mut ratios), 0.5, &details);
    // Two sidecars of one app would share the messages.
    drop(sidecar);
    single(stage, "redis", Some(redis.address)).await;
}

/// How messages get to the app.
struct Road(Load);

impl Road {
    fn of_sidecar(sidecar: &Server, pubsub: &str) -> Self {
        let line = format!("POST /v1.0/publish/{pubsub}/orders");
        let headers = format!("dapr-api-token: {TOKEN}\r\ncontent-type: application/json\r\n");
        let load = Load::new(sidecar.address, &line, &headers, "{\"order\":1}");
        Self(Load {
            status: 204,
            ..load
        })
    }

    fn of_bridge(bridge: &Server) -> Self {
        let headers = "content-type: application/json\r\n";
        Self(Load::new(
            bridge.address,
            "POST /publish",
            headers,
            "{\"order\":1}",
        ))
    }

    /// Messages a second, from the first that is published to the last that is delivered.
    async fn rate(&self, app: &Server) -> f64 {
        let before = delivered(app.address).await;
        let start = Instant::now();
        self.0.rate(Until::Count(MESSAGES)).await;
        while delivered(app.address).await - before < MESSAGES {
            tokio::task::yield_now().await;
        }
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        let messages = MESSAGES as f64;
        messages / start.elapsed().as_secs_f64()
    }
}

/// How many messages an app has got.
async fn delivered(app: SocketAddr) -> usize {
    let mut stream = TcpStream::connect(app).await.unwrap();
    let request = "GET /messages HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer.rsplit('\n').next().unwrap().parse().unwrap()
}

/// How long one message takes until the app has it, while nothing else is under way.
async fn single(stage: &Stage, pubsub: &str, redis: Option<SocketAddr>) {
    let (seen, mut arrivals) = mpsc::channel(1);
    let routes = Router::new().route(
        "/messages",
        post(move || {
            let seen = seen.clone();
            async move { seen.send(Instant::now()).await.unwrap() }
        }),
    );
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    // On a thread of its own: the sidecar asks it while this one waits for the sidecar.
    std::thread::spawn(move || serve(listener, routes));
    let sidecar = stage.sidecar_of_messages(address, redis);
    let Road(load) = Road::of_sidecar(&sidecar, pubsub);
    let mut stream = TcpStream::connect(load.address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let mut answer = [0; 4096];
    let mut times = Vec::with_capacity(SINGLE);
    for _ in 0..SINGLE {
        let start = Instant::now();
        stream.write_all(&load.request).await.unwrap();
        let arrived = arrivals.recv().await.unwrap();
        times.push(arrived.duration_since(start).as_secs_f64() * 1000.0);
        let read = stream.read(&mut answer).await.unwrap();
        assert!(answer[..read].starts_with(b"HTTP/1.1 204"));
    }
    let p50 = median(&mut times);
    let p99 = times[SINGLE / 100 * 99];
    println!("      one message, {pubsub}: p50 {p50:.3} ms, p99 {p99:.3} ms");
}

/// Serves until the process ends.
fn serve(listener: std::net::TcpListener, routes: Router) {
    listener.set_nonblocking(true).unwrap();
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().build().unwrap().block_on(async {
        let listener = TcpListener::from_std(listener).unwrap();
        axum::serve(listener, routes).await.unwrap();
    });
}
