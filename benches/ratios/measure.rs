//! The figures, one after another.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::load::{Load, Until};
use super::report::Report;
use super::servers::{Server, Stage, TOKEN, bare};
use super::{messages, peers, state, stores};

/// How often the two servers of a comparison take turns.
const ROUNDS: usize = 9;

/// How long one turn is.
const TURN: Duration = Duration::from_millis(700);

/// How many starts are timed.
const STARTS: usize = 11;

const MIB: f64 = 1024.0 * 1024.0;

/// Measures the program and its image.
pub(crate) async fn all([program, image]: &[PathBuf; 2], report: &mut Report) {
    let stage = Stage::new(program);
    sizes(program, image, report);
    start_time(&stage, report);
    api(&stage, report).await;
    peers::measure(&stage, report).await;
    messages::measure(&stage, report).await;
    stores::measure(&stage, report).await;
    state::measure(&stage, report).await;
    reviews(&stage, report).await;
}

fn sizes(program: &PathBuf, image: &PathBuf, report: &mut Report) {
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let mib = |path: &PathBuf| std::fs::metadata(path).unwrap().len() as f64 / MIB;
    report.at_most("release binary, MiB", mib(program), 45.0, "");
    report.at_most("compressed image, MiB", mib(image), 16.0, "");
}

fn start_time(stage: &Stage, report: &mut Report) {
    let milliseconds = |_| stage.sidecar(None).started_in.as_secs_f64() * 1000.0;
    let mut times: Vec<f64> = (0..STARTS).map(milliseconds).collect();
    let median = median(&mut times);
    let details = format!("{:.1} to {:.1}", times[0], times[STARTS - 1]);
    report.at_most("sidecar, start to healthy, ms", median, 30.0, &details);
}

async fn api(stage: &Stage, report: &mut Report) {
    let app = bare("app", &[]);
    let proxy = bare("proxy", &[&app.address.to_string()]);
    let axum = bare("axum", &[]);
    let sidecar = stage.sidecar(Some(app.address));
    report.at_most(
        "sidecar, resident when idle, MiB",
        sidecar.resident_mib(),
        12.0,
        "",
    );

    let token = format!("dapr-api-token: {TOKEN}\r\n");
    let secret = "GET /v1.0/secrets/store/password";
    let invoke = "POST /v1.0/invoke/bench/method/orders";
    let plain = |server: &Server| Load::new(server.address, secret, "", "");
    let read = Load::new(sidecar.address, secret, &token, "");
    let refused = Load {
        status: 401,
        ..plain(&sidecar)
    };
    let called = Load::new(sidecar.address, invoke, &token, "{\"order\":1}");
    let forwarded = Load::new(proxy.address, "POST /orders", "", "{\"order\":1}");

    let ours = [read.clone(), refused, called];
    let bounds = [
        ("secret GET, of bare axum", plain(&axum), 0.8),
        ("call refused with 401, of bare axum", plain(&axum), 0.95),
        ("invoke of the own app, of a bare proxy", forwarded, 0.5),
    ];
    for (own, (name, other, bound)) in ours.iter().zip(bounds) {
        compare(report, name, [own, &other], bound).await;
    }

    let fresh = stage.sidecar(Some(app.address));
    let share = 100_000 / ours.len();
    for load in &ours {
        let load = Load {
            address: fresh.address,
            ..load.clone()
        };
        load.rate(Until::Count(share)).await;
    }
    let resident = fresh.resident_mib();
    report.at_most("the same after 100,000 requests, MiB", resident, 14.0, "");
}

async fn reviews(stage: &Stage, report: &mut Report) {
    let injector = stage.injector();
    let bare = stage.bare_reviews();
    let body = review().to_string();
    let load = |server: &Server| Load {
        tls: Some(Arc::clone(&stage.authority.client())),
        ..Load::new(
            server.address,
            "POST /mutate",
            "content-type: application/json\r\n",
            &body,
        )
    };
    let (own, other) = (load(&injector), load(&bare));
    compare(
        report,
        "AdmissionReviews, of a bare TLS echo",
        [&own, &other],
        0.5,
    )
    .await;
    let resident = injector.resident_mib();
    println!("      the webhook is resident with {resident:.1} MiB after them");
}

/// The ratio of the first to the second, in turns.
pub(crate) async fn compare(report: &mut Report, name: &str, [own, other]: [&Load; 2], bound: f64) {
    let turn = Until::Elapsed(TURN);
    // The first turn of each warms it up.
    own.rate(turn).await;
    other.rate(turn).await;
    let (mut ratios, mut own_rates, mut other_rates) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let (a, b) = (own.rate(turn).await, other.rate(turn).await);
        ratios.push(a / b);
        own_rates.push(a);
        other_rates.push(b);
    }
    let (a, b) = (median(&mut own_rates), median(&mut other_rates));
    let ratio = median(&mut ratios);
    let spread = format!("{:.2} to {:.2}", ratios[0], ratios[ROUNDS - 1]);
    let details = format!("{a:.0} and {b:.0} a second; {spread}");
    report.at_least(name, ratio, bound, &details);
}

/// Sorts, and hands back the middle.
pub(crate) fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn review() -> serde_json::Value {
    json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "6d4ff3b6-2c0f-4b7c-8c4f-0c6f1c2a7a11",
            "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "namespace": "default",
            "operation": "CREATE",
            "userInfo": {"username": "bench"},
            "object": {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {
                    "name": "shop",
                    "namespace": "default",
                    "annotations": {
                        "dapr.io/enabled": "true",
                        "dapr.io/app-id": "shop",
                        "dapr.io/app-port": "8080",
                        "dapr.io/api-token-secret": "api-token",
                        "dapr.io/app-token-secret": "app-token",
                    },
                },
                "spec": {
                    "serviceAccountName": "default",
                    "containers": [{
                        "name": "web",
                        "image": "example.org/shop:1",
                        "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
                        "ports": [{"containerPort": 8080}],
                        "volumeMounts": [{
                            "name": "token",
                            "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount",
                            "readOnly": true,
                        }],
                    }],
                    "volumes": [{
                        "name": "token",
                        "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]},
                    }],
                },
            },
            "dryRun": false,
        },
    })
}
