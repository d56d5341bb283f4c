//! Reads through stores of the network, beside the client that the sidecar has, called directly.

use std::net::SocketAddr;
use std::time::Instant;

use super::load::Load;
use super::measure::median;
use super::report::Report;
use super::servers::{Stage, TOKEN, bare};

/// How many reads a figure is made of, in turns of a tenth of them.
const READS: usize = 2000;
const TURNS: usize = 10;

/// How many readers ask for one secret at once.
const READERS: usize = 1000;

/// What the sidecar adds to a read, at one connection; and how many reads many readers cause.
pub(crate) async fn measure(stage: &Stage, report: &mut Report) {
    let vault = bare("vault", &[]);
    let kubernetes = bare("kubernetes", &[]);
    let sidecar = stage.sidecar_of_stores(vault.address, kubernetes.address);
    for (store, server, path) in [
        ("vault", &vault, "/v1/secret/data/dapr/s"),
        (
            "kubernetes",
            &kubernetes,
            "/api/v1/namespaces/bench/secrets/s",
        ),
    ] {
        let direct = Direct::new(server.address, path);
        let cold = read(sidecar.address, store, "s");
        let cached = read(sidecar.address, &format!("{store}-cached"), "s");
        // The first reads make clients and connections.
        direct.latencies(50).await;
        cold.latencies(50).await;
        let (mut own, mut kept, mut other) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..TURNS {
            other.extend(direct.latencies(READS / TURNS).await);
            own.extend(cold.latencies(READS / TURNS).await);
            kept.extend(cached.latencies(READS / TURNS).await);
        }
        let (own, kept, other) = (median(&mut own), median(&mut kept), median(&mut other));
        let details = format!("{own:.3} and {other:.3} ms; cached {kept:.3} ms");
        let name = format!("secret GET from {store}, added p50, ms");
        report.at_most(&name, own - other, 0.3, &details);
        let name = format!("the same cached, of the direct read's p50, {store}");
        report.at_most(&name, kept / other, 1.0, "");
    }
    let before = reads(vault.address).await;
    read(sidecar.address, "vault-cached", "slow")
        .at_once(READERS)
        .await;
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let caused = (reads(vault.address).await - before) as f64;
    report.at_most("reads of Vault that 1,000 readers cause", caused, 1.0, "");
    let resident = sidecar.resident_mib();
    println!("      the sidecar is resident with {resident:.1} MiB after them");
}

fn read(sidecar: SocketAddr, store: &str, secret: &str) -> Load {
    let token = format!("dapr-api-token: {TOKEN}\r\n");
    Load::new(
        sidecar,
        &format!("GET /v1.0/secrets/{store}/{secret}"),
        &token,
        "",
    )
}

async fn reads(vault: SocketAddr) -> usize {
    let url = format!("http://{vault}/reads");
    let answer = reqwest::get(url).await.unwrap();
    answer.text().await.unwrap().parse().unwrap()
}

/// The HTTP client of the sidecar's stores, without a sidecar.
struct Direct {
    client: reqwest::Client,
    url: String,
}

impl Direct {
    fn new(server: SocketAddr, path: &str) -> Self {
        Self {
            client: reqwest::Client::new(),
            url: format!("http://{server}{path}"),
        }
    }

    async fn latencies(&self, count: usize) -> Vec<f64> {
        let mut times = Vec::with_capacity(count);
        for _ in 0..count {
            let start = Instant::now();
            let answer = self.client.get(&self.url).send().await.unwrap();
            let body = answer.bytes().await.unwrap();
            let _: serde_json::Value = serde_json::from_slice(&body).unwrap();
            times.push(start.elapsed().as_secs_f64() * 1000.0);
        }
        times
    }
}
