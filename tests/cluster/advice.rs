//! What kubectl shows of the webhook's advice, and how other injectors are found.

use std::fs;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper_util::service::TowerToHyperService;
use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration,
};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use sidegate::injector::config::Config;
use sidegate::injector::others::kubernetes::follow;
use sidegate::injector::others::{self, OtherInjectors};
use sidegate::injector::requester::Requesters;
use sidegate::injector::server::{BODY_BYTES, BODY_TIME, Settings, routes};
use sidegate::process::kubernetes::{Access, Cluster};
use sidegate::testing::certificates::Authority;
use sidegate::testing::eventually::eventually;
use sidegate::testing::listening::listen;
use sidegate::testing::mounted_secret::MountedSecret;
use sidegate::tls::handshake::TlsHandshake;
use sidegate::tls::identity::IdentityFiles;
use sidegate::tls::reload;
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::api_server::ApiServer;

/// A webhook that the API server calls for workloads of one namespace.
struct Advised {
    server: &'static ApiServer,
    namespace: String,
    folder: TempDir,
    /// Ends when it is dropped.
    webhook: Option<JoinSet<()>>,
}

impl Advised {
    async fn start(others: OtherInjectors) -> Self {
        let server = ApiServer::shared().await;
        let namespace = server.namespace("advice").await;
        let authority = Authority::new();
        let issued = authority.issue(&["127.0.0.1"]);
        let mount =
            MountedSecret::new(&[("tls.crt", &issued.certificate), ("tls.key", &issued.key)]);
        let (identity, _) = reload::follow(IdentityFiles {
            certificate: mount.file("tls.crt"),
            key: mount.file("tls.key"),
            client_ca: None,
            client_names: Vec::new(),
        })
        .unwrap();
        let service = TowerToHyperService::new(routes(Settings {
            config: Config::default(),
            requesters: Requesters::default(),
            others,
            body_bytes: BODY_BYTES,
            body_time: BODY_TIME,
        }));
        let (address, webhook) = listen(TlsHandshake::new(identity), service).await;
        let webhooks: Api<ValidatingWebhookConfiguration> = Api::all(server.client().await);
        let configuration = configuration(&namespace, &address.to_string(), &authority);
        create(&webhooks, &configuration).await;
        let advised = Self {
            server,
            namespace,
            folder: TempDir::new().unwrap(),
            webhook: Some(webhook),
        };
        let probe = advised.manifest(&deployment("probe", &json!({"dapr.io/enable": "true"})));
        eventually("the API server calls the webhook", async || {
            let (_, warnings) = advised.apply(&probe, &["--dry-run=server"]);
            (!warnings.is_empty()).then_some(())
        })
        .await;
        advised
    }

    fn manifest(&self, object: &Value) -> PathBuf {
        let name = object["metadata"]["name"].as_str().unwrap();
        let path = self.folder.path().join(format!("{name}.json"));
        fs::write(&path, object.to_string()).unwrap();
        path
    }

    fn kubectl(&self, arguments: &[&str]) -> (String, String) {
        let all = ["--namespace", &self.namespace];
        let all: Vec<_> = all.iter().chain(arguments).copied().collect();
        self.server.kubectl_with_warnings(&all)
    }

    fn apply(&self, manifest: &std::path::Path, more: &[&str]) -> (String, String) {
        let all = ["apply", "--filename", manifest.to_str().unwrap()];
        let all: Vec<_> = all.iter().chain(more).copied().collect();
        self.kubectl(&all)
    }
}

/// As the chart's, for one namespace of the tests, by address, and patient with a slow machine.
fn configuration(
    namespace: &str,
    address: &str,
    authority: &Authority,
) -> ValidatingWebhookConfiguration {
    let configuration = json!({
        "metadata": {"name": namespace},
        "webhooks": [{
            "name": "advice.sidegate.dev",
            "clientConfig": {
                "url": format!("https://{address}/advise"),
                "caBundle": STANDARD.encode(authority.certificate()),
            },
            "rules": [{
                "apiGroups": ["apps", "batch"],
                "apiVersions": ["*"],
                "resources": ["*"],
                "operations": ["CREATE", "UPDATE"],
            }],
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
            "failurePolicy": "Ignore",
            "timeoutSeconds": 30,
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
        }],
    });
    serde_json::from_value(configuration).unwrap()
}

fn deployment(name: &str, annotations: &Value) -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}, "annotations": annotations},
                "spec": {"containers": [{"name": "app", "image": "app"}]},
            },
        },
    })
}

const TYPO: &str = "Warning: Deployment \"cart\": annotation \"dapr.io/enable\" is not known; did \
                    you mean \"dapr.io/enabled\"?\n";

#[tokio::test(flavor = "multi_thread")]
async fn whoever_applies_a_workload_sees_the_advice() {
    let mut advised = Advised::start(others::none()).await;
    let typo = deployment("cart", &json!({"dapr.io/enable": "true"}));
    let cart = advised.manifest(&typo);

    let (done, warnings) = advised.apply(&cart, &["--dry-run=server"]);
    assert_eq!(done, "deployment.apps/cart created (server dry run)\n");
    assert_eq!(warnings, TYPO);
    let (done, warnings) = advised.apply(&cart, &[]);
    assert_eq!(done, "deployment.apps/cart created\n");
    assert_eq!(warnings, TYPO);
    let (done, warnings) = advised.apply(&cart, &[]);
    assert_eq!(done, "deployment.apps/cart unchanged\n");
    assert_eq!(warnings, "");

    for quiet in [
        &["scale", "deployment", "cart", "--replicas=3"][..],
        &["label", "deployment", "cart", "team=shop"],
        &[
            "patch",
            "deployment",
            "cart",
            "--patch={\"spec\":{\"replicas\":2}}",
        ],
        &[
            "patch",
            "deployment",
            "cart",
            "--subresource=status",
            "--type=merge",
            "--patch={\"status\":{\"replicas\":2}}",
        ],
    ] {
        let (_, warnings) = advised.kubectl(quiet);
        assert_eq!(warnings, "", "{quiet:?}");
    }
    let (_, warnings) = advised.kubectl(&["rollout", "restart", "deployment", "cart"]);
    assert_eq!(warnings, TYPO);
    let (_, warnings) = advised.kubectl(&["annotate", "deployment", "cart", "dapr.io/app-id=cart"]);
    let outside = "Warning: Deployment \"cart\": annotations \"dapr.io/app-id\" of the Deployment \
                   itself have no effect: write them into spec.template.metadata.annotations\n";
    assert_eq!(warnings, format!("{outside}{TYPO}"));

    let right = json!({"dapr.io/enabled": "true", "dapr.io/app-id": "cart"});
    let (_, warnings) = advised.apply(&advised.manifest(&deployment("right", &right)), &[]);
    assert_eq!(warnings, "");

    drop(advised.webhook.take());
    let other = advised.manifest(&deployment("other", &json!({"dapr.io/enable": "true"})));
    let (done, warnings) = advised.apply(&other, &[]);
    assert_eq!(done, "deployment.apps/other created\n");
    assert_eq!(warnings, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_refusal_of_the_pods_is_no_refusal_of_the_workload() {
    let advised = Advised::start(others::none()).await;
    let annotations = json!({"dapr.io/enabled": "true"});
    let manifest = advised.manifest(&deployment("cart", &annotations));
    let (done, warnings) = advised.apply(&manifest, &[]);
    assert_eq!(done, "deployment.apps/cart created\n");
    assert_eq!(
        warnings,
        "Warning: Deployment \"cart\": its pods will be refused: annotation \"dapr.io/app-id\" is \
         missing, and the pod has no name yet to take its place: set it in the annotations of the \
         pod template\n"
    );
    let pods = json!([{"metadata": {"annotations": {"dapr.io/enabled": "1"}, "labels": {"a": "b"}},
        "spec": {"restartPolicy": "Never", "containers": [{"name": "app", "image": "app"}]}}]);
    let template = &pods[0];
    for object in [
        json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "job"},
            "spec": {"template": template}}),
        json!({"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "cron-job"},
            "spec": {"schedule": "0 * * * *", "jobTemplate": {"spec": {"template": template}}}}),
    ] {
        let (_, warnings) = advised.apply(&advised.manifest(&object), &[]);
        let wanted = format!(
            "Warning: {} {}: annotation \"dapr.io/enabled\": \"1\" gives the pod no sidecar: only \
             \"true\" does\n",
            object["kind"].as_str().unwrap(),
            object["metadata"]["name"]
        );
        assert_eq!(warnings, wanted);
    }
}

/// A configuration as Dapr's, for one namespace, which calls nobody.
fn of_dapr(name: &str, namespace: &str) -> MutatingWebhookConfiguration {
    let configuration = json!({
        "metadata": {"name": name},
        "webhooks": [{
            "name": "sidecar-injector.dapr.io",
            "clientConfig": {"url": "https://127.0.0.1:1/mutate"},
            "rules": [{
                "apiGroups": [""],
                "apiVersions": ["v1"],
                "resources": ["pods"],
                "operations": ["CREATE"],
            }],
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
            "failurePolicy": "Ignore",
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
        }],
    });
    serde_json::from_value(configuration).unwrap()
}

/// Lets everybody of a namespace see the webhooks of the cluster, as the chart does.
async fn allow_to_watch(server: &ApiServer, namespace: &str) {
    let name = format!("{namespace}-watches");
    let role = json!({
        "metadata": {"name": name},
        "rules": [{
            "apiGroups": ["admissionregistration.k8s.io"],
            "resources": ["mutatingwebhookconfigurations"],
            "verbs": ["list", "watch"],
        }],
    });
    let role: ClusterRole = serde_json::from_value(role).unwrap();
    create(&Api::all(server.client().await), &role).await;
    let binding = json!({
        "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": "default", "namespace": namespace}],
    });
    let binding: ClusterRoleBinding = serde_json::from_value(binding).unwrap();
    create(&Api::all(server.client().await), &binding).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_injector_is_seen_while_it_is_there_and_we_may_look() {
    let server = ApiServer::shared().await;
    let own = server.namespace("others").await;
    let kubeconfig = server.kubeconfig_of(&own, "default").await;
    let cluster = Cluster::connect(&Access::Kubeconfig(kubeconfig)).await;
    let (others, follower) = follow(cluster.unwrap(), Some("sidegate-injector".to_owned()));
    let stop = CancellationToken::new();
    let mut running = JoinSet::new();
    running.spawn(follower.run(stop.clone()));
    let mut seen = others.clone();

    let advised = Advised::start(others).await;
    let right = json!({"dapr.io/enabled": "true", "dapr.io/app-id": "cart"});
    let manifest = advised.manifest(&deployment("cart", &right));
    let webhooks: Api<MutatingWebhookConfiguration> = Api::all(server.client().await);
    create(&webhooks, &of_dapr("dapr", &advised.namespace)).await;
    let warnings = || advised.apply(&manifest, &["--dry-run=server"]).1;
    assert_eq!(warnings(), "");

    allow_to_watch(server, &own).await;
    seen.wait_for(|all| all.len() == 1).await.unwrap();
    assert_eq!(
        warnings(),
        "Warning: Deployment \"cart\": another injector, MutatingWebhookConfiguration \"dapr\", is \
         registered for this namespace too: the order of their names decides which adds the \
         sidecar; exclude it from one\n"
    );

    let elsewhere = Patch::Merge(json!({"webhooks": of_dapr("dapr", "elsewhere").webhooks}));
    let parameters = PatchParams::default();
    webhooks
        .patch("dapr", &parameters, &elsewhere)
        .await
        .unwrap();
    seen.changed().await.unwrap();
    assert_eq!(warnings(), "");

    webhooks
        .delete("dapr", &DeleteParams::default())
        .await
        .unwrap();
    seen.wait_for(|all| all.is_empty()).await.unwrap();
    stop.cancel();
    running.join_next().await.unwrap().unwrap().unwrap();
}

async fn create<K>(api: &Api<K>, object: &K)
where
    K: Clone + std::fmt::Debug + serde::Serialize + serde::de::DeserializeOwned,
{
    api.create(&PostParams::default(), object).await.unwrap();
}
