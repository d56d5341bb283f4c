use super::*;
use crate::app_channel::{AppChannelConfig, AppProtocol};
use crate::process::early_stop::EarlyStop;
use crate::testing::eventually::eventually;
use crate::testing::fake_app::FakeApp;
use crate::testing::fake_configuration::FakeConfiguration;
use crate::testing::fake_registry::{FakeRegistry, Stores};
use tokio::task::JoinSet;

mod http_apps;

/// The blocks of a sidecar, with their supervisor.
struct Setup {
    configurations: Arc<Configurations>,
    registry: FakeRegistry,
    intake: EarlyStop,
    shutdown: CancellationToken,
    tasks: JoinSet<()>,
}

fn stores(store: &Arc<FakeConfiguration>) -> Stores {
    Stores {
        configurations: vec![("s", Arc::<FakeConfiguration>::clone(store) as Store)],
        failed: vec![("broken", "configuration.redis")],
        ..Stores::default()
    }
}

fn start(stores: &Stores, app: Option<AppChannel>) -> Setup {
    let registry = FakeRegistry::of(stores);
    let (configurations, supervisor) = Configurations::new(registry.registry(), "", app);
    let shutdown = CancellationToken::new();
    let intake = EarlyStop::new(&shutdown);
    let mut tasks = JoinSet::new();
    let running = supervisor.run(intake.part(), shutdown.clone());
    tasks.spawn(async move { running.await.unwrap() });
    Setup {
        configurations: Arc::new(configurations),
        registry,
        intake,
        shutdown,
        tasks,
    }
}

fn app(protocol: AppProtocol, app: &FakeApp) -> Option<AppChannel> {
    let channel = AppChannel::new(AppChannelConfig {
        protocol,
        address: app.address().ip().to_string(),
        port: app.address().port(),
        token: None,
        max_concurrency: None,
        max_body_bytes: 1 << 20,
        health: None,
        app_id: "app".to_owned(),
    });
    Some(channel.unwrap())
}

impl Setup {
    async fn stream(&self, keys: &[&str]) -> Session {
        let keys = keys.iter().map(|key| (*key).to_owned()).collect();
        let session = self.configurations.stream("s", keys, Metadata::new());
        session.await.unwrap()
    }

    async fn subscribe(&self, keys: &[&str]) -> Result<String, Error> {
        let keys = keys.iter().map(|key| (*key).to_owned()).collect();
        let subscribed = self.configurations.subscribe("s", keys, Metadata::new());
        subscribed.await
    }
}

async fn next(session: &Session) -> (String, String) {
    let (key, item) = session.next().await.unwrap();
    (key, item.value)
}

fn pair(key: &str, value: &str) -> (String, String) {
    (key.to_owned(), value.to_owned())
}

async fn followed_by(store: &FakeConfiguration, count: usize) {
    eventually("so many follow", async || {
        (store.followers() == count).then_some(())
    })
    .await;
}

#[tokio::test]
async fn items_are_read_by_key_or_all() {
    let store = FakeConfiguration::of(&[("a", "1"), ("b", "2")]);
    let setup = start(&stores(&store), None);
    let get = async |keys: &[&str]| {
        let keys = keys.iter().map(|key| (*key).to_owned()).collect();
        let metadata = [("m".to_owned(), "v".to_owned())].into();
        let items = setup.configurations.get("s", keys, metadata).await.unwrap();
        items.into_keys().collect::<Vec<_>>()
    };
    assert_eq!(get(&["b", "missing"]).await, ["b"]);
    assert_eq!(get(&[]).await, ["a", "b"]);
    assert_eq!(store.asked_with()["m"], "v");
}

#[tokio::test]
async fn what_cannot_be_read_has_its_reason_and_no_inner_words() {
    let store = FakeConfiguration::of(&[]);
    let setup = start(&stores(&store), None);
    let refused = async |configurations: &Configurations, name: &str| {
        let keys = vec!["a".to_owned(), "b".to_owned()];
        let answer = configurations.get(name, keys, Metadata::new()).await;
        let error = answer.unwrap_err();
        (error.reason(), error.message().to_owned())
    };
    for (name, text) in [
        ("x", "configuration store x not found"),
        (
            "broken",
            "configuration store broken not found: it is defined, but could not be loaded",
        ),
    ] {
        let expected = (
            Reason::Configuration(ConfigurationReason::StoreNotFound),
            text.to_owned(),
        );
        assert_eq!(refused(&setup.configurations, name).await, expected);
    }
    store.go_down();
    let (reason, text) = refused(&setup.configurations, "s").await;
    assert_eq!(reason, Reason::Configuration(ConfigurationReason::Get));
    assert_eq!(text, "failed to get [a b] from Configuration store s");
    let error = setup
        .configurations
        .stream("s", Vec::new(), Metadata::new());
    let error = error.await.err().unwrap();
    assert_eq!(
        error.reason(),
        Reason::Configuration(ConfigurationReason::Subscribe)
    );
    assert_eq!(
        error.message(),
        "failed to subscribe [] from Configuration store s"
    );
    assert_eq!(setup.configurations.subscriptions.count(), 0);
    let none = start(&Stores::default(), None);
    let (reason, text) = refused(&none.configurations, "s").await;
    assert_eq!(
        reason,
        Reason::Configuration(ConfigurationReason::StoresNotConfigured)
    );
    assert_eq!(text, "configuration stores not configured");
}

#[tokio::test]
async fn streams_do_not_disturb_each_other() {
    let store = FakeConfiguration::of(&[("a", "1")]);
    let setup = start(&stores(&store), None);
    let (one, all) = (setup.stream(&["a"]).await, setup.stream(&[]).await);
    store.set("b", "1");
    store.set("a", "2");
    assert_eq!(next(&one).await, pair("a", "2"));
    let mut seen = [next(&all).await, next(&all).await];
    seen.sort();
    assert_eq!(seen, [pair("a", "2"), pair("b", "1")]);
    setup.configurations.unsubscribe_any(one.id()).unwrap();
    assert!(one.next().await.is_none());
    store.set("a", "");
    assert_eq!(next(&all).await, pair("a", ""));
    followed_by(&store, 1).await;
    drop(all);
    followed_by(&store, 0).await;
}

#[tokio::test]
async fn a_slow_reader_gets_the_newest_of_each_key() {
    let store = FakeConfiguration::of(&[]);
    let setup = start(&stores(&store), None);
    let session = setup.stream(&[]).await;
    for number in 0..100 {
        store.set("a", &number.to_string());
    }
    store.set("end", "1");
    // Each is newer than the one before, however many were read in between.
    let mut last = -1;
    loop {
        let (key, value) = next(&session).await;
        if key == "end" {
            break;
        }
        let value = value.parse().unwrap();
        assert!(value > last, "{value} after {last}");
        last = value;
    }
    while last != 99 {
        last = next(&session).await.1.parse().unwrap();
    }
}

#[tokio::test]
async fn after_an_outage_it_tells_what_changed_meanwhile() {
    let store = FakeConfiguration::of(&[("same", "1"), ("other", "1"), ("gone", "1")]);
    let setup = start(&stores(&store), None);
    let session = setup.stream(&[]).await;
    store.go_down();
    followed_by(&store, 0).await;
    store.set("other", "2");
    store.set("new", "1");
    store.set("gone", "");
    store.come_back();
    let mut seen = Vec::new();
    for _ in 0..3 {
        seen.push(next(&session).await);
    }
    seen.sort();
    assert_eq!(
        seen,
        [pair("gone", ""), pair("new", "1"), pair("other", "2")]
    );
    store.set("same", "2");
    assert_eq!(next(&session).await, pair("same", "2"));
}

#[tokio::test]
async fn a_store_that_changed_or_was_gone_is_followed_anew() {
    let old = FakeConfiguration::of(&[("a", "1")]);
    let setup = start(&stores(&old), None);
    let session = setup.stream(&["a"]).await;
    let new = FakeConfiguration::of(&[("a", "2")]);
    setup.registry.replace(&stores(&new));
    assert_eq!(next(&session).await, pair("a", "2"));
    followed_by(&old, 0).await;
    setup.registry.replace(&Stores::default());
    followed_by(&new, 0).await;
    new.set("a", "3");
    setup.registry.replace(&stores(&new));
    assert_eq!(next(&session).await, pair("a", "3"));
}

#[tokio::test]
async fn everything_ends_when_the_sidecar_stops() {
    let store = FakeConfiguration::of(&[]);
    let fake = FakeApp::start().await;
    let mut setup = start(&stores(&store), app(AppProtocol::Http, &fake));
    let session = setup.stream(&[]).await;
    setup.subscribe(&[]).await.unwrap();
    setup.intake.stop();
    assert!(session.next().await.is_none());
    setup.intake.done().await;
    followed_by(&store, 0).await;
    let error = setup.subscribe(&[]).await.unwrap_err();
    assert_eq!(
        error.reason(),
        Reason::Configuration(ConfigurationReason::Subscribe)
    );
    setup.shutdown.cancel();
    setup.tasks.join_next().await.unwrap().unwrap();
}
