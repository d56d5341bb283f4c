//! State stores.

use std::sync::Arc;

use sidegate::components::catalog::Backend;
use sidegate::components::state::key_prefix::Owner;
use sidegate::components::state::{
    Condition, Delete, ETag, Feature, Item, Operation, Set, StateComponent, StateError, StateStore,
    Ttl,
};
use sidegate::testing::contract;
use sidegate::testing::state_contract::{self, get};
use tonic::Code;

use super::World;

async fn component(world: &World, properties: &[(&str, &str)]) -> StateComponent {
    let component = contract::component("state.own", properties);
    match world.build(&component).await {
        Ok(Backend::State(state)) => state,
        Ok(_) => panic!("it is no state store"),
        Err(error) => panic!("{error}"),
    }
}

async fn store(world: &World) -> Arc<dyn StateStore> {
    component(world, &[("password", "hunter2")]).await.store
}

fn set_if(key: &str, value: impl AsRef<[u8]>, condition: Condition) -> Operation {
    Operation::Set(Set {
        content_type: Some("text/plain".to_owned()),
        condition,
        ..state_contract::set(key, value)
    })
}

fn set(key: &str, value: impl AsRef<[u8]>) -> Operation {
    set_if(key, value, Condition::Always)
}

fn delete_if(key: &str, condition: Condition) -> Operation {
    Operation::Delete(Delete {
        condition,
        ..state_contract::delete(key)
    })
}

fn delete(key: &str) -> Operation {
    delete_if(key, Condition::Always)
}

fn matches(etag: &str) -> Condition {
    Condition::Matches(ETag::new(etag))
}

async fn read(store: &dyn StateStore, key: &str) -> Option<Item> {
    store.get(&get(key)).await.unwrap()
}

async fn text(store: &dyn StateStore, key: &str) -> Option<String> {
    let item = read(store, key).await;
    item.map(|item| String::from_utf8(item.value.to_vec()).unwrap())
}

#[tokio::test]
async fn meets_the_contract() {
    let world = World::new();
    let _component = world.start("own");
    state_contract::holds(&store(&world).await, "app||").await;
    state_contract::survives(async || store(&world).await, "later||").await;
}

#[tokio::test]
async fn passes_on_all_that_a_store_says_of_a_value() {
    let world = World::new();
    let _component = world.start("own");
    let store = store(&world).await;
    let features = [Feature::ETag, Feature::Transactional, Feature::Ttl];
    assert_eq!(store.features(), features);
    assert_eq!(read(&*store, "k").await, None);
    store.write(set("k", "one")).await.unwrap();
    let item = read(&*store, "k").await.unwrap();
    assert_eq!(item.value, "one");
    assert_eq!(item.etag, Some(ETag::new("1")));
    assert_eq!(item.content_type.as_deref(), Some("text/plain"));
    assert_eq!(item.metadata["store"], "fake");
    store.write(delete("k")).await.unwrap();
    store.write(delete("k")).await.unwrap();
    assert_eq!(read(&*store, "k").await, None);
}

#[tokio::test]
async fn an_empty_value_is_one() {
    let world = World::new();
    let _component = world.start("own");
    let store = store(&world).await;
    store.write(set("k", "")).await.unwrap();
    assert_eq!(text(&*store, "k").await.as_deref(), Some(""));
    let items = store.get_all(&[get("k")], 1).await;
    assert_eq!(items[0].clone().unwrap().unwrap().value, "");
}

#[tokio::test]
async fn etags_are_the_stores_own() {
    let world = World::new();
    let _component = world.start("own");
    world.behaviour.state.names_writes("write-");
    let store = store(&world).await;
    let absent = Condition::Absent;
    store.write(set_if("k", "1", absent.clone())).await.unwrap();
    for (operation, expected) in [
        (set_if("k", "2", absent), StateError::Mismatch),
        (set_if("k", "2", matches("write-9")), StateError::Mismatch),
        (set_if("k", "2", matches("1")), StateError::ETagInvalid),
        (delete_if("k", matches("write-9")), StateError::Mismatch),
        (delete_if("k", matches("")), StateError::ETagInvalid),
        (delete_if("none", matches("write-1")), StateError::Mismatch),
    ] {
        let written = store.write(operation.clone()).await;
        assert_eq!(written, Err(expected.clone()), "{operation:?}");
        let written = store.transact(vec![set("other", "3"), operation]).await;
        assert_eq!(written, Err(expected));
    }
    assert_eq!(text(&*store, "k").await.as_deref(), Some("1"));
    assert_eq!(read(&*store, "other").await, None);
    let known = matches("write-1");
    store.write(set_if("k", "2", known)).await.unwrap();
    let known = matches("write-2");
    store.write(delete_if("k", known)).await.unwrap();
    assert_eq!(read(&*store, "k").await, None);
}

#[tokio::test]
async fn how_long_a_value_stays_is_in_the_metadata() {
    let world = World::new();
    let _component = world.start("own");
    let store = store(&world).await;
    for (ttl, expected) in [
        (Ttl::Seconds(60), Some("60")),
        (Ttl::Forever, Some("-1")),
        (Ttl::OfStore, None),
    ] {
        let write = Set {
            ttl,
            metadata: [("own".to_owned(), "x".to_owned())].into(),
            ..state_contract::set("k", "1")
        };
        store.write(Operation::Set(write)).await.unwrap();
        let metadata = world.behaviour.state.metadata("k");
        assert_eq!(metadata["own"], "x");
        let seconds = metadata.get("ttlInSeconds").map(String::as_str);
        assert_eq!(seconds, expected);
    }
}

#[tokio::test]
async fn several_keys_are_read_in_one_call_and_in_order() {
    let world = World::new();
    let _component = world.start("own");
    let store = store(&world).await;
    for (key, value) in [("a", "1"), ("b", "unreadable"), ("c", "3")] {
        store.write(set(key, value)).await.unwrap();
    }
    let gets = ["a", "b", "none", "c", "a"].map(get);
    let unreadable = StateError::Unavailable("*** cannot be read".to_owned());
    let expected = [
        Ok(Some("1")),
        Err(unreadable),
        Ok(None),
        Ok(Some("3")),
        Ok(Some("1")),
    ];
    let value = |item: Result<Option<Item>, StateError>| {
        let value = |item: Item| String::from_utf8(item.value.to_vec()).unwrap();
        item.map(|item| item.map(value))
    };
    let expected = expected.map(|item| item.map(|item| item.map(str::to_owned)));
    let items = store.get_all(&gets, 2).await;
    assert_eq!(items.into_iter().map(value).collect::<Vec<_>>(), expected);
    assert_eq!(world.behaviour.callers("BulkGet"), ["store"]);
    assert!(world.behaviour.callers("Get").is_empty());
    assert!(store.get_all(&[], 2).await.is_empty());
    world.behaviour.fails("BulkGet", Code::Internal, "no");
    let no = StateError::Unavailable("no (Internal)".to_owned());
    assert_eq!(store.get_all(&gets, 2).await, vec![Err(no); 5]);
}

#[tokio::test]
async fn keys_go_one_by_one_where_a_component_cannot_take_several() {
    let world = World::new();
    let _component = world.start("own");
    let store = store(&world).await;
    for method in ["BulkGet", "BulkSet", "BulkDelete"] {
        let no = "no such method";
        world.behaviour.fails(method, Code::Unimplemented, no);
    }
    for _ in 0..2 {
        let written = store.write_all(vec![set("a", "1"), set("b", "2")]).await;
        assert_eq!(written, [Ok(()), Ok(())]);
        let items = store.get_all(&[get("b"), get("a")], 0).await;
        let values = items.into_iter().map(|item| item.unwrap().unwrap().value);
        assert_eq!(values.collect::<Vec<_>>(), ["2", "1"]);
        let deleted = store.write_all(vec![delete("a"), delete("b")]).await;
        assert_eq!(deleted, [Ok(()), Ok(())]);
    }
    for (method, calls) in [
        ("BulkGet", 1),
        ("BulkSet", 1),
        ("BulkDelete", 1),
        ("Set", 4),
    ] {
        let callers = world.behaviour.callers(method);
        assert_eq!(callers.len(), calls, "{method}");
    }
}

#[tokio::test]
async fn of_several_writes_each_is_told_what_became_of_it() {
    let world = World::new();
    let _component = world.start("own");
    let store = store(&world).await;
    let writes = vec![
        set("a", "1"),
        set("b", "2"),
        set_if("a", "3", Condition::Absent),
        set("c", "4"),
        delete("b"),
    ];
    let written = store.write_all(writes).await;
    let expected = [Ok(()), Ok(()), Err(StateError::Mismatch), Ok(()), Ok(())];
    assert_eq!(written, expected);
    assert_eq!(world.behaviour.callers("BulkSet").len(), 1);
    assert_eq!(text(&*store, "a").await.as_deref(), Some("1"));
    assert_eq!(text(&*store, "b").await, None);
    // The store deletes none of several where one is not there.
    let deleted = store.write_all(vec![delete("a"), delete("none")]).await;
    assert_eq!(deleted, [Ok(()), Ok(())]);
    assert_eq!(world.behaviour.callers("BulkDelete").len(), 1);
    assert_eq!(text(&*store, "a").await, None);
    world
        .behaviour
        .fails("BulkSet", Code::Unavailable, "hunter2?");
    let written = store.write_all(vec![set("a", "1"), set("b", "2")]).await;
    let failed = StateError::Unavailable("***? (Unavailable)".to_owned());
    assert_eq!(written, vec![Err(failed); 2]);
}

#[tokio::test]
async fn a_transaction_is_all_or_nothing() {
    let world = World::new();
    let _component = world.start("own");
    world.behaviour.state.takes(3);
    let store = store(&world).await;
    assert_eq!(store.most_operations(), Some(3));
    let both = vec![set("a", "1"), set("b", "2"), set("a", "3")];
    store.transact(both).await.unwrap();
    assert_eq!(text(&*store, "a").await.as_deref(), Some("3"));
    let half = vec![delete("a"), set_if("b", "4", Condition::Absent)];
    let written = store.transact(half).await;
    assert_eq!(written, Err(StateError::Mismatch));
    assert_eq!(text(&*store, "a").await.as_deref(), Some("3"));
    assert_eq!(world.behaviour.callers("Transact"), ["store"; 2]);
}

#[tokio::test]
async fn a_store_may_lack_transactions_and_limits() {
    let world = World::new();
    let _component = world.start("own");
    assert_eq!(store(&world).await.most_operations(), None);
    world.behaviour.state.takes(-1);
    assert_eq!(store(&world).await.most_operations(), None);
    world.behaviour.lacks("TRANSACTIONAL");
    let asked = world.behaviour.callers("MultiMaxSize").len();
    let store = store(&world).await;
    assert_eq!(store.features(), [Feature::ETag, Feature::Ttl]);
    assert_eq!(world.behaviour.callers("MultiMaxSize").len(), asked);
    let no = "unknown service";
    world.behaviour.fails("Transact", Code::Unimplemented, no);
    let written = store.transact(vec![set("a", "1")]).await;
    let refused = StateError::Refused(format!("{no} (Unimplemented)"));
    assert_eq!(written, Err(refused));
}

#[tokio::test]
async fn why_a_call_fails_is_told_without_the_settings_and_whether_it_may_heal() {
    let world = World::new();
    let _component = world.start("own");
    let store = store(&world).await;
    for (code, may_heal) in [
        (Code::InvalidArgument, false),
        (Code::FailedPrecondition, false),
        (Code::Unauthenticated, false),
        (Code::Unknown, true),
        (Code::Unavailable, true),
    ] {
        let text = format!("*** is refused ({code:?})");
        let expected = match may_heal {
            true => StateError::Unavailable(text),
            false => StateError::Refused(text),
        };
        for method in ["Get", "Set", "Delete", "Transact"] {
            world.behaviour.fails(method, code, "hunter2 is refused");
        }
        let read = store.get(&get("k")).await;
        assert_eq!(read, Err(expected.clone()));
        for outcome in [
            store.write(set("k", "1")).await,
            store.write(delete("k")).await,
            store.transact(vec![set("k", "1")]).await,
        ] {
            assert_eq!(outcome, Err(expected.clone()));
        }
    }
}

#[tokio::test]
async fn answers_have_limits() {
    let world = World::new();
    let _component = world.start("own");
    let store = store(&world).await;
    for (key, size) in [("fits", 15 << 20), ("huge", 17 << 20)] {
        store.write(set(key, vec![b'x'; size])).await.unwrap();
    }
    let read = store.get(&get("fits")).await.unwrap().unwrap();
    assert_eq!(read.value.len(), 15 << 20);
    let error = store.get(&get("huge")).await.unwrap_err();
    assert!(matches!(error, StateError::Refused(_)), "{error}");
    assert!(error.to_string().contains("OutOfRange"), "{error}");
    let items = store.get_all(&[get("fits"), get("huge")], 1).await;
    assert!(items.iter().all(Result::is_err));
}

#[tokio::test]
async fn comes_back_with_its_component() {
    let world = World::new();
    let component = world.start("own");
    let store = store(&world).await;
    store.write(set("k", "1")).await.unwrap();
    drop(component);
    let _component = world.start("own");
    // The end of the old connection may not be known yet.
    let item = loop {
        match store.get(&get("k")).await {
            Ok(item) => break item,
            Err(StateError::Unavailable(_)) => {}
            Err(error) => panic!("{error}"),
        }
    };
    assert_eq!(item.unwrap().value, "1");
    let inits = world.behaviour.inits();
    assert_eq!(inits.len(), 2);
    assert!(inits.iter().all(|init| init["password"] == "hunter2"));
}

#[tokio::test]
async fn is_unavailable_without_its_component() {
    let world = World::new();
    let component = world.start("own");
    let store = store(&world).await;
    drop(component);
    let error = store.write(set("k", "1")).await.unwrap_err();
    assert!(matches!(error, StateError::Unavailable(_)), "{error}");
    assert!(!error.to_string().contains("hunter2"), "{error}");
}

#[tokio::test]
async fn keys_have_the_prefix_that_the_component_asks_for() {
    let world = World::new();
    let _component = world.start("own");
    let owner = Owner {
        app_id: "app",
        namespace: "",
        component: "store",
    };
    for (given, expected) in [
        (&[][..], "app||k"),
        (&[("keyPrefix", "name")], "store||k"),
        (&[("keyPrefix", "none")], "k"),
    ] {
        let state = component(&world, given).await;
        assert_eq!(state.key_prefix.stored(owner, "k"), expected);
    }
    let wrong = contract::component("state.own", &[("keyPrefix", "a||b")]);
    let error = world.build(&wrong).await.err().unwrap();
    assert_eq!(error.code(), "INIT_COMPONENT_FAILURE");
    assert!(error.to_string().contains("keyPrefix"), "{error}");
}
