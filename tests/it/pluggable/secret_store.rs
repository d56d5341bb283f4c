//! Secret stores.

use std::sync::Arc;

use sidegate::components::catalog::Backend;
use sidegate::components::secret_store::{RequestMetadata, SecretStore};
use sidegate::testing::contract;
use tonic::Code;

use super::World;

async fn store(world: &World, properties: &[(&str, &str)]) -> Arc<dyn SecretStore> {
    let component = contract::component("secretstores.own", properties);
    match world.build(&component).await {
        Ok(Backend::SecretStore(store)) => store,
        Ok(_) => panic!("it is no secret store"),
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn meets_the_contract() {
    let world = World::new();
    let _component = world.start("own");
    let store = store(&world, &[]).await;
    assert!(store.has_multiple_keys());
    let expected: &[(&str, &[(&str, &str)])] = &[
        ("database", &[("database", "hunter2")]),
        ("login", &[("password", "pw"), ("user", "u")]),
    ];
    contract::holds(&*store, expected).await;
}

#[tokio::test]
async fn tries_again_only_what_another_try_may_heal() {
    let world = World::new();
    let _component = world.start("own");
    let store = store(&world, &[("requestTimeout", "60s"), ("maxRetries", "2")]).await;
    let none = RequestMetadata::new();
    let mut before = 0;
    for (code, tries) in [
        (Code::Unknown, 1),
        (Code::PermissionDenied, 1),
        (Code::Unauthenticated, 1),
        (Code::Unavailable, 3),
    ] {
        world.behaviour.fails("Get", code, "no");
        let error = store.get("database", &none).await.unwrap_err();
        assert_eq!(error.to_string(), format!("no ({code:?})"));
        let calls = world.behaviour.callers("Get").len();
        assert_eq!(calls - before, tries, "{code:?}");
        before = calls;
    }
}

#[tokio::test]
async fn answers_have_limits_and_settings_of_the_components_own_do_not_end_it() {
    let world = World::new();
    let _component = world.start("own");
    let none = RequestMetadata::new();
    let small = store(&world, &[("maxAnswerSize", "4"), ("maxBulkSize", "4")]).await;
    for error in [
        small.get("login", &none).await.err().unwrap(),
        small.bulk(&none).await.err().unwrap(),
    ] {
        assert!(error.to_string().contains("OutOfRange"), "{error}");
    }
    let own = store(&world, &[("maxRetries", "forever")]).await;
    assert!(own.get("login", &none).await.unwrap().is_some());
    let settings = world.behaviour.inits().pop().unwrap();
    assert_eq!(settings["maxRetries"], "forever");
}
