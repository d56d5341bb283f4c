//! The store of the cluster's Secrets, with the rights of a service account.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use http::Request;
use k8s_openapi::ByteString;
use k8s_openapi::api::authorization::v1::SelfSubjectAccessReview;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use sidegate::base::environment::Environment;
use sidegate::components::catalog::{self, Host};
use sidegate::components::secret_store::{RequestMetadata, SecretStore, StoreError};
use sidegate::process::kubernetes::Access;
use sidegate::testing::contract;
use sidegate::testing::eventually::eventually;

use crate::api_server::{ApiServer, named};

mod quickstart;
mod sidecar;

/// A namespace with a service account `default`, a kubeconfig of it, and a Role that it has.
struct Place {
    server: &'static ApiServer,
    namespace: String,
    kubeconfig: String,
}

impl Place {
    async fn new(prefix: &str) -> Self {
        let server = ApiServer::shared().await;
        let namespace = server.namespace(prefix).await;
        let kubeconfig = server.kubeconfig_of(&namespace, "default").await;
        Self {
            server,
            kubeconfig: kubeconfig.to_str().unwrap().to_owned(),
            namespace,
        }
    }

    async fn secret(&self, name: &str, data: &[(&str, &[u8])]) {
        let data = data
            .iter()
            .map(|(key, value)| ((*key).to_owned(), ByteString(value.to_vec())))
            .collect();
        let secret = Secret {
            metadata: named(name),
            data: Some(data),
            ..Secret::default()
        };
        let secrets: Api<Secret> = Api::namespaced(self.server.client().await, &self.namespace);
        secrets
            .create(&PostParams::default(), &secret)
            .await
            .unwrap();
    }

    /// Gives the service account these rights on Secrets and no others.
    async fn grant(&self, verbs: &[&str], names: &[&str]) {
        self.grant_to(&self.namespace, verbs, names).await;
    }

    /// The same for the service account of another namespace.
    async fn grant_to(&self, of: &str, verbs: &[&str], names: &[&str]) {
        let path = format!(
            "/apis/rbac.authorization.k8s.io/v1/namespaces/{}",
            self.namespace
        );
        let rules = match verbs {
            [] => json!([]),
            verbs if names.is_empty() => {
                json!([{ "apiGroups": [""], "resources": ["secrets"], "verbs": verbs }])
            }
            verbs => json!([{
                "apiGroups": [""], "resources": ["secrets"], "resourceNames": names, "verbs": verbs,
            }]),
        };
        let role = json!({ "metadata": { "name": "reader" }, "rules": rules });
        let account = json!({ "kind": "ServiceAccount", "name": "default", "namespace": of });
        let binding = json!({
            "metadata": { "name": "reader" },
            "subjects": [account],
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader",
            },
        });
        self.apply(&format!("{path}/roles/reader"), "Role", role)
            .await;
        self.apply(
            &format!("{path}/rolebindings/reader"),
            "RoleBinding",
            binding,
        )
        .await;
        let account = format!("system:serviceaccount:{of}:default");
        for verb in verbs {
            match names {
                [] => self.may(&account, verb, None).await,
                names => {
                    for name in names {
                        self.may(&account, verb, Some(name)).await;
                    }
                }
            }
        }
    }

    /// Waits until the API server knows of the rights, which takes it a moment.
    async fn may(&self, account: &str, verb: &str, name: Option<&str>) {
        let client = self.server.client_as(account).await;
        let question: SelfSubjectAccessReview = serde_json::from_value(json!({
            "metadata": {},
            "spec": { "resourceAttributes": {
                "namespace": self.namespace, "resource": "secrets", "verb": verb, "name": name,
            } },
        }))
        .unwrap();
        let reviews: Api<SelfSubjectAccessReview> = Api::all(client);
        eventually("the rights are there", async || {
            let answer = reviews.create(&PostParams::default(), &question).await;
            answer.unwrap().status.unwrap().allowed.then_some(())
        })
        .await;
    }

    async fn apply(&self, path: &str, kind: &str, mut object: Value) {
        object["apiVersion"] = "rbac.authorization.k8s.io/v1".into();
        object["kind"] = kind.into();
        let request = Request::patch(format!("{path}?fieldManager=test&force=true"))
            .header("content-type", "application/apply-patch+yaml")
            .body(object.to_string().into_bytes())
            .unwrap();
        let client = self.server.client().await;
        client.request_text(request).await.unwrap();
    }

    async fn store(&self, settings: &[(&str, &str)]) -> Arc<dyn SecretStore> {
        let environment = [("NAMESPACE", self.namespace.as_str())];
        let environment = environment.into_iter().collect();
        self.store_in(&environment, settings).await
    }

    async fn store_in(
        &self,
        environment: &Environment,
        settings: &[(&str, &str)],
    ) -> Arc<dyn SecretStore> {
        let component = contract::component("secretstores.kubernetes", settings);
        let access = Access::Kubeconfig(Path::new(&self.kubeconfig).to_owned());
        let host = Host {
            environment,
            cluster: &access,
            app_id: "app",
        };
        let built = catalog::build(&component, host).await.unwrap();
        Arc::clone(built.secret_store().unwrap())
    }
}

fn none() -> RequestMetadata {
    RequestMetadata::new()
}

/// What a store says on a read of one secret: its keys, `absent`, or the error.
async fn read(store: &Arc<dyn SecretStore>, name: &str) -> String {
    match store.get(name, &none()).await {
        Ok(Some(secret)) => secret.keys().cloned().collect::<Vec<_>>().join(","),
        Ok(None) => "absent".to_owned(),
        Err(error) => error.to_string(),
    }
}

#[tokio::test]
async fn meets_the_contract() {
    let place = Place::new("contract").await;
    place.grant(&["get", "list"], &[]).await;
    place.secret("one", &[("one", b"1")]).await;
    place
        .secret("several", &[("a.b_C-d", "ä\n".as_bytes()), ("empty", b"")])
        .await;
    place.secret("dots.in-the.name", &[("k", b"v")]).await;
    place.secret("nothing", &[]).await;
    let expected: &[(&str, &[(&str, &str)])] = &[
        ("one", &[("one", "1")]),
        ("several", &[("a.b_C-d", "ä\n"), ("empty", "")]),
        ("dots.in-the.name", &[("k", "v")]),
        ("nothing", &[]),
    ];
    contract::holds(place.store(&[]).await.as_ref(), expected).await;
}

#[tokio::test]
async fn each_read_needs_one_right_and_its_error_names_it() {
    let place = Place::new("rights").await;
    place.secret("mine", &[("k", b"v")]).await;
    let store = place.store(&[]).await;
    let namespace = &place.namespace;
    let grant_get = format!(
        "grant it with a Role in namespace {namespace:?}: apiGroups [\"\"], resources \
         [\"secrets\"], resourceNames [\"mine\"], verbs [\"get\"]"
    );
    let grant_list = format!(
        "grant it with a Role in namespace {namespace:?}: apiGroups [\"\"], resources \
         [\"secrets\"], verbs [\"list\"]"
    );
    for (verbs, names, may_get, may_list) in [
        (&[][..], &[][..], false, false),
        (&["watch", "create", "update", "delete"], &[], false, false),
        (&["get"], &["other"], false, false),
        (&["get"], &["mine"], true, false),
        (&["get"], &[], true, false),
        (&["list"], &[], false, true),
    ] {
        place.grant(verbs, names).await;
        // The API server hears of a new Role a moment later.
        eventually("the rights are as granted", async || {
            let can_get = store.get("mine", &none()).await.is_ok();
            let can_list = store.bulk(&none()).await.is_ok();
            ((can_get, can_list) == (may_get, may_list)).then_some(())
        })
        .await;
        let answer = read(&store, "mine").await;
        let who = format!("User \"system:serviceaccount:{namespace}:default\" cannot get");
        match may_get {
            true => assert_eq!(answer, "k", "{verbs:?} {names:?}"),
            false => assert!(
                answer.contains(&who) && answer.ends_with(&grant_get),
                "{answer}"
            ),
        }
        match (store.bulk(&none()).await, may_list) {
            (Ok(all), true) => assert_eq!(all.keys().collect::<Vec<_>>(), ["mine"]),
            (Err(StoreError::ListForbidden(text)), false) => {
                assert!(text.contains(&grant_list), "{text}");
            }
            (other, _) => panic!("{other:?} with {verbs:?} {names:?}"),
        }
    }
}

#[tokio::test]
async fn the_role_of_the_documentation_gives_what_it_says() {
    let place = Place::new("documented").await;
    let page = include_str!("../../../docs/secrets/kubernetes.md");
    let (_, page) = page.split_once("\n## In a pod\n").unwrap();
    let (_, yaml) = page.split_once("```yaml\n").unwrap();
    let (yaml, _) = yaml.split_once("```").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("role.yaml");
    std::fs::write(&file, yaml.replace("shop", &place.namespace)).unwrap();
    let output = place
        .server
        .kubectl(&["apply", "-f", file.to_str().unwrap()]);
    assert_eq!(output.lines().count(), 2, "{output}");
    for name in ["database", "mail", "other"] {
        place.secret(name, &[(name, b"v")]).await;
    }
    let store = place.store(&[]).await;
    eventually("the Role counts", async || {
        store.get("mail", &none()).await.ok()
    })
    .await;
    assert_eq!(read(&store, "database").await, "database");
    assert!(read(&store, "other").await.contains("is forbidden"));
    assert!(store.bulk(&none()).await.is_err());
}

#[tokio::test]
async fn reads_every_page() {
    let place = Place::new("pages").await;
    place.grant(&["list"], &[]).await;
    let text: String = (0..620)
        .map(|number| {
            format!(
                "apiVersion: v1\nkind: Secret\nmetadata: {{name: s{number:03}}}\nstringData: \
                 {{number: '{number}'}}\n---\n"
            )
        })
        .collect();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secrets.yaml");
    std::fs::write(&file, text).unwrap();
    let (file, namespace) = (file.to_str().unwrap(), place.namespace.as_str());
    place
        .server
        .kubectl(&["create", "-n", namespace, "-f", file]);
    let all = place.store(&[]).await.bulk(&none()).await.unwrap();
    assert_eq!(all.len(), 620);
    for (at, (name, secret)) in all.iter().enumerate() {
        assert_eq!(*name, format!("s{at:03}"));
        assert_eq!(secret["number"].expose(), at.to_string());
    }
}

#[tokio::test]
async fn values_that_are_no_text_are_left_out() {
    let place = Place::new("bytes").await;
    place.grant(&["get", "list"], &[]).await;
    place
        .secret("mixed", &[("text", b"t"), ("bytes", &[0xff, 0])])
        .await;
    let store = place.store(&[]).await;
    assert_eq!(read(&store, "mixed").await, "text");
    let all = store.bulk(&none()).await.unwrap();
    assert_eq!(all["mixed"].keys().collect::<Vec<_>>(), ["text"]);
}

#[tokio::test]
async fn the_namespace_is_that_of_the_request_then_of_the_pod_then_the_default() {
    let (place, other) = (Place::new("first").await, Place::new("second").await);
    place.grant(&["get"], &[]).await;
    other.grant_to(&place.namespace, &["get"], &[]).await;
    place.secret("here", &[("k", b"v")]).await;
    other.secret("there", &[("k", b"v")]).await;
    let metadata: RequestMetadata =
        BTreeMap::from([("namespace".to_owned(), other.namespace.clone())]);
    let pod: Environment = [("NAMESPACE", place.namespace.as_str())]
        .into_iter()
        .collect();
    let default = [("defaultNamespace", other.namespace.as_str())];
    let store = place.store_in(&pod, &default).await;
    eventually("both Roles count", async || {
        let own = store.get("here", &none()).await;
        let named = store.get("there", &metadata).await;
        (matches!(own, Ok(Some(_))) && matches!(named, Ok(Some(_)))).then_some(())
    })
    .await;
    assert_eq!(read(&store, "there").await, "absent");
    let foreign = store.foreign_namespace(&metadata);
    assert_eq!(foreign, Some(other.namespace.as_str()));
    assert_eq!(store.foreign_namespace(&none()), None);

    let store = place.store_in(&Environment::default(), &default).await;
    assert_eq!(read(&store, "there").await, "k");
    assert_eq!(store.foreign_namespace(&metadata), None);

    let store = place.store_in(&Environment::default(), &[]).await;
    let expected = "namespace is missing on metadata and NAMESPACE env variable, and no default \
                    namespace is set";
    assert_eq!(read(&store, "here").await, expected);
    assert_eq!(store.bulk(&none()).await.unwrap_err().to_string(), expected);
}

/// Replaces the value of one key.
async fn rotate(place: &Place, name: &str, key: &str, value: &str) {
    let secrets: Api<Secret> = Api::namespaced(place.server.client().await, &place.namespace);
    let patch = Patch::Merge(json!({ "stringData": { key: value } }));
    let patched = secrets.patch(name, &PatchParams::default(), &patch).await;
    patched.unwrap();
}
