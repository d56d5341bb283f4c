//! The webhook configurations whose caBundle the injector keeps.

use kube::api::{Patch, PatchParams};
use serde_json::json;
use sidegate::testing::eventually::eventually;

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
    let other = sidegate::testing::certificates::Authority::new().certificate();
    for changed in [None, Some(other.as_str())] {
        kept.set_bundle(changed).await;
        eventually("the bundle is back", in_place).await;
    }
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
