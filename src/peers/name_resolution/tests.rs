//! What every resolver has to do.

use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::process::tasks::with_causes;
use crate::resources::configuration::name_resolution::{
    ListForm, ListPlace, SqliteNames, StructuredNames,
};
use crate::testing::eventually::eventually;

const APP: Lookup<'static> = Lookup {
    app_id: "shop",
    namespace: "prod",
};

fn registration() -> Registration {
    Registration {
        app_id: "shop".to_owned(),
        namespace: "prod".to_owned(),
        host_address: Ipv6Addr::LOCALHOST.into(),
        internal_port: 50002,
    }
}

fn sqlite(dir: &Path) -> NameResolution {
    let file = dir.join("hosts.db");
    NameResolution::Sqlite(SqliteNames {
        connection_string: file.to_str().unwrap().to_owned(),
        table: "hosts".to_owned(),
        metadata_table: "metadata".to_owned(),
        update_interval: Duration::from_secs(3600),
        timeout: Duration::from_secs(60),
        busy_timeout: Duration::from_secs(60),
        cleanup_interval: None,
        disable_wal: false,
    })
}

/// Starts a resolver, which finds this sidecar where it announces it.
struct Started {
    resolver: Arc<dyn Resolver>,
    tasks: Tasks,
}

async fn started(config: &NameResolution, dir: &Path) -> Started {
    let mut tasks = Tasks::new(CancellationToken::new());
    let resolver = start(config, registration(), &dir.join("run"), &mut tasks).await;
    let resolver = resolver.unwrap();
    Started { resolver, tasks }
}

/// The app that is there is found at `expected`, and nowhere in another namespace unless namespaces
/// mean nothing to the resolver; what is not there is not found.
async fn contract(config: NameResolution, expected: &str, knows_who_is_there: bool) {
    let dir = tempfile::tempdir().unwrap();
    let Started { resolver, tasks } = started(&config, dir.path()).await;
    let found = resolver.resolve(&APP).await.unwrap();
    let found: Vec<_> = found.iter().map(PeerAddress::as_str).collect();
    assert_eq!(found, [expected], "{config:?}");
    if knows_who_is_there {
        let other = Lookup {
            app_id: "other.app",
            ..APP
        };
        let error = resolver.resolve(&other).await.unwrap_err();
        assert_eq!(error.to_string(), "couldn't find service: other.app");
    } else {
        let other = Lookup {
            app_id: "evil.example/",
            ..APP
        };
        let error = resolver.resolve(&other).await.unwrap_err();
        assert!(matches!(error, ResolveError::NotALabel { .. }), "{error}");
    }
    tasks.shutdown().cancel();
    tasks.finish().await.unwrap();
}

#[tokio::test]
async fn mdns() {
    contract(NameResolution::Mdns, "[::1]:50002", true).await;
}

#[cfg(feature = "sqlite")]
#[tokio::test]
async fn sqlite_over_a_file() {
    let dir = tempfile::tempdir().unwrap();
    contract(sqlite(dir.path()), "[::1]:50002", true).await;
}

#[tokio::test]
async fn kubernetes_by_daprs_names() {
    let names = "shop-dapr.prod.svc.cluster.local:50002";
    contract(NameResolution::of_mode(true), names, false).await;
}

#[tokio::test]
async fn kubernetes_by_a_template() {
    let names = KubernetesNames {
        template: Some("{{.ID}}.{{.Namespace}}.x:443".to_owned()),
        ..KubernetesNames::default()
    };
    contract(NameResolution::Kubernetes(names), "shop.prod.x:443", false).await;
}

#[tokio::test]
async fn nameformat() {
    let format = "sidecar-of-{appid}.internal".to_owned();
    let expected = "sidecar-of-shop.internal:50002";
    contract(NameResolution::NameFormat { format }, expected, false).await;
}

#[tokio::test]
async fn structuredformat() {
    let list = r#"{"appInstances": {"shop": [{"ipv6": "fd00::1", "port": 7}]}}"#;
    let names = StructuredNames {
        place: ListPlace::Text(list.to_owned()),
        form: ListForm::Json,
    };
    contract(NameResolution::StructuredFormat(names), "[fd00::1]:7", true).await;
}

async fn another_namespace_is_another_app(config: NameResolution) {
    let dir = tempfile::tempdir().unwrap();
    let Started { resolver, tasks } = started(&config, dir.path()).await;
    for namespace in ["", "test", "Prod"] {
        let other = Lookup { namespace, ..APP };
        let error = resolver.resolve(&other).await.unwrap_err();
        assert_eq!(error.to_string(), "couldn't find service: shop");
    }
    tasks.shutdown().cancel();
    tasks.finish().await.unwrap();
}

#[tokio::test]
async fn another_namespace_is_another_app_to_mdns() {
    another_namespace_is_another_app(NameResolution::Mdns).await;
}

#[cfg(feature = "sqlite")]
#[tokio::test]
async fn another_namespace_is_another_app_to_sqlite() {
    let dir = tempfile::tempdir().unwrap();
    another_namespace_is_another_app(sqlite(dir.path())).await;
}

#[tokio::test]
async fn an_app_that_starts_while_somebody_waits_is_found_and_one_that_ends_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let other = Registration {
        app_id: "other".to_owned(),
        ..registration()
    };
    let runtime_dir = dir.path().join("run");
    let mut tasks = Tasks::new(CancellationToken::new());
    let config = NameResolution::Mdns;
    let resolver = start(&config, other, &runtime_dir, &mut tasks)
        .await
        .unwrap();
    let waiting = eventually("the app", async || resolver.resolve(&APP).await.ok());
    let starting = started(&config, dir.path());
    let (found, later) = tokio::join!(waiting, starting);
    assert_eq!(found[0].as_str(), "[::1]:50002");
    later.tasks.shutdown().cancel();
    later.tasks.finish().await.unwrap();
    eventually("its end", async || resolver.resolve(&APP).await.err()).await;
}

#[tokio::test]
async fn without_a_folder_a_sidecar_starts_and_finds_nobody_on_this_machine() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let mut tasks = Tasks::new(CancellationToken::new());
    let local = Registration {
        host_address: Ipv4Addr::LOCALHOST.into(),
        ..registration()
    };
    let resolver = start(&NameResolution::Mdns, local, &file, &mut tasks).await;
    let error = resolver.unwrap().resolve(&APP).await.unwrap_err();
    assert!(matches!(error, ResolveError::NotFound { .. }));
}

#[tokio::test]
async fn a_resolver_that_cannot_start_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    let domain = |domain: &str| {
        NameResolution::Kubernetes(KubernetesNames {
            cluster_domain: domain.to_owned(),
            template: None,
        })
    };
    let format = "{appid}/x".to_owned();
    let nowhere = Registration {
        host_address: Ipv6Addr::UNSPECIFIED.into(),
        ..registration()
    };
    for (config, registration, path, expected) in [
        (
            NameResolution::Mdns,
            nowhere,
            &run,
            ":: with port 50002 is no address at which other sidecars can reach this one"
                .to_owned(),
        ),
        (
            domain("x/y"),
            registration(),
            &run,
            "spec.nameResolution.configuration.clusterDomain: \"x/y\" cannot be used: accepted is \
             a domain such as cluster.local"
                .to_owned(),
        ),
        (
            NameResolution::NameFormat { format },
            registration(),
            &run,
            "spec.nameResolution.configuration.format: \"{appid}/x\" cannot be used: what it makes \
             is no address: \"z/x\" is not an address: accepted are a host name, an IPv4 address \
             or an IPv6 address in brackets, then \":\" and a port (1-65535)"
                .to_owned(),
        ),
    ] {
        let mut tasks = Tasks::new(CancellationToken::new());
        let error = start(&config, registration, path, &mut tasks).await.unwrap_err();
        assert_eq!(with_causes(&error), expected);
    }
}

#[cfg(not(feature = "sqlite"))]
#[tokio::test]
async fn a_resolver_that_was_not_built_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let mut tasks = Tasks::new(CancellationToken::new());
    let config = sqlite(dir.path());
    let error = start(&config, registration(), dir.path(), &mut tasks).await;
    assert_eq!(
        error.unwrap_err().to_string(),
        "name resolver \"sqlite\" is not part of this build (feature \"sqlite\")"
    );
}

proptest! {
    #[test]
    fn no_app_id_leaves_its_label_in_kubernetes(
        app_id in prop_oneof![".{0,80}", "[a-z0-9.:@/?#%\\[\\]-]{0,70}"],
        namespace in prop_oneof![".{0,80}", "[a-z0-9.:@/?#%\\[\\]-]{0,70}"],
    ) {
        let template = kubernetes(&KubernetesNames::default(), 50002).unwrap();
        let app = Lookup { app_id: &app_id, namespace: &namespace };
        if let Ok(address) = template.address(&app) {
            let expected = format!("{app_id}-dapr.{namespace}.svc.cluster.local");
            prop_assert_eq!(address.host(), expected);
            prop_assert_eq!(address.host().split('.').count(), 5);
            prop_assert_eq!(address.port(), 50002);
        }
    }
}
