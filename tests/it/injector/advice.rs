//! What the authors of workloads are told.
//!
//! `tests/advice/<case>` holds `object.yaml`, where the object is changed and not created
//! `old.yaml`, and where there is another injector its MutatingWebhookConfiguration,
//! `others.yaml`. Out come `reason.txt` and, where there is something to say, `warnings.txt`, a
//! warning a line. `UPDATE_GOLDEN=1` writes them anew.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use http::StatusCode;
use serde_json::{Value, json};
use sidegate::injector::advice::advise;
use sidegate::injector::config::Config;
use sidegate::injector::inject::{Request, Verdict, inject};
use sidegate::injector::judgement::Judgement;
use sidegate::injector::others::OtherInjector;
use sidegate::injector::review::Review;
use sidegate::process::metrics::Metrics;
use tokio::sync::watch;

use super::{Setup, Webhook, pod, post_to, response_of, review_of};

/// The review of a workload that is created, or changed where it was something before.
fn review_of_workload(object: &Value, old: &Value) -> Value {
    let (group, version) = object["apiVersion"]
        .as_str()
        .and_then(|version| version.split_once('/'))
        .unwrap_or(("", "v1"));
    let mut review = review_of(object);
    review["request"]["kind"] = json!({"group": group, "version": version, "kind": object["kind"]});
    review["request"]["operation"] = if old.is_null() { "CREATE" } else { "UPDATE" }.into();
    review["request"]["oldObject"] = old.clone();
    review
}

fn advice(object: &Value, old: &Value, config: &Config, others: &[OtherInjector]) -> Judgement {
    let review = review_of_workload(object, old).to_string();
    let review = Review::decode(review.as_bytes()).unwrap();
    advise(&review, config, others)
}

/// A Deployment of such pods.
fn deployment(template: &Value) -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "cart"},
        "spec": {"template": template},
    })
}

fn yaml(path: &Path) -> Option<Value> {
    let text = fs::read_to_string(path).ok()?;
    Some(serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{path:?}: {error}")))
}

fn folders(of: &str) -> impl Iterator<Item = std::path::PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(of);
    let entries = fs::read_dir(root).unwrap();
    entries.map(|entry| entry.unwrap().path())
}

#[test]
fn every_case_has_its_advice() {
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let mut cases = 0;
    for folder in folders("advice") {
        let object = yaml(&folder.join("object.yaml")).unwrap();
        let old = yaml(&folder.join("old.yaml")).unwrap_or_default();
        let others = yaml(&folder.join("others.yaml"))
            .into_iter()
            .flat_map(|others| {
                let others = serde_json::from_value(others).unwrap();
                OtherInjector::of(&others, Some("sidegate-injector"))
            });
        let others: Vec<_> = others.collect();
        let judgement = advice(&object, &old, &Config::default(), &others);
        assert!(judgement.denial.is_none() && judgement.patch.is_none());
        let warnings = judgement.warnings.iter();
        let warnings: String = warnings.map(|text| format!("{text}\n")).collect();
        for (name, text) in [
            ("reason.txt", format!("{}\n", judgement.reason)),
            ("warnings.txt", warnings),
        ] {
            let path = folder.join(name);
            match (text.as_str(), update) {
                ("", true) => drop(fs::remove_file(&path)),
                (text, true) => fs::write(&path, text).unwrap(),
                (text, false) => {
                    let wanted = fs::read_to_string(&path).unwrap_or_default();
                    assert_eq!(wanted, text, "{}", path.display());
                }
            }
        }
        cases += 1;
    }
    assert!(cases > 0);
}

/// The pods whose patches are in `tests/golden`, as the pods of Deployments: what is said of them
/// is what the webhook for pods says, and no more.
#[test]
fn a_template_is_told_what_its_pods_would_be() {
    let mut good = 0;
    for folder in folders("golden") {
        let mut pod = yaml(&folder.join("pod.yaml")).unwrap();
        pod["metadata"].as_object_mut().unwrap().remove("name");
        let config = fs::read_to_string(folder.join("config.json"));
        let config = config.map_or_else(
            |_| Config::default(),
            |text| serde_json::from_str(&text).unwrap(),
        );
        let request = Request {
            namespace: "shop",
            pod: &pod,
        };
        let (denial, warnings) = match inject(&request, &config).unwrap() {
            Verdict::Skipped(_) => continue,
            Verdict::Injected { warnings, .. }
            | Verdict::AlreadyInjected { warnings, .. }
            | Verdict::ForeignSidecar { warnings } => (None, warnings),
            Verdict::Denied {
                message, warnings, ..
            } => (Some(message), warnings),
        };
        good += usize::from(warnings.is_empty() && denial.is_none());
        let denial = denial.map(|message| format!("its pods will be refused: {message}"));
        let wanted = denial.into_iter().chain(warnings);
        let wanted: Vec<_> = wanted
            .map(|text| format!("Deployment \"cart\": {text}"))
            .collect();
        let advice = advice(&deployment(&pod), &Value::Null, &config, &[]);
        assert_eq!(advice.warnings, wanted, "{}", folder.display());
    }
    assert!(good > 10, "{good}");
}

impl Webhook {
    async fn advise(&self, review: &Value) -> Value {
        let answer = self.send(post_to("/advise", review.to_string())).await;
        response_of(&answer)
    }
}

fn typo() -> Value {
    review_of_workload(
        &deployment(&pod(&json!({"dapr.io/app-prot": "80"}))),
        &Value::Null,
    )
}

#[tokio::test]
async fn answers_with_warnings_only() {
    let webhook = Webhook::start().await;
    for version in ["v1", "v1beta1"] {
        let mut review = typo();
        review["apiVersion"] = format!("admission.k8s.io/{version}").into();
        let response = webhook.advise(&review).await;
        let wanted = json!({
            "uid": "b4a1c2d3",
            "allowed": true,
            "warnings": ["Deployment \"cart\": annotation \"dapr.io/app-prot\" is not known; did \
                          you mean \"dapr.io/app-port\"?"],
        });
        assert_eq!(response, wanted);
    }
}

#[tokio::test]
async fn whoever_asks_gets_the_same_advice() {
    let webhook = Webhook::set_up(Setup {
        requesters: "shop:deployer",
        ..Setup::default()
    })
    .await;
    let mut review = typo();
    review["request"]["userInfo"] = json!({"username": "somebody"});
    let response = webhook.advise(&review).await;
    assert_eq!(response["warnings"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_pod_is_told_of_another_injector_as_long_as_there_is_one() {
    let case = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/advice/two-injectors");
    let other = serde_json::from_value(yaml(&case.join("others.yaml")).unwrap()).unwrap();
    let (sender, others) = watch::channel(OtherInjector::of(&other, None).into());
    let webhook = Webhook::set_up(Setup {
        others,
        ..Setup::default()
    })
    .await;
    let warnings = async |enabled: &str| {
        let response = webhook
            .create(&pod(&json!({"dapr.io/enabled": enabled})))
            .await;
        response["warnings"].as_array().cloned().unwrap_or_default()
    };
    let wanted = "another injector, MutatingWebhookConfiguration \"dapr-sidecar-injector\", is \
                  registered for this namespace too: the order of their names decides \
                  which adds the sidecar; exclude it from one";
    assert_eq!(warnings("true").await, [wanted]);
    assert_eq!(warnings("false").await, [""; 0]);
    sender.send_replace(Arc::default());
    assert_eq!(warnings("true").await, [""; 0]);
}

#[tokio::test]
async fn never_denies() {
    let webhook = Webhook::start().await;
    let bad = deployment(&pod(&json!({"dapr.io/app-port": "70000"})));
    let mut without_spec = deployment(&pod(&json!({})));
    without_spec["spec"]["template"]["spec"].take();
    let mut broken = deployment(&pod(&json!({})));
    broken["spec"]["template"]["spec"]["containers"] = json!("none");
    let mut odd = deployment(&json!({"metadata": []}));
    odd["metadata"] = json!([1]);
    let garbage = [Value::Null, json!([]), json!("x"), json!({"spec": 1})];
    for object in garbage
        .into_iter()
        .chain([bad, without_spec, broken, odd, pod(&json!({}))])
    {
        for kind in ["Deployment", "CronJob", "Pod"] {
            for old in [Value::Null, json!([]), json!({"spec": {"template": 1}})] {
                let mut review = review_of_workload(&object, &old);
                review["request"]["kind"]["group"] = match kind {
                    "Deployment" => "apps".into(),
                    "CronJob" => "batch".into(),
                    _ => "".into(),
                };
                review["request"]["kind"]["kind"] = kind.into();
                let response = webhook.advise(&review).await;
                assert_eq!(response["allowed"], true, "{review}");
                assert_eq!(response.get("patch"), None);
                assert_eq!(response.get("status"), None);
            }
        }
    }
}

#[test]
fn many_unknown_keys_are_compared_with_few_known_ones() {
    let many = (0..5000).map(|number| (format!("dapr.io/enable-{number:04}"), json!("")));
    let many = Value::Object(many.collect());
    let template = json!({"metadata": {"annotations": many, "labels": many}, "spec": {}});
    let mut deployment = deployment(&template);
    deployment["metadata"]["annotations"] = many;
    let advice = advice(&deployment, &Value::Null, &Config::default(), &[]);
    let of_known = "4984 more annotations are not known";
    let of_known = format!("Deployment \"cart\": {of_known}");
    assert!(advice.warnings.contains(&of_known), "{:?}", advice.warnings);
    assert!(advice.warnings.len() < 20);
}

#[tokio::test]
async fn what_is_no_review_is_refused() {
    let webhook = Webhook::start().await;
    for body in ["", "{", "{}", "[]", "\u{0}"] {
        let answer = webhook.send(post_to("/advise", body)).await;
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{body:?}");
    }
    let mut yaml = post_to("/advise", typo().to_string());
    yaml.headers_mut()
        .insert("content-type", "application/yaml".parse().unwrap());
    let answer = webhook.send(yaml).await;
    assert_eq!(answer.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
}

#[tokio::test]
async fn the_limits_of_bodies_hold_for_advice_too() {
    let webhook = Webhook::set_up(Setup {
        body_bytes: 4096,
        ..Setup::default()
    })
    .await;
    let mut review = typo().to_string();
    review.push_str(&" ".repeat(4096 - review.len()));
    let answer = webhook.send(post_to("/advise", review.clone())).await;
    assert_eq!(answer.status(), StatusCode::OK);
    let answer = webhook.send(post_to("/advise", review + " ")).await;
    assert_eq!(answer.status(), StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn advice_is_counted_apart_from_injection() {
    let metrics = Metrics::install(None);
    let webhook = Webhook::start().await;
    let name = "label-of-a-workload";
    let mut review = typo();
    review["request"]["object"]["metadata"]["name"] = name.into();
    webhook.advise(&review).await;
    review["request"]["kind"]["kind"] = name.into();
    webhook.advise(&review).await;
    webhook.send(post_to("/advise", name)).await;
    let text = crate::counted(&metrics);
    assert!(!text.contains(name), "{text}");
    for wanted in [
        "sidegate_injector_advice_total{outcome=\"warned\",reason=\"warnings\"}",
        "sidegate_injector_advice_total{outcome=\"silent\",reason=\"other_kind\"}",
        "sidegate_injector_advice_total{outcome=\"refused\",reason=\"undecodable\"}",
        "sidegate_injector_advice_duration_seconds_bucket{outcome=\"warned\",le=",
    ] {
        assert!(text.contains(wanted), "{wanted} in {text}");
    }
}
