//! What the API server takes of the chart's objects and kinds.

use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::{in_tree, object, objects};
use crate::api_server::ApiServer;
use crate::crds;

/// Applies objects as a dry run on the server, in a namespace where one is given; the server's
/// words where it refuses.
pub(super) fn dry_run(
    server: &ApiServer,
    namespace: Option<&str>,
    objects: &[Value],
) -> Result<(), String> {
    let mut command = Command::new(crate::api_server::binaries().join("kubectl"));
    let mut kubectl = command
        .arg("--kubeconfig")
        .arg(server.kubeconfig())
        .args([
            "apply",
            "--dry-run=server",
            "--validate=strict",
            "--filename=-",
        ])
        .args(
            namespace
                .iter()
                .flat_map(|namespace| ["--namespace", namespace]),
        )
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let list = json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string();
    kubectl
        .stdin
        .take()
        .unwrap()
        .write_all(list.as_bytes())
        .unwrap();
    let output = kubectl.wait_with_output().unwrap();
    if output.status.success() {
        Ok(())
    } else {
        Err(String::from_utf8(output.stderr).unwrap())
    }
}

fn yaml(text: &str) -> Value {
    serde_saphyr::from_str(text).unwrap()
}

#[tokio::test]
async fn the_server_takes_the_objects_of_every_mode() {
    let server = ApiServer::shared().await;
    let namespace = server.namespace("modes").await;
    let place = format!("--namespace={namespace}");
    let provided = "--set=certificate.mode=provided,certificate.provided.secretName=own";
    let everything = "--set=sidecarRbac.namespaces={default},dashboards.enabled=true,hostNetwork=\
                      true,networkPolicy.apiServerPorts={6443},workerThreads=2,controlPlane.\
                      sentryAddress=sentry:443,clientCertificates.configMap=ca,extraArgs={--a=b},\
                      sidecar.ignoreEntrypointTolerations[0].key=a,podDisruptionBudget.\
                      maxUnavailable=50%,advice.timeoutSeconds=1,replicas=1,listenAddress=::";
    for values in [
        &[][..],
        &["--set=certificate.mode=certManager"],
        &[provided],
        &[everything],
        &["--set=advice.enabled=false,networkPolicy.enabled=false,metrics.enabled=false"],
    ] {
        let mut values = values.to_vec();
        values.push(&place);
        // Of other projects' kinds, which this server does not have.
        let known = |object: &Value| {
            let version = object["apiVersion"].as_str().unwrap();
            !version.starts_with("cert-manager.io/")
        };
        let objects: Vec<_> = objects(&values).into_iter().filter(known).collect();
        assert_eq!(dry_run(server, None, &objects), Ok(()), "{values:?}");
    }
}

/// <https://kubernetes.io/docs/concepts/security/pod-security-standards/>
#[tokio::test]
async fn the_pods_of_the_chart_pass_the_restricted_standard() {
    let server = ApiServer::shared().await;
    let namespace = server.namespace("restricted").await;
    let label = "pod-security.kubernetes.io/enforce=restricted";
    server.kubectl(&["label", "namespace", &namespace, label]);
    let objects = objects(&[&format!("--namespace={namespace}")]);
    let injector = &object(&objects, "Deployment", "sidegate-injector")["spec"]["template"];
    let mut pods = vec![object(&objects, "Pod", "sidegate-test").clone()];
    let metadata = json!({"name": "injector", "namespace": namespace});
    pods.push(json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": injector["spec"],
    }));
    assert_eq!(dry_run(server, None, &pods), Ok(()));
    pods[1]["spec"]["containers"][0]["securityContext"] = json!({});
    let refused = dry_run(server, None, &pods).unwrap_err();
    assert!(
        refused.contains("violates PodSecurity \"restricted:latest\""),
        "{refused}"
    );
}

#[tokio::test]
async fn the_server_takes_the_samples() {
    let server = ApiServer::shared().await;
    crds::install(server).await;
    let namespace = server.namespace("samples").await;
    for folder in ["manifests/samples", "manifests/rbac"] {
        let folder = in_tree(folder).display().to_string();
        let arguments = ["apply", "--validate=strict", "--namespace", &namespace];
        server.kubectl(&[&arguments[..], &["--filename", &folder]].concat());
    }
    let columns = server.kubectl(&["get", "sidecarpolicies", "--namespace", &namespace]);
    assert!(columns.contains("NAMESPACES"), "{columns}");
}

fn policy(spec: &str) -> Value {
    yaml(&format!(
        "{{apiVersion: sidegate.dev/v1alpha1, kind: SidecarPolicy, metadata: {{name: p}}, \
         spec: {spec}}}"
    ))
}

#[tokio::test]
async fn the_server_refuses_policies_that_would_not_do_what_they_say() {
    let server = ApiServer::shared().await;
    crds::install(server).await;
    for good in [
        "{secrets: {defaultAccess: deny, allowedNamespaces: [shop, stock-2]}}",
        "{secrets: {allowedNamespaces: []}}",
    ] {
        assert_eq!(dry_run(server, None, &[policy(good)]), Ok(()));
    }
    for (bad, expected) in [
        (
            "{}",
            "spec: Invalid value: 0: spec in body should have at least 1 properties",
        ),
        (
            "{secrets: {}}",
            "spec.secrets: Invalid value: 0: spec.secrets in body should have",
        ),
        (
            "{secrets: {defaultAccess: Deny}}",
            "spec.secrets.defaultAccess: Unsupported value: \"Deny\": supported values: \
             \"allow\", \"deny\"",
        ),
        (
            "{secrets: {allowedNamespaces: ['']}}",
            "each item must be the name of a namespace: lower-case letters, digits and - inside",
        ),
        (
            "{secrets: {allowedNamespaces: ['*']}}",
            "each item must be the name of a namespace",
        ),
        (
            "{secrets: {allowedNamespaces: [a, a]}}",
            "allowedNamespaces[1]: Duplicate value: \"a\"",
        ),
        (
            "{secrets: {allowNamespaces: [a]}}",
            "unknown field \"allowNamespaces\"",
        ),
    ] {
        let refused = dry_run(server, None, &[policy(bad)]).expect_err(bad);
        assert!(refused.contains(expected), "{bad}: {refused}");
    }
}

/// Subscriptions are stored in one version and read in the other, with nothing lost.
#[tokio::test]
async fn both_versions_of_subscriptions_keep_their_fields() {
    let server = ApiServer::shared().await;
    crds::install(server).await;
    let namespace = server.namespace("subscriptions").await;
    let dir = tempfile::tempdir().unwrap();
    let versions = [
        (
            "v1alpha1",
            "{topic: t, pubsubname: p, route: /orders}",
            "/orders",
        ),
        (
            "v2alpha1",
            "{topic: t, pubsubname: p, routes: {default: /d}}",
            r#"{"default":"/d"}"#,
        ),
    ];
    for (version, spec, _) in versions {
        let file = dir.path().join(version);
        let text = format!(
            "{{apiVersion: dapr.io/{version}, kind: Subscription, metadata: {{name: {version}}}, \
             spec: {spec}, scopes: [a]}}"
        );
        std::fs::write(&file, text).unwrap();
        let apply = [
            "apply",
            "--validate=strict",
            "--namespace",
            &namespace,
            "--filename",
        ];
        server.kubectl(&[&apply[..], &[file.to_str().unwrap()]].concat());
    }
    for read in ["v1alpha1", "v2alpha1"] {
        for (written, _, route) in versions {
            let kind = format!("subscriptions.{read}.dapr.io");
            let output = "--output=jsonpath={.spec.route}{.spec.routes}";
            let arguments = ["get", &kind, written, "--namespace", &namespace, output];
            assert_eq!(server.kubectl(&arguments), route, "{written} as {read}");
        }
    }
    let both = yaml(
        "{apiVersion: dapr.io/v2alpha1, kind: Subscription, metadata: {name: s}, \
         spec: {topic: t, pubsubname: p, route: /a, routes: {default: /b}}}",
    );
    let refused = dry_run(server, None, &[both]).unwrap_err();
    assert!(
        refused.contains("exactly one of route and routes is needed"),
        "{refused}"
    );
}
