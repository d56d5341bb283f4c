use super::*;
use crate::testing::fake_locks::FakeLocks;
use crate::testing::fake_registry::{FakeRegistry, Stores};

fn claim(store: &str, resource: &str, owner: &str) -> Claim {
    Claim {
        store: store.to_owned(),
        resource: resource.to_owned(),
        owner: owner.to_owned(),
    }
}

fn locks(stores: &Stores) -> Locks {
    Locks::new(FakeRegistry::of(stores).registry())
}

#[tokio::test]
async fn a_lock_is_held_by_one_until_he_gives_it_back() {
    let store = Arc::<FakeLocks>::default();
    let stores = Stores {
        locks: vec![("s", Arc::<FakeLocks>::clone(&store) as Arc<dyn LockStore>)],
        ..Stores::default()
    };
    let locks = locks(&stores);
    let (one, other) = (claim("s", "r", "one"), claim("s", "r", "other"));
    assert!(locks.try_lock(&one, 60).await.unwrap());
    assert_eq!(store.life("r"), Some(Duration::from_secs(60)));
    assert!(!locks.try_lock(&other, 60).await.unwrap());
    assert!(!locks.try_lock(&one, 60).await.unwrap());
    assert_eq!(locks.unlock(&other).await.unwrap(), Unlocked::OfOther);
    assert_eq!(locks.unlock(&one).await.unwrap(), Unlocked::Done);
    assert_eq!(locks.unlock(&one).await.unwrap(), Unlocked::Absent);
    assert!(locks.try_lock(&other, 60).await.unwrap());
}

#[tokio::test]
async fn requests_are_checked_in_the_order_of_dapr() {
    let good = claim("s", "r", "o");
    let nothing = locks(&Stores::default());
    let refused = async |locks: &Locks, claim: &Claim, seconds: i32| {
        let error = locks.try_lock(claim, seconds).await.unwrap_err();
        (error.reason(), error.message().to_owned())
    };
    let (reason, text) = refused(&nothing, &good, 0).await;
    assert_eq!(reason, Reason::Lock(LockReason::RequestInvalid));
    assert_eq!(text, "ExpiryInSeconds is not positive in lock store s");
    let (reason, text) = refused(&nothing, &claim("s", "", ""), 1).await;
    assert_eq!(reason, Reason::Lock(LockReason::StoresNotConfigured));
    assert_eq!(text, "lock store is not configured");

    let store: Arc<dyn LockStore> = Arc::<FakeLocks>::default();
    let some = locks(&Stores {
        locks: vec![("other", store)],
        failed: vec![("broken", "lock.redis")],
        ..Stores::default()
    });
    for (claim, reason, text) in [
        (
            claim("s", "", ""),
            Reason::Lock(LockReason::RequestInvalid),
            "ResourceId is empty in lock store s",
        ),
        (
            claim("s", "r", ""),
            Reason::Lock(LockReason::RequestInvalid),
            "LockOwner is empty in lock store s",
        ),
        (
            good,
            Reason::Lock(LockReason::StoreNotFound),
            "lock store s not found",
        ),
        (
            claim("broken", "r", "o"),
            Reason::Lock(LockReason::StoreNotFound),
            "lock store broken not found: it is defined, but could not be loaded",
        ),
    ] {
        assert_eq!(refused(&some, &claim, 1).await, (reason, text.to_owned()));
        let error = some.unlock(&claim).await.unwrap_err();
        assert_eq!((error.reason(), error.message()), (reason, text));
    }
    let (reason, text) = refused(&some, &claim("other", "a||b", "o"), 1).await;
    assert_eq!(reason, Reason::Lock(LockReason::Try));
    assert!(
        text.ends_with("input key 'a||b' can't contain '||'"),
        "{text}"
    );
}

#[tokio::test]
async fn a_store_that_is_away_is_told_without_its_words() {
    let store = Arc::<FakeLocks>::default();
    let locks = locks(&Stores {
        locks: vec![("s", Arc::<FakeLocks>::clone(&store) as Arc<dyn LockStore>)],
        ..Stores::default()
    });
    store.set_down(true);
    let claim = claim("s", "r", "o");
    let error = locks.try_lock(&claim, 1).await.unwrap_err();
    assert_eq!(error.reason(), Reason::Lock(LockReason::Try));
    let expected = "failed to try acquiring lock: the store could not answer";
    assert_eq!(error.message(), expected);
    let error = locks.unlock(&claim).await.unwrap_err();
    assert_eq!(error.reason(), Reason::Lock(LockReason::Unlock));
    assert_eq!(
        error.message(),
        "failed to release lock: the store could not answer"
    );
    store.set_down(false);
    assert!(locks.try_lock(&claim, 1).await.unwrap());
}
