//! Bodies that stream through two sidecars.

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt as _;
use http_body_util::combinators::UnsyncBoxBody;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use sidegate::app_channel::AppProtocol;
use sidegate::process::tasks::BoxError;
use std::sync::Mutex;
use tokio::sync::mpsc;

use super::{Pair, Started};
use crate::app_channel::{Server, feed, streamed};

fn client() -> Client<HttpConnector, UnsyncBoxBody<Bytes, BoxError>> {
    Client::builder(TokioExecutor::new()).build_http()
}

async fn next<B: http_body::Body<Data = Bytes> + Unpin>(body: &mut B) -> Option<Bytes> {
    loop {
        let frame = body.frame().await?.ok()?;
        if let Ok(data) = frame.into_data() {
            return Some(data);
        }
    }
}

#[tokio::test]
async fn pieces_pass_both_ways_as_they_come() {
    let app = Server::start(|request| async {
        // An echo, one piece at a time.
        Response::new(UnsyncBoxBody::new(request.into_body().map_err(Into::into)))
    })
    .await;
    let pair = Pair::of(AppProtocol::Http, app.address).await;
    let (mut sender, body) = streamed();
    let uri = format!("http://{}/v1.0/invoke/callee/method/echo", pair.caller.http);
    let request = Request::post(uri).body(body).unwrap();
    let asking = Started::new(client().request(request));
    feed(&mut sender, b"one").await;
    let mut answer = asking.done().await.unwrap();
    assert_eq!(next(answer.body_mut()).await.unwrap(), "one");
    feed(&mut sender, b"two").await;
    assert_eq!(next(answer.body_mut()).await.unwrap(), "two");
    drop(sender);
    assert!(next(answer.body_mut()).await.is_none());
}

#[tokio::test]
async fn events_of_the_server_arrive_one_by_one() {
    let (feeds, taken) = mpsc::channel::<crate::app_channel::Sender>(1);
    let app = Server::start(move |_| {
        let feeds = feeds.clone();
        async move {
            let (sender, body) = streamed();
            feeds.send(sender).await.unwrap();
            let answer = Response::builder().header("content-type", "text/event-stream");
            answer.body(body).unwrap()
        }
    })
    .await;
    let mut taken = taken;
    let pair = Pair::of(AppProtocol::Http, app.address).await;
    let uri = format!(
        "http://{}/v1.0/invoke/callee/method/events",
        pair.caller.http
    );
    let request = Request::get(uri)
        .header("accept", "text/event-stream")
        .body(sidegate::process::body::empty())
        .unwrap();
    let mut answer = client().request(request).await.unwrap();
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    let mut sender = taken.recv().await.unwrap();
    for event in [&b"data: 1\n\n"[..], b"data: 2\n\n"] {
        feed(&mut sender, event).await;
        assert_eq!(next(answer.body_mut()).await.unwrap(), event);
    }
}

#[tokio::test]
async fn a_caller_that_goes_away_is_noticed_by_the_app() {
    let (noticed, mut gone) = mpsc::channel::<()>(1);
    let noticed = Mutex::new(Some(noticed));
    let noticed = std::sync::Arc::new(noticed);
    let (reached, mut has_reached) = mpsc::channel::<()>(1);
    let app = Server::start(move |_| {
        // Held by the call: dropped with it.
        let held = noticed.lock().unwrap().take();
        let reached = reached.clone();
        async move {
            reached.send(()).await.unwrap();
            std::future::pending::<()>().await;
            drop(held);
            Response::new(sidegate::process::body::empty())
        }
    })
    .await;
    let pair = Pair::of(AppProtocol::H2c, app.address).await;
    let uri = format!("http://{}/v1.0/invoke/callee/method/x", pair.caller.http);
    let request = Request::get(uri)
        .body(sidegate::process::body::empty())
        .unwrap();
    let asking = Started::new(client().request(request));
    has_reached.recv().await.unwrap();
    drop(asking);
    assert!(gone.recv().await.is_none(), "the app's handler was dropped");
}

#[tokio::test]
async fn an_upload_that_breaks_off_never_looks_complete() {
    let (seen, mut outcome) = mpsc::channel::<bool>(1);
    let app = Server::start(move |request| {
        let seen = seen.clone();
        async move {
            let mut body = request.into_body();
            seen.send(next(&mut body).await.unwrap() == "half")
                .await
                .unwrap();
            let whole = body.collect().await.is_ok();
            seen.send(whole).await.unwrap();
            Response::new(sidegate::process::body::empty())
        }
    })
    .await;
    let pair = Pair::of(AppProtocol::Http, app.address).await;
    let (mut sender, body) = streamed();
    let uri = format!("http://{}/v1.0/invoke/callee/method/x", pair.caller.http);
    let request = Request::post(uri).body(body).unwrap();
    let asking = Started::new(client().request(request));
    feed(&mut sender, b"half").await;
    assert!(
        outcome.recv().await.unwrap(),
        "the app reads the first half"
    );
    sender
        .send(Err("the client broke off".into()))
        .await
        .unwrap();
    assert!(
        !outcome.recv().await.unwrap(),
        "the app got a truncated body as whole"
    );
    // The client itself sees the failure of its own body.
    assert!(asking.done().await.is_err());
}

#[tokio::test]
async fn an_answer_that_breaks_off_never_looks_complete() {
    let app = Server::start(|_| async {
        let frames = [
            Ok(http_body::Frame::data(Bytes::from_static(b"half"))),
            Err(BoxError::from("the app broke off")),
        ];
        let frames = futures_util::stream::iter(frames);
        let body = http_body_util::StreamBody::new(frames);
        Response::new(sidegate::process::body::boxed(body))
    })
    .await;
    let pair = Pair::of(AppProtocol::Http, app.address).await;
    let uri = format!("http://{}/v1.0/invoke/callee/method/x", pair.caller.http);
    let request = Request::get(uri)
        .body(sidegate::process::body::empty())
        .unwrap();
    // It may break off so early that nobody gets its head: the sidecars or the caller.
    if let Ok(answer) = client().request(request).await
        && answer.status() != 500
    {
        assert!(answer.into_body().collect().await.is_err());
    }
}
