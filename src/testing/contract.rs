//! What every secret store has to do, for tests.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test may panic")]

use std::future::Future;
use std::sync::Arc;

use super::faulty_road::{Fault, FaultyRoad};
use crate::base::secret::Secret;
use crate::components::secret_store::{RequestMetadata, SecretMap, SecretStore, StoreError};
use crate::components::{ResolvedComponent, ResolvedProperty};

/// Checks a store that holds exactly `expected`.
pub async fn holds(store: &dyn SecretStore, expected: &[(&str, &[(&str, &str)])]) {
    let none = RequestMetadata::new();
    let bulk = store.bulk(&none).await.expect("bulk answers");
    let names: Vec<_> = bulk.keys().map(String::as_str).collect();
    let mut expected_names: Vec<_> = expected.iter().map(|(name, _)| *name).collect();
    expected_names.sort_unstable();
    assert_eq!(
        names, expected_names,
        "bulk holds every secret and no other"
    );
    for (name, keys) in expected {
        let single = store.get(name, &none).await.expect("get answers");
        let single = single.unwrap_or_else(|| panic!("{name} is there"));
        assert_eq!(exposed(&single), *keys, "{name}");
        assert_eq!(exposed(&bulk[*name]), *keys, "{name} in bulk");
        let canonical = store.canonical_name(name);
        assert_eq!(
            store.canonical_name(&canonical),
            canonical,
            "canonical is final"
        );
    }
    for missing in ["", " ", "no such secret", "../x", "\u{0}"] {
        let answer = store.get(missing, &none).await.expect("get answers");
        assert!(answer.is_none(), "{missing:?} is not there");
    }
}

fn exposed(secret: &SecretMap) -> Vec<(&str, &str)> {
    secret
        .iter()
        .map(|(key, value)| (key.as_str(), value.expose()))
        .collect()
}

/// A text that must be in no error.
const VALUE: &str = "hunter2";

/// Checks what a store does when the way to its server goes wrong. `make` builds the store of a
/// component whose server is at the end of `road`, with more settings; it holds `expected`.
pub async fn survives<M, F>(road: &FaultyRoad, make: M, expected: (&str, &[(&str, &str)]))
where
    M: Fn(&'static [(&'static str, &'static str)]) -> F,
    F: Future<Output = Arc<dyn SecretStore>>,
{
    let (name, keys) = expected;
    let none = RequestMetadata::new();
    let store = make(&[("requestTimeout", "60s"), ("bulkTimeout", "60s")]).await;
    let read = async || store.get(name, &none).await;
    let reads = async |what: &str| {
        let secret = read()
            .await
            .unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(exposed(&secret.expect("it is there")), keys, "{what}");
        assert_eq!(store.down_since(), None, "{what}");
    };
    reads("nothing is wrong").await;
    let passing = [
        Fault::Status(500, None),
        Fault::Status(502, None),
        Fault::Status(503, Some(0)),
        Fault::Status(429, Some(0)),
        Fault::Close,
        Fault::Cut,
    ];
    for fault in passing.clone() {
        let before = road.requests();
        road.next([fault.clone()]);
        reads(&format!("{fault:?}")).await;
        assert!(road.requests() >= before + 2, "{fault:?}");
        road.next([fault.clone()]);
        let bulk = store.bulk(&none).await.expect("bulk answers");
        assert_eq!(exposed(&bulk[name]), keys, "{fault:?} in bulk");
    }
    for fault in [
        Fault::Oversized(20 << 20),
        Fault::Body(b""),
        Fault::Body(b"{\"data\": \"hunter2"),
        Fault::Body(b"{\"data\": \"hunter2\xff\"}"),
        Fault::Body(b"[\"hunter2\"]"),
        Fault::Body(b"{\"hunter2\": \"hunter2\"}"),
        Fault::Status(403, None),
        Fault::Status(400, None),
    ] {
        road.always(fault.clone());
        let error = read().await.expect_err("it is no answer");
        assert!(
            !matches!(error, StoreError::Unavailable { .. }),
            "{fault:?} is not tried again: {error:?}"
        );
        assert!(!error.to_string().contains(VALUE), "{error}");
        assert!(!error.to_string().contains("xxxx"), "{error}");
        let error = store.bulk(&none).await.expect_err("it is no answer");
        assert!(!error.to_string().contains(VALUE), "{error}");
        road.next([]);
        reads(&format!("after {fault:?}")).await;
    }
    road.always(Fault::Status(500, None));
    let error = read().await.expect_err("it is down");
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
    assert!(store.down_since().is_some());
    road.next([]);
    reads("after it was down").await;
    road.always(Fault::Hang);
    let hasty = make(&[("requestTimeout", "100ms"), ("bulkTimeout", "200ms")]).await;
    let error = hasty.get(name, &none).await.expect_err("it hangs");
    assert_eq!(error.to_string(), "it did not answer within 100ms");
    let error = hasty.bulk(&none).await.expect_err("it hangs");
    assert_eq!(error.to_string(), "it did not answer within 200ms");
    road.next([]);
    reads("after it hung").await;
}

/// A component for the catalog.
pub fn component(component_type: &str, properties: &[(&str, &str)]) -> ResolvedComponent {
    ResolvedComponent {
        name: "store".to_owned(),
        component_type: component_type.to_owned(),
        version: "v1".to_owned(),
        properties: properties
            .iter()
            .map(|(name, value)| ResolvedProperty {
                name: (*name).to_owned(),
                value: Secret::new(*value),
                secret_name: None,
            })
            .collect(),
    }
}
