//! What the chart allows whom.

use serde_json::{Value, json};

use super::{object, objects};

const ADMISSION: &str = "admissionregistration.k8s.io";

fn rules<'a>(objects: &'a [Value], kind: &str, name: &str) -> &'a Value {
    &object(objects, kind, name)["rules"]
}

#[test]
fn the_injector_may_do_what_it_must_and_nothing_else() {
    let objects = objects(&[]);
    assert_eq!(
        *rules(&objects, "ClusterRole", "sidegate-injector"),
        json!([
            {
                "apiGroups": [ADMISSION],
                "resources": ["mutatingwebhookconfigurations"],
                "verbs": ["get", "list", "watch"],
            },
            {
                "apiGroups": [ADMISSION],
                "resources": ["mutatingwebhookconfigurations"],
                "resourceNames": ["sidegate-injector"],
                "verbs": ["patch"],
            },
            {
                "apiGroups": [ADMISSION],
                "resources": ["validatingwebhookconfigurations"],
                "resourceNames": ["sidegate-advice"],
                "verbs": ["get", "list", "watch", "patch"],
            },
        ])
    );
    assert_eq!(
        *rules(&objects, "Role", "sidegate-injector"),
        json!([{
            "apiGroups": [""],
            "resources": ["secrets"],
            "resourceNames": ["sidegate-injector-certificate"],
            "verbs": ["get", "list", "watch", "update"],
        }])
    );
    assert_eq!(
        *rules(&objects, "ClusterRole", "sidegate-test"),
        json!([{
            "apiGroups": [ADMISSION],
            "resources": ["mutatingwebhookconfigurations"],
            "resourceNames": ["sidegate-injector"],
            "verbs": ["get"],
        }])
    );
    let roles = objects.iter().filter(|object| {
        let kind = object["kind"].as_str().unwrap_or_default();
        ["Role", "ClusterRole"].contains(&kind)
    });
    assert_eq!(roles.count(), 3);
}

#[test]
fn only_the_mode_self_reads_secrets() {
    for mode in ["certManager", "provided"] {
        let mode = format!("--set=certificate.mode={mode}");
        let objects = objects(&[&mode, "--set=certificate.provided.secretName=own"]);
        let touches_secrets = |object: &Value| object["rules"].to_string().contains("secrets");
        assert!(!objects.iter().any(touches_secrets), "{mode}");
    }
}

#[test]
fn sidecars_may_read_resources_in_named_namespaces_only() {
    let objects = objects(&["--set=sidecarRbac.namespaces={shop}"]);
    let role = object(&objects, "Role", "sidegate-sidecar");
    assert_eq!(role["metadata"]["namespace"], "shop");
    let verbs = json!(["list", "watch"]);
    assert_eq!(
        role["rules"],
        json!([
            {
                "apiGroups": ["dapr.io"],
                "resources": [
                    "components",
                    "configurations",
                    "httpendpoints",
                    "resiliencies",
                    "subscriptions",
                ],
                "verbs": verbs,
            },
            {"apiGroups": ["sidegate.dev"], "resources": ["sidecarpolicies"], "verbs": verbs},
        ])
    );
    let binding = object(&objects, "RoleBinding", "sidegate-sidecar");
    assert_eq!(binding["metadata"]["namespace"], "shop");
    assert_eq!(binding["subjects"][0]["kind"], "Group");
    assert_eq!(
        binding["subjects"][0]["name"],
        "system:serviceaccounts:shop"
    );
}
