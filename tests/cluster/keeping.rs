//! A Secret and webhook configurations, and replicas that keep them.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration,
};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use sidegate::injector::certificates::authority::Terms;
use sidegate::injector::certificates::kubernetes::{CertificateSecret, Keeper};
use sidegate::injector::certificates::lifetimes::Lifetimes;
use sidegate::injector::registration::kubernetes::{Keeper as RegistrationKeeper, Kind, Starting};
use sidegate::injector::registration::roots::file::follow;
use sidegate::injector::registration::roots::kubernetes::Roots;
use sidegate::injector::registration::trust::Trust;
use sidegate::process::kubernetes::{Access, Cluster};
use sidegate::process::readiness::Readiness;
use sidegate::tls::identity::{Identity, IdentityFiles};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::api_server::{ApiServer, named};
use crate::road::Road;

/// The name of the Secret.
pub(crate) const SECRET: &str = "certificate";

/// The names of what is kept: those of a namespace.
pub(crate) struct Kept {
    pub(crate) server: &'static ApiServer,
    /// The configurations have its name too.
    pub(crate) namespace: String,
    /// How replicas get to the API server.
    pub(crate) road: Road,
    dir: tempfile::TempDir,
}

impl Kept {
    /// A namespace, and nothing to keep yet.
    pub(crate) async fn new() -> Self {
        let server = ApiServer::shared().await;
        let namespace = server.namespace("keeping").await;
        Self {
            server,
            namespace,
            road: Road::to(server.authority()).await,
            dir: tempfile::tempdir().unwrap(),
        }
    }

    /// An empty Secret, as the chart makes it.
    pub(crate) async fn make_secret(&self) {
        let secret = Secret {
            metadata: named(SECRET),
            ..Secret::default()
        };
        let (secrets, params) = (self.secrets().await, PostParams::default());
        secrets.create(&params, &secret).await.unwrap();
    }

    /// A mutating configuration with a webhook for each URL, and a validating one.
    pub(crate) async fn make_configurations(&self, urls: &[String]) {
        let webhooks: Vec<Value> = (0..)
            .zip(urls)
            .map(|(at, url)| self.webhook(at, url))
            .collect();
        let metadata = json!({ "name": self.namespace });
        let mutating = json!({ "metadata": metadata, "webhooks": webhooks });
        let mutating: MutatingWebhookConfiguration = serde_json::from_value(mutating).unwrap();
        let created = self.mutating().await;
        created
            .create(&PostParams::default(), &mutating)
            .await
            .unwrap();
        let validating = json!({ "metadata": metadata, "webhooks": webhooks });
        let validating: ValidatingWebhookConfiguration =
            serde_json::from_value(validating).unwrap();
        let all: Api<ValidatingWebhookConfiguration> = Api::all(self.server.client().await);
        all.create(&PostParams::default(), &validating)
            .await
            .unwrap();
    }

    fn webhook(&self, at: usize, url: &str) -> Value {
        json!({
            "name": format!("keeping-{at}.sidegate.test"),
            "clientConfig": { "url": url },
            "rules": [{
                "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"],
                "operations": ["CREATE"], "scope": "Namespaced",
            }],
            "namespaceSelector": {
                "matchLabels": { "kubernetes.io/metadata.name": self.namespace },
            },
            "matchConditions": [{
                "name": "asks",
                "expression": "has(object.metadata.annotations) \
                               && 'dapr.io/enabled' in object.metadata.annotations",
            }],
            "failurePolicy": "Fail",
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
        })
    }

    pub(crate) async fn secrets(&self) -> Api<Secret> {
        Api::namespaced(self.server.client().await, &self.namespace)
    }

    pub(crate) async fn mutating(&self) -> Api<MutatingWebhookConfiguration> {
        Api::all(self.server.client().await)
    }

    /// The text of a key of the Secret.
    pub(crate) async fn secret_text(&self, key: &str) -> Option<String> {
        let secret = self.secrets().await.get(SECRET).await.unwrap();
        let value = secret.data?.get(key)?.0.clone();
        Some(String::from_utf8(value).unwrap())
    }

    /// Sets keys of the Secret, and removes those with null.
    pub(crate) async fn set_secret(&self, data: Value) {
        let patch = Patch::Merge(json!({ "stringData": data }));
        let secrets = self.secrets().await;
        let params = PatchParams::default();
        secrets.patch(SECRET, &params, &patch).await.unwrap();
    }

    /// The bundles that the webhooks of both kinds hold.
    pub(crate) async fn bundles(&self) -> Vec<Option<String>> {
        let mutating = self.mutating().await.get(&self.namespace).await.unwrap();
        let all: Api<ValidatingWebhookConfiguration> = Api::all(self.server.client().await);
        let validating = all.get(&self.namespace).await.unwrap();
        let mutating = mutating.webhooks.into_iter().flatten();
        let mutating = mutating.map(|webhook| webhook.client_config);
        let validating = validating.webhooks.into_iter().flatten();
        let validating = validating.map(|webhook| webhook.client_config);
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        let all = mutating.chain(validating);
        all.map(|config| config.ca_bundle.map(|bundle| text(bundle.0)))
            .collect()
    }

    /// Puts a bundle into every webhook of the mutating configuration; none takes it away.
    pub(crate) async fn set_bundle(&self, bundle: Option<&str>) {
        let configurations = self.mutating().await;
        let read = configurations.get(&self.namespace).await.unwrap();
        let count = read.webhooks.unwrap_or_default().len();
        let encoded = bundle.map(|bundle| STANDARD.encode(bundle));
        let operation = |at: usize| {
            json!({
                "op": "add",
                "path": format!("/webhooks/{at}/clientConfig/caBundle"),
                "value": encoded,
            })
        };
        let patch: Vec<Value> = (0..count).map(operation).collect();
        let patch: kube::core::params::Patch<()> =
            Patch::Json(serde_json::from_value(json!(patch)).unwrap());
        let params = PatchParams::default();
        let patched = configurations.patch(&self.namespace, &params, &patch);
        patched.await.unwrap();
    }

    async fn cluster(&self) -> Cluster {
        let kubeconfig = std::fs::read_to_string(self.server.kubeconfig()).unwrap();
        let road = self.road.address.to_string();
        let kubeconfig = kubeconfig.replace(self.server.authority(), &road);
        let path = self.dir.path().join("kubeconfig");
        std::fs::write(&path, kubeconfig).unwrap();
        let access = Access::Kubeconfig(path);
        Cluster {
            namespace: self.namespace.clone(),
            ..Cluster::connect(&access).await.unwrap()
        }
    }

    /// Starts a replica that keeps all of it, with the rights of everybody.
    pub(crate) async fn replica(&self, [ca, leaf, wait]: [u64; 3]) -> Replica {
        let cluster = self.cluster().await;
        let [ca, leaf, wait] = [ca, leaf, wait].map(Duration::from_secs);
        let terms = Terms {
            lifetimes: Lifetimes::parse(ca, leaf, wait).unwrap(),
            names: vec!["127.0.0.1".to_owned()],
        };
        let secret = CertificateSecret::new(&cluster, SECRET, terms.names.clone());
        let (trust, readiness) = (Trust::new(), Readiness::new());
        let files = IdentityFiles {
            certificate: "".into(),
            key: "".into(),
            client_ca: None,
            client_names: Vec::new(),
        };
        let starting = readiness.wait_for("certificate");
        let (keeper, followers) =
            Keeper::new(secret.clone(), terms, files, trust.clone(), starting).unwrap();
        let bundle = followers.bundle;
        let secret = Box::new(secret);
        let roots = Roots::Secret { secret, bundle };
        let mut tasks = JoinSet::new();
        self.keep(&cluster, (&roots, &trust), &readiness, &mut tasks);
        tasks.spawn(async { keeper.run(CancellationToken::new()).await.unwrap() });
        Replica {
            identity: followers.identity,
            readiness,
            _tasks: tasks,
        }
    }

    /// Keeps the registrations by a file of CA certificates, until the set is dropped.
    pub(crate) async fn by_file(&self, file: &Path, wait: Duration) -> JoinSet<()> {
        let (roots, follower) = follow(file, wait).unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(async { follower.run(CancellationToken::new()).await.unwrap() });
        let place = (&Roots::File(roots), &Trust::new());
        self.keep(&self.cluster().await, place, &Readiness::new(), &mut tasks);
        tasks
    }

    fn keep(
        &self,
        cluster: &Cluster,
        (roots, trust): (&Roots, &Trust),
        readiness: &Readiness,
        tasks: &mut JoinSet<()>,
    ) {
        for kind in [Kind::Mutating, Kind::Validating] {
            let starting = Starting {
                bundle: readiness.wait_for("caBundle"),
                conditions: (kind == Kind::Mutating).then(|| readiness.wait_for("conditions")),
            };
            let name = (kind, self.namespace.as_str());
            let keeper =
                RegistrationKeeper::new(cluster, name, roots.clone(), trust.place(), starting);
            tasks.spawn(async { keeper.run(CancellationToken::new()).await.unwrap() });
        }
    }
}

/// One process as far as the certificate goes. It ends when it is dropped.
pub(crate) struct Replica {
    pub(crate) identity: watch::Receiver<Arc<Identity>>,
    pub(crate) readiness: Readiness,
    _tasks: JoinSet<()>,
}
