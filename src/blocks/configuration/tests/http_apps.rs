//! Apps that are told over HTTP.

use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};

use super::*;
use http::Response;
use serde_json::{Value, json};

#[tokio::test]
async fn an_http_app_is_told_in_the_form_of_dapr() {
    let store = FakeConfiguration::of(&[]);
    let fake = FakeApp::start().await;
    let setup = start(&stores(&store), app(AppProtocol::Http, &fake));
    let id = setup.subscribe(&["a/b", "gone"]).await.unwrap();
    store.set("a/b", "1");
    let told = async |count: usize| {
        eventually("the app is told", async || {
            let recorded = fake.recorded();
            (recorded.len() >= count).then(|| recorded[count - 1].clone())
        })
        .await
    };
    let request = told(1).await;
    assert_eq!(request.method, http::Method::POST);
    assert_eq!(request.uri.path(), "/configuration/s/a/b");
    assert_eq!(request.header("content-type"), ["application/json"]);
    let body: Value = serde_json::from_slice(&request.body).unwrap();
    let expected = json!({"id": id, "items": {"a/b": {"value": "1", "version": "0"}}});
    assert_eq!(body, expected);
    store.set("gone", "");
    let body: Value = serde_json::from_slice(&told(2).await.body).unwrap();
    assert_eq!(body, json!({"id": id, "items": {"gone": {}}}));

    let unknown = setup.configurations.unsubscribe("s", "nobody").unwrap_err();
    assert_eq!(
        unknown.reason(),
        Reason::Configuration(ConfigurationReason::Unsubscribe)
    );
    setup.configurations.unsubscribe("s", &id).unwrap();
    followed_by(&store, 0).await;
    assert!(setup.configurations.unsubscribe("s", &id).is_err());
    assert_eq!(setup.configurations.subscriptions.count(), 0);
}

#[tokio::test]
async fn an_app_that_fails_is_told_again_and_then_the_newest() {
    let store = FakeConfiguration::of(&[]);
    let status = Arc::new(AtomicU16::new(500));
    let answered = Arc::clone(&status);
    let fake = FakeApp::answering(move |_| {
        let mut answer = Response::default();
        *answer.status_mut() = answered.load(Ordering::SeqCst).try_into().unwrap();
        answer
    })
    .await;
    let setup = start(&stores(&store), app(AppProtocol::Http, &fake));
    setup.subscribe(&[]).await.unwrap();
    store.set("a", "old");
    let bodies = || {
        let recorded = fake.recorded().into_iter();
        recorded
            .map(|request| String::from_utf8(request.body.to_vec()).unwrap())
            .collect::<Vec<_>>()
    };
    eventually("it is told again", async || {
        (bodies().len() >= 2).then_some(())
    })
    .await;
    store.set("a", "newest");
    eventually("the newest is told", async || {
        bodies().last().unwrap().contains("newest").then_some(())
    })
    .await;
    status.store(204, Ordering::SeqCst);
    store.set("b", "last");
    eventually("all is told", async || {
        bodies()
            .iter()
            .any(|body| body.contains("last"))
            .then_some(())
    })
    .await;
    let bodies = bodies();
    let first_new = bodies
        .iter()
        .position(|body| body.contains("newest"))
        .unwrap();
    assert!(bodies[first_new..].iter().all(|body| !body.contains("old")));
}

#[tokio::test]
async fn an_app_that_is_not_healthy_is_told_of_nothing_until_it_is() {
    let store = FakeConfiguration::of(&[]);
    let is_healthy = Arc::new(AtomicBool::new(false));
    let health = Arc::clone(&is_healthy);
    let fake = FakeApp::answering(move |request| {
        let mut answer = Response::default();
        if request.uri.path() == "/healthz" && !health.load(Ordering::SeqCst) {
            *answer.status_mut() = http::StatusCode::SERVICE_UNAVAILABLE;
        }
        answer
    })
    .await;
    let channel = app(AppProtocol::Http, &fake).unwrap();
    let channel = AppChannel::new(AppChannelConfig {
        health: Some(crate::app_channel::HealthConfig {
            path: "healthz".to_owned(),
            interval: Duration::from_millis(5),
            timeout: Duration::from_secs(60),
            threshold: 1,
        }),
        ..channel.config().clone()
    })
    .unwrap();
    let mut probing = JoinSet::new();
    let probe = channel.health_probe().unwrap();
    probing.spawn(async move { probe.run(CancellationToken::new()).await });
    let setup = start(&stores(&store), Some(channel));
    setup.subscribe(&[]).await.unwrap();
    store.set("a", "old");
    let probes = || fake.recorded().len();
    let before = probes();
    eventually("it is probed", async || {
        (probes() > before + 5).then_some(())
    })
    .await;
    let told = || {
        let recorded = fake.recorded().into_iter();
        recorded
            .filter(|request| request.uri.path() != "/healthz")
            .map(|request| String::from_utf8(request.body.to_vec()).unwrap())
            .collect::<Vec<_>>()
    };
    assert_eq!(told(), Vec::<String>::new());
    store.set("a", "new");
    is_healthy.store(true, Ordering::SeqCst);
    eventually("it is told", async || (!told().is_empty()).then_some(())).await;
    eventually("the newest is told", async || {
        told().last().unwrap().contains("new").then_some(())
    })
    .await;
}

#[tokio::test]
async fn only_an_app_that_speaks_http_can_be_told_over_http() {
    let store = FakeConfiguration::of(&[]);
    let error = start(&stores(&store), None)
        .subscribe(&[])
        .await
        .unwrap_err();
    assert_eq!(
        error.reason(),
        Reason::Configuration(ConfigurationReason::AppMissing)
    );
    let text = "app channel is not initialized. cannot subscribe to configuration updates";
    assert_eq!(error.message(), text);
    let fake = FakeApp::start().await;
    let setup = start(&stores(&store), app(AppProtocol::Grpc, &fake));
    let error = setup.subscribe(&[]).await.unwrap_err();
    assert_eq!(
        error.reason(),
        Reason::Configuration(ConfigurationReason::AppMissing)
    );
    assert_eq!(store.followers(), 0);
}
