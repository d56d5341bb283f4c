//! What the webhook answers to whom.

use http::{Method, Request, StatusCode};
use serde_json::{Value, json};

use super::{
    Setup, Webhook, arguments, patch_of, patched, pod, post, response_of, review_of, sidecar,
};

fn assert_unchanged(response: &Value) {
    assert_eq!(response["allowed"], true, "{response}");
    assert_eq!(response.get("patch"), None);
    assert_eq!(response.get("patchType"), None);
}

#[tokio::test]
async fn gives_an_enabled_pod_its_sidecar() {
    let webhook = Webhook::start().await;
    let pod = pod(&json!({
        "dapr.io/api-token-secret": "api-secret",
        "dapr.io/app-token-secret": "app-secret",
    }));
    let response = webhook.create(&pod).await;
    assert_eq!(response["uid"], "b4a1c2d3");
    let pod = patched(&pod, &response);
    let env = sidecar(&pod)["env"].as_array().unwrap();
    for (name, secret) in [
        ("DAPR_API_TOKEN", "api-secret"),
        ("APP_API_TOKEN", "app-secret"),
    ] {
        let found = env.iter().find(|env| env["name"] == name).unwrap();
        let reference = &found["valueFrom"]["secretKeyRef"];
        assert_eq!(
            (&reference["name"], &reference["key"]),
            (&json!(secret), &json!("token"))
        );
    }
}

#[tokio::test]
async fn a_dry_run_gets_the_same_answer() {
    let webhook = Webhook::start().await;
    let mut review = review_of(&pod(&json!({})));
    let real = webhook.review(&review).await;
    review["request"]["dryRun"] = true.into();
    assert_eq!(webhook.review(&review).await, real);
}

#[tokio::test]
async fn enabled_is_true_in_any_case_and_nothing_else() {
    let webhook = Webhook::start().await;
    for value in ["true", "TRUE", "True"] {
        let pod = pod(&json!({"dapr.io/enabled": value}));
        patch_of(&webhook.create(&pod).await);
    }
    for value in ["false", "", "1", "yes", "on", " true", "true "] {
        let pod = pod(&json!({"dapr.io/enabled": value}));
        assert_unchanged(&webhook.create(&pod).await);
    }
}

#[tokio::test]
async fn other_kinds_operations_and_subresources_pass_unchanged() {
    let webhook = Webhook::start().await;
    let deployment = json!({"group": "apps", "version": "v1", "kind": "Deployment"});
    for (pointer, value) in [
        ("/request/kind", deployment),
        ("/request/operation", "UPDATE".into()),
        ("/request/operation", "DELETE".into()),
        ("/request/operation", "CONNECT".into()),
        ("/request/subResource", "status".into()),
        ("/request/subResource", "ephemeralcontainers".into()),
    ] {
        let mut review = review_of(&pod(&json!({})));
        review["request"]["subResource"] = "".into();
        *review.pointer_mut(pointer).unwrap() = value;
        assert_unchanged(&webhook.review(&review).await);
    }
}

#[tokio::test]
async fn the_app_id_of_a_named_pod_is_its_name() {
    let webhook = Webhook::start().await;
    let mut pod = pod(&json!({}));
    pod["metadata"]["name"] = "no-appid".into();
    let annotations = pod["metadata"]["annotations"].as_object_mut().unwrap();
    annotations.remove("dapr.io/app-id");
    let response = webhook.create(&pod).await;
    let pod = patched(&pod, &response);
    assert!(arguments(&pod).contains("--app-id no-appid"));
}

#[tokio::test]
async fn a_pod_without_an_app_id_is_denied_with_what_is_accepted() {
    let webhook = Webhook::start().await;
    let mut pod = pod(&json!({}));
    pod["metadata"] = json!({
        "generateName": "cart-7d9f-",
        "annotations": {"dapr.io/enabled": "true"},
    });
    let response = webhook.create(&pod).await;
    assert_eq!(response["allowed"], false);
    assert_eq!(response["status"]["code"], 403);
    let message = response["status"]["message"].as_str().unwrap();
    assert!(message.contains("dapr.io/app-id"), "{message}");
}

#[tokio::test]
async fn app_ids_have_at_most_58_characters_of_a_dns_label() {
    let webhook = Webhook::start().await;
    for good in ["a", "a-b", "0", &"a".repeat(58)] {
        let pod = pod(&json!({"dapr.io/app-id": good}));
        patch_of(&webhook.create(&pod).await);
    }
    for bad in ["a.b", "A", "a_b", "-a", "a-", " a", &"a".repeat(59)] {
        let pod = pod(&json!({"dapr.io/app-id": bad}));
        let response = webhook.create(&pod).await;
        assert_eq!(response["allowed"], false, "{bad}");
        let message = response["status"]["message"].as_str().unwrap();
        assert!(message.contains(&format!("{bad:?}")), "{message}");
    }
}

#[tokio::test]
async fn an_optional_annotation_is_an_argument_only_where_it_is_set() {
    let webhook = Webhook::start().await;
    for (annotations, wanted) in [
        (json!({}), false),
        (json!({"dapr.io/app-binding-options-timeout": "5s"}), true),
    ] {
        let pod = pod(&annotations);
        let response = webhook.create(&pod).await;
        let arguments = arguments(&patched(&pod, &response));
        let found = arguments.contains("--app-binding-options-timeout 5s");
        assert_eq!(found, wanted, "{arguments}");
    }
}

#[tokio::test]
async fn a_foreign_container_daprd_is_let_in_with_a_warning() {
    let webhook = Webhook::start().await;
    let mut pod = pod(&json!({}));
    let containers = pod["spec"]["containers"].as_array_mut().unwrap();
    containers.push(json!({"name": "daprd", "image": "mine"}));
    let response = webhook.create(&pod).await;
    assert_unchanged(&response);
    assert_eq!(response["warnings"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_second_call_changes_nothing() {
    let webhook = Webhook::start().await;
    let pod = pod(&json!({}));
    let response = webhook.create(&pod).await;
    assert_unchanged(&webhook.create(&patched(&pod, &response)).await);
}

#[tokio::test]
async fn v1beta1_is_answered_in_v1beta1() {
    let webhook = Webhook::start().await;
    let mut review = review_of(&pod(&json!({})));
    review["apiVersion"] = "admission.k8s.io/v1beta1".into();
    let answer = webhook.post(review.to_string()).await;
    patch_of(&response_of(&answer));
    let answer: Value = serde_json::from_slice(answer.body()).unwrap();
    assert_eq!(answer["apiVersion"], "admission.k8s.io/v1beta1");
}

#[tokio::test]
async fn only_json_is_accepted_with_any_parameters() {
    let webhook = Webhook::start().await;
    let body = review_of(&pod(&json!({}))).to_string();
    for (media_type, wanted) in [
        ("application/json", StatusCode::OK),
        ("application/json; charset=utf-8", StatusCode::OK),
        ("Application/JSON ;charset=UTF-8", StatusCode::OK),
        ("application/yaml", StatusCode::UNSUPPORTED_MEDIA_TYPE),
        ("application/jsonx", StatusCode::UNSUPPORTED_MEDIA_TYPE),
        ("", StatusCode::UNSUPPORTED_MEDIA_TYPE),
    ] {
        let mut request = post(body.clone());
        let headers = request.headers_mut();
        headers.insert("content-type", media_type.parse().unwrap());
        assert_eq!(webhook.send(request).await.status(), wanted, "{media_type}");
    }
    let mut request = post(body);
    request.headers_mut().remove("content-type");
    let answer = webhook.send(request).await;
    assert_eq!(
        answer.body(),
        "Content-Type \"\" is not accepted: send application/json\n"
    );
}

#[tokio::test]
async fn other_paths_and_methods_are_refused() {
    let webhook = Webhook::start().await;
    for (method, path, wanted) in [
        (Method::GET, "/mutate", StatusCode::METHOD_NOT_ALLOWED),
        (Method::PUT, "/mutate", StatusCode::METHOD_NOT_ALLOWED),
        (Method::POST, "/", StatusCode::NOT_FOUND),
        (Method::POST, "/mutate/", StatusCode::NOT_FOUND),
        (Method::POST, "/metrics", StatusCode::NOT_FOUND),
        (Method::GET, "/healthz", StatusCode::NOT_FOUND),
    ] {
        let request = Request::builder().method(&method).uri(path);
        let answer = webhook
            .send(request.body(Default::default()).unwrap())
            .await;
        assert_eq!(answer.status(), wanted, "{method} {path}");
    }
}

fn by(user: &str, groups: &[&str], pod: &Value) -> Value {
    let mut review = review_of(pod);
    review["request"]["userInfo"] = json!({"username": user, "groups": groups});
    review
}

#[tokio::test]
async fn without_a_list_everybody_gets_sidecars() {
    let webhook = Webhook::start().await;
    let review = by("jane", &["system:kubelet"], &pod(&json!({})));
    patch_of(&webhook.review(&review).await);
}

#[tokio::test]
async fn with_a_list_the_pods_of_others_are_denied() {
    let webhook = Webhook::set_up(Setup {
        requesters: "shop:deployer-*",
        ..Setup::default()
    })
    .await;
    let pod = pod(&json!({}));
    let account = |name: &str| format!("system:serviceaccount:{name}");
    for (user, groups, wanted) in [
        (account("shop:deployer-1"), &[][..], true),
        (account("kube-system:deployment-controller"), &[], true),
        (
            account("kube-system:deployment-controller-extra"),
            &[],
            false,
        ),
        (account("shop:deploye"), &[], false),
        (account("other:deployer-1"), &[], false),
        ("jane".to_owned(), &["system:kubelet"], false),
        ("jane".to_owned(), &["system:masters"], true),
    ] {
        let response = webhook.review(&by(&user, groups, &pod)).await;
        assert_eq!(response["allowed"], wanted, "{user}");
        assert_eq!(response.get("patch").is_some(), wanted, "{user}");
    }
}

#[tokio::test]
async fn with_a_list_others_may_still_create_pods_without_a_sidecar() {
    let webhook = Webhook::set_up(Setup {
        requesters: "shop:deployer",
        ..Setup::default()
    })
    .await;
    for enabled in [json!("false"), json!("1"), Value::Null] {
        let mut pod = pod(&json!({}));
        let annotations = pod["metadata"]["annotations"].as_object_mut().unwrap();
        match &enabled {
            Value::Null => annotations.remove("dapr.io/enabled"),
            value => annotations.insert("dapr.io/enabled".to_owned(), value.clone()),
        };
        assert_unchanged(&webhook.review(&by("jane", &[], &pod)).await);
    }
}
