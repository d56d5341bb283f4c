//! The webhook configurations whose caBundle the injector keeps.

use std::time::Duration;

use kube::api::{Patch, PatchParams};
use serde_json::json;
use sidegate::testing::certificates::Authority;
use sidegate::testing::eventually::eventually;
use sidegate::testing::mounted_secret::MountedSecret;

use crate::keeping::Kept;

const LIFETIMES: [u64; 3] = [9000, 3000, 60];

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_that_somebody_changed_comes_back() {
    let kept = Kept::new().await;
    kept.make_secret().await;
    kept.make_configurations(&[1, 2].map(|port| format!("https://127.0.0.1:{port}/mutate")))
        .await;
    let _replica = kept.replica(LIFETIMES).await;
    let in_place = async || {
        let bundle = kept.secret_text("ca.crt").await?;
        (kept.bundles().await == vec![Some(bundle); 4]).then_some(())
    };
    eventually("the bundle is in place", in_place).await;
    let other = Authority::new().certificate();
    for changed in [None, Some(other.as_str())] {
        kept.set_bundle(changed).await;
        eventually("the bundle is back", in_place).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_the_api_server_takes_nothing_away() {
    let kept = Kept::new().await;
    kept.make_secret().await;
    kept.make_configurations(&["https://127.0.0.1:1/mutate".to_owned()])
        .await;
    let replica = kept.replica(LIFETIMES).await;
    let ready = async || replica.readiness.is_ready().then_some(());
    eventually("it is ready", ready).await;
    let leaf = || replica.identity.borrow().leaf.clone();
    let before = leaf();

    kept.road.close();
    kept.set_bundle(None).await;
    let in_place = async || {
        let bundle = kept.secret_text("ca.crt").await?;
        (kept.bundles().await == vec![Some(bundle); 2]).then_some(())
    };
    assert!(in_place().await.is_none(), "nobody can put it back");
    assert!(replica.readiness.is_ready());
    assert_eq!(leaf(), before, "what is served stays");

    kept.road.open();
    eventually("the bundle is back", in_place).await;
    assert!(replica.readiness.is_ready());
    assert_eq!(leaf(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_authority_of_a_file_is_followed_and_the_one_before_stays_for_a_while() {
    let kept = Kept::new().await;
    kept.make_configurations(&["https://127.0.0.1:1/mutate".to_owned()])
        .await;
    let [first, second] = [(); 2].map(|()| Authority::new().certificate());
    let mut mounted = MountedSecret::new(&[("ca.crt", &first)]);
    let wait = Duration::from_secs(2);
    let _tasks = kept.by_file(&mounted.file("ca.crt"), wait).await;
    let trusts = async |these: &[&String]| {
        let bundles = kept.bundles().await;
        let holds = |bundle: &String| {
            let count = bundle.matches("BEGIN").count();
            count == these.len() && these.iter().all(|one| bundle.contains(one.trim()))
        };
        let all = bundles.iter().all(|one| one.as_ref().is_some_and(holds));
        all.then_some(())
    };
    eventually("the CA of the file is trusted", async || {
        trusts(&[&first]).await
    })
    .await;
    mounted.swap(&[("ca.crt", &second)]);
    eventually("both are trusted", async || {
        trusts(&[&first, &second]).await
    })
    .await;
    eventually("the old one is not", async || trusts(&[&second]).await).await;
    mounted.swap(&[("ca.crt", "rubbish")]);
    kept.set_bundle(None).await;
    eventually("rubbish replaces nothing", async || {
        trusts(&[&second]).await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_made_that_is_not_there() {
    let kept = Kept::new().await;
    kept.make_secret().await;
    let replica = kept.replica(LIFETIMES).await;
    eventually("there is a certificate", async || {
        replica.identity.borrow().is_some().then_some(())
    })
    .await;
    assert_eq!(replica.readiness.pending().len(), 3);
    assert!(
        kept.mutating()
            .await
            .get_opt(&kept.namespace)
            .await
            .unwrap()
            .is_none()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn is_not_ready_where_an_outage_would_refuse_every_pod() {
    let kept = Kept::new().await;
    kept.make_secret().await;
    kept.make_configurations(&["https://127.0.0.1:1/mutate".to_owned()])
        .await;
    let configurations = kept.mutating().await;
    let conditions = async |expression: &str| {
        let condition = json!([{ "name": "asks", "expression": expression }]);
        let patch = json!([
            { "op": "replace", "path": "/webhooks/0/matchConditions", "value": condition },
        ]);
        let patch: Patch<()> = Patch::Json(serde_json::from_value(patch).unwrap());
        let params = PatchParams::default();
        configurations
            .patch(&kept.namespace, &params, &patch)
            .await
            .unwrap();
    };
    conditions("true").await;
    let replica = kept.replica(LIFETIMES).await;
    eventually("everything else is in place", async || {
        (replica.readiness.pending() == ["conditions"]).then_some(())
    })
    .await;
    let ours = "'dapr.io/enabled' in object.metadata.annotations";
    conditions(ours).await;
    eventually("it is ready", async || {
        replica.readiness.is_ready().then_some(())
    })
    .await;
}
