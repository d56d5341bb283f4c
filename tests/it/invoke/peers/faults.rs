//! What goes wrong between two sidecars.

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use sidegate::app_channel::AppProtocol;
use sidegate::testing::fake_app::FakeApp;
use sidegate::testing::http_client::send;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::{Pair, Started};
use crate::app_channel::{Server, feed, streamed};
use crate::invoke::{Setup, Sidecar, World, error_body};

/// A place where nobody listens.
async fn nobody() -> std::net::SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    listener.local_addr().unwrap()
}

#[tokio::test]
async fn of_several_sidecars_one_that_is_gone_costs_nothing() {
    let app = FakeApp::start().await;
    let world = World::default();
    world.add("callee", "ns", nobody().await);
    let callee = Sidecar::set_up(Setup {
        app_id: Some("callee"),
        app: Some(crate::app_channel::config(AppProtocol::Http, app.address())),
        world: Some(&world),
        ..Setup::default()
    })
    .await;
    let caller = Sidecar::set_up(Setup {
        app_id: Some("caller"),
        world: Some(&world),
        ..Setup::default()
    })
    .await;
    // Not idempotent, and with a body that can be read only once: nobody has read any of it.
    let (mut sender, body) = streamed();
    let client: hyper_util::client::legacy::Client<_, _> =
        hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new())
            .build_http();
    let uri = format!("http://{}/v1.0/invoke/callee/method/x", caller.http);
    let asking = Started::new(client.request(Request::post(uri).body(body).unwrap()));
    feed(&mut sender, b"once").await;
    drop(sender);
    assert_eq!(asking.done().await.unwrap().status(), 200);
    assert_eq!(app.recorded()[0].body, "once");
    drop(callee);
}

#[tokio::test]
async fn a_sidecar_that_cannot_be_reached_is_told() {
    let app = FakeApp::start().await;
    let pair = Pair::of(AppProtocol::Http, app.address()).await;
    pair.world.add("gone", "ns", nobody().await);
    let answer = pair.caller.get("/v1.0/invoke/gone/method/x").await;
    let text = "failed to invoke, id: gone, err: cannot connect to the other sidecar";
    assert_eq!(
        (answer.status().as_u16(), answer.body()),
        (500, &error_body(text).into())
    );
}

#[tokio::test]
async fn a_sidecar_killed_in_the_middle_breaks_the_answer_off() {
    let (feeds, mut taken) = mpsc::channel::<crate::app_channel::Sender>(1);
    let app = Server::start(move |_| {
        let feeds = feeds.clone();
        async move {
            let (sender, body) = streamed();
            feeds.send(sender).await.unwrap();
            Response::new(body)
        }
    })
    .await;
    let mut pair = Pair::of(AppProtocol::Http, app.address).await;
    let client: hyper_util::client::legacy::Client<_, Full<Bytes>> =
        hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new())
            .build_http();
    let uri = format!("http://{}/v1.0/invoke/callee/method/x", pair.caller.http);
    let asking = client.request(Request::get(uri).body(Full::default()).unwrap());
    let mut answer = asking.await.unwrap();
    let mut sender = taken.recv().await.unwrap();
    feed(&mut sender, b"half").await;
    let first = answer.body_mut().frame().await.unwrap().unwrap();
    assert_eq!(first.into_data().unwrap(), "half");
    pair.callee.servers.shutdown().await;
    assert!(answer.into_body().collect().await.is_err());
}

#[tokio::test]
async fn a_body_above_the_limit_reaches_nobody_whole() {
    let (seen, mut outcome) = mpsc::channel::<bool>(2);
    let app = Server::start(move |request| {
        let seen = seen.clone();
        async move {
            let whole = request.into_body().collect().await.is_ok();
            seen.send(whole).await.unwrap();
            Response::new(sidegate::process::body::empty())
        }
    })
    .await;
    let pair = Pair::of(AppProtocol::Http, app.address).await;
    let announced = Request::post("/v1.0/invoke/callee/method/x")
        .body(Full::from(vec![0; 64 * 1024 + 1]))
        .unwrap();
    assert_eq!(send(pair.caller.http, announced).await.status(), 413);
    let (mut sender, body) = streamed();
    let client: hyper_util::client::legacy::Client<_, _> =
        hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new())
            .build_http();
    let uri = format!("http://{}/v1.0/invoke/callee/method/x", pair.caller.http);
    let asking = Started::new(client.request(Request::post(uri).body(body).unwrap()));
    for _ in 0..65 {
        feed(&mut sender, &[0; 1024]).await;
    }
    assert!(
        !outcome.recv().await.unwrap(),
        "the app got a truncated body as whole"
    );
    drop(sender);
    let answer = asking.done().await.unwrap();
    assert_eq!(answer.status(), 413);
}

#[tokio::test]
async fn ten_thousand_calls_at_once_all_get_their_answer() {
    const CALLS: usize = 10_000;
    let app = FakeApp::answering(|call| Response::new(Full::from(call.body.clone()))).await;
    let pair = Arc::new(Pair::of(AppProtocol::H2c, app.address()).await);
    let done = Arc::new(AtomicUsize::new(0));
    let client: hyper_util::client::legacy::Client<_, Full<Bytes>> =
        hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new())
            .http2_only(true)
            .build_http();
    let mut calls = JoinSet::new();
    for number in 0..CALLS {
        let (client, pair, done) = (client.clone(), Arc::clone(&pair), Arc::clone(&done));
        calls.spawn(async move {
            let uri = format!("http://{}/v1.0/invoke/callee/method/x", pair.caller.http);
            let body = Full::from(number.to_string());
            let answer = client
                .request(Request::post(uri).body(body).unwrap())
                .await
                .unwrap();
            let body = answer.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(body, number.to_string());
            done.fetch_add(1, Ordering::Relaxed);
        });
    }
    while let Some(call) = calls.join_next().await {
        call.unwrap();
    }
    assert_eq!(done.load(Ordering::Relaxed), CALLS);
}
