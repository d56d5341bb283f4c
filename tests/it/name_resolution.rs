//! mDNS on a network, which is one of its own here: a network namespace with nothing but `lo`, so
//! that no packet leaves it.

use std::net::IpAddr;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use sidegate::peers::name_resolution::{Lookup, Registration, Resolver, start};
use sidegate::process::tasks::Tasks;
use sidegate::resources::configuration::name_resolution::NameResolution;
use sidegate::testing::eventually::eventually;
use tokio_util::sync::CancellationToken;

/// The address of the namespace that is no loopback address.
const HOST: &str = "10.9.9.9";
/// 224.0.0.251, the group of mDNS, as /proc/net/igmp has it.
const GROUP: &str = "FB0000E0";

#[test]
fn sidecars_of_a_network_find_each_other() {
    inside("name_resolution::inside_a_network");
}

#[test]
fn a_sidecar_of_this_machine_alone_joins_no_multicast() {
    inside("name_resolution::inside_a_machine");
}

/// Runs a test of this file in a network namespace of its own.
#[expect(clippy::print_stderr, reason = "says what was skipped")]
fn inside(test: &str) {
    let script = format!(
        "ip link set lo up && ip address add {HOST}/24 dev lo && \
         exec \"$0\" --exact --ignored --nocapture {test}"
    );
    let in_namespace = |program: &str, arguments: &[&str]| {
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--net", program]);
        command.args(arguments).output()
    };
    let possible = in_namespace("ip", &["link", "set", "lo", "up"]);
    if !possible.is_ok_and(|output| output.status.success()) {
        let is_ci = std::env::var_os("CI").is_some_and(|value| value == "true");
        assert!(!is_ci, "this machine makes no network namespaces");
        eprintln!("skipped: this machine makes no network namespaces");
        return;
    }
    let own = std::env::current_exe().unwrap();
    let output = in_namespace("sh", &["-c", &script, own.to_str().unwrap()]).unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}\n{errors}");
    assert!(text.contains("1 passed"), "{text}\n{errors}");
}

struct Started {
    resolver: Arc<dyn Resolver>,
    tasks: Tasks,
}

async fn sidecar(app_id: &str, host: &str, port: u16, runtime_dir: &Path) -> Started {
    let mut tasks = Tasks::new(CancellationToken::new());
    let registration = Registration {
        app_id: app_id.to_owned(),
        namespace: "prod".to_owned(),
        host_address: host.parse::<IpAddr>().unwrap(),
        internal_port: port,
    };
    let config = NameResolution::Mdns;
    let resolver = start(&config, registration, runtime_dir, &mut tasks).await;
    Started {
        resolver: resolver.unwrap(),
        tasks,
    }
}

async fn found(resolver: &Arc<dyn Resolver>, app_id: &str, namespace: &str) -> Vec<String> {
    let found = resolver.resolve(&Lookup { app_id, namespace }).await;
    let mut found: Vec<_> = found
        .into_iter()
        .flatten()
        .map(|address| address.to_string())
        .collect();
    found.sort();
    found
}

#[tokio::test]
#[ignore = "runs in a network namespace, by the test above"]
async fn inside_a_network() {
    // Each has a folder of its own, so that it finds others by multicast only.
    let dirs: Vec<_> = (0..3).map(|_| tempfile::tempdir().unwrap()).collect();
    let runtime_dir = |at: usize| dirs[at].path().join("run");
    let caller = sidecar("caller", HOST, 1, &runtime_dir(0)).await;
    let one = sidecar("shop", HOST, 2, &runtime_dir(1)).await;
    let two = sidecar("shop", HOST, 3, &runtime_dir(2)).await;
    let both = [format!("{HOST}:2"), format!("{HOST}:3")];
    eventually("both instances", async || {
        (found(&caller.resolver, "shop", "prod").await == both).then_some(())
    })
    .await;
    assert!(found(&caller.resolver, "shop", "test").await.is_empty());
    eventually("the caller", async || {
        (found(&one.resolver, "caller", "prod").await == [format!("{HOST}:1")]).then_some(())
    })
    .await;
    // A goodbye counts at once.
    one.tasks.shutdown().cancel();
    one.tasks.finish().await.unwrap();
    eventually("one that is left", async || {
        (found(&caller.resolver, "shop", "prod").await == both[1..]).then_some(())
    })
    .await;
    assert!(groups().contains(GROUP));
    for left in [caller, two] {
        left.tasks.shutdown().cancel();
        left.tasks.finish().await.unwrap();
    }
}

#[tokio::test]
#[ignore = "runs in a network namespace, by the test above"]
async fn inside_a_machine() {
    let dir = tempfile::tempdir().unwrap();
    let runtime_dir = dir.path().join("run");
    let one = sidecar("one", "127.0.0.1", 1, &runtime_dir).await;
    let other = sidecar("other", "::1", 2, &runtime_dir).await;
    eventually("each other", async || {
        let pair = (
            found(&one.resolver, "other", "prod").await,
            found(&other.resolver, "one", "prod").await,
        );
        (pair == (vec!["[::1]:2".to_owned()], vec!["127.0.0.1:1".to_owned()])).then_some(())
    })
    .await;
    assert!(found(&one.resolver, "nobody", "prod").await.is_empty());
    assert!(!groups().contains(GROUP));
    for left in [one, other] {
        left.tasks.shutdown().cancel();
        left.tasks.finish().await.unwrap();
    }
    assert_eq!(
        std::fs::read_dir(runtime_dir.join("peers"))
            .unwrap()
            .count(),
        0
    );
}

/// The multicast groups that this network namespace is in.
fn groups() -> String {
    std::fs::read_to_string("/proc/self/net/igmp").unwrap()
}
