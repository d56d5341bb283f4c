//! Both stores of AWS against servers that say what a test wants.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::Response;
use http_body_util::Full;
use serde_json::{Value, json};

use sidegate::base::environment::Environment;
use sidegate::components::catalog::{Host, build};
use sidegate::components::secret_store::{RequestMetadata, SecretStore, StoreError};
use sidegate::process::kubernetes::Access;
use sidegate::testing::contract::component;
use sidegate::testing::fake_app::FakeApp;

const MANAGER: &str = "secretstores.aws.secretmanager";
const PARAMETERS: &str = "secretstores.aws.parameterstore";

async fn start(
    component_type: &str,
    properties: &[(&str, &str)],
) -> Result<Arc<dyn SecretStore>, String> {
    let host = Host {
        environment: &Environment::default(),
        cluster: &Access::InCluster,
        app_id: "app",
    };
    let built = build(&component(component_type, properties), host).await;
    let built = built.map_err(|error| error.to_string())?;
    Ok(Arc::clone(built.secret_store().unwrap()))
}

async fn store(component_type: &str, server: &FakeApp, prefix: &str) -> Arc<dyn SecretStore> {
    let endpoint = format!("http://{}", server.address());
    let properties = [
        ("region", "eu-west-1"),
        ("accessKey", "AKIAEXAMPLE"),
        ("secretKey", "key"),
        ("endpoint", &endpoint),
        ("prefix", prefix),
        ("maxRetries", "1"),
    ];
    start(component_type, &properties).await.unwrap()
}

/// A server that answers an action and its input with a status and a body.
async fn server<F>(answer: F) -> FakeApp
where
    F: Fn(&str, Value) -> (u16, Value) + Send + Sync + 'static,
{
    FakeApp::answering(move |request| {
        let target = request.header("x-amz-target")[0];
        let action = target.rsplit('.').next().unwrap();
        let input = serde_json::from_slice(&request.body).unwrap();
        let (status, body) = answer(action, input);
        let body = Full::new(Bytes::from(body.to_string()));
        Response::builder().status(status).body(body).unwrap()
    })
    .await
}

fn refusal(code: &str) -> (u16, Value) {
    (400, json!({"__type": code, "Message": "hunter2"}))
}

/// How often an action was called.
fn calls(server: &FakeApp, action: &str) -> usize {
    let recorded = server.recorded();
    let is_action = |target: &str| target.ends_with(&format!(".{action}"));
    let targets = recorded.iter().map(|one| one.header("x-amz-target")[0]);
    targets.filter(|target| is_action(target)).count()
}

fn none() -> RequestMetadata {
    RequestMetadata::new()
}

#[tokio::test]
async fn settings_are_checked_at_start() {
    let together = "\"accessKey\" and \"secretKey\" have to be given together, and \
                    \"sessionToken\" only with them";
    let anywhere = "IAM Roles Anywhere (\"trustAnchorArn\", \"trustProfileArn\") is not supported; \
                    \"assumeRoleArn\" alone is a role that is assumed with the credentials of the \
                    sidecar";
    let region = "the value of \"region\" is not a region, such as \"eu-west-1\"";
    let endpoint = "the value of \"endpoint\" is not a URL, such as \"http://localhost:4566\"";
    let role = "the value of \"assumeRoleArn\" is not the ARN of a role, such as \
                \"arn:aws:iam::123456789012:role/reader\"";
    for component_type in [MANAGER, PARAMETERS] {
        for (name, value, expected) in [
            ("accessKey", "hunter2", together),
            ("secretKey", "hunter2", together),
            ("sessionToken", "hunter2", together),
            ("trustAnchorArn", "arn:aws:x", anywhere),
            ("trustProfileArn", "arn:aws:x", anywhere),
            ("awsRegion", "eu west", region),
            ("region", "x.example.com/", region),
            ("endpoint", "localhost:4566", endpoint),
            ("endpoint", "ftp://h", endpoint),
            ("endpoint", "http://user@h", endpoint),
            ("assumeRoleArn", "reader", role),
        ] {
            let error = start(component_type, &[(name, value)]).await.err();
            assert_eq!(error.as_deref(), Some(expected), "{name}");
        }
        assert!(start(component_type, &[]).await.is_ok());
        assert!(
            start(component_type, &[("accessKey", ""), ("region", "")])
                .await
                .is_ok()
        );
    }
    for prefix in ["shop/", "/a//", "arn:aws:", "a:", " "] {
        let error = start(PARAMETERS, &[("prefix", prefix)])
            .await
            .err()
            .unwrap();
        assert_eq!(
            error,
            "the value of \"prefix\" is not the beginning of names, such as \"/shop/\" or \
             \"shop-\""
        );
    }
    assert!(start("secretstores.aws.secretsmanager", &[]).await.is_ok());
}

/// Spellings that reach the secret `denied` somewhere, or could.
const TRICKS: &[&str] = &[
    "arn:aws:secretsmanager:eu-west-1:123456789012:secret:denied-AbCdEf",
    "arn:aws:secretsmanager:eu-west-1:123456789012:secret:denied",
    "arn:aws:ssm:eu-west-1:123456789012:parameter/denied",
    "ARN:aws:ssm:eu-west-1:123456789012:parameter/denied",
    "/aws/reference/secretsmanager/denied",
    "denied-AbCdEf",
    "denied:1",
    "denied:AWSCURRENT",
    "denied:label",
    "denied:SecretString:password::",
    "denied;1",
    "Denied",
    "DENIED",
    "/denied",
    "denied/",
    "//denied",
    "./denied",
    "/./denied",
    "/x/../denied",
    "../denied",
    " denied",
    "denied ",
    "denied\n",
    "denied\t",
    "denied\0",
    "denied%20",
    "%64enied",
    "denied?",
    "denied?versionId=1",
    "denied#",
    "denied\\",
    "\"denied\"",
    "denied\",\"SecretId\":\"denied",
    "ｄenied",
    "denie\u{301}d",
    "denied\u{200b}",
    "*",
    "denie*",
    "",
    ".",
    "..",
    "/",
];

#[tokio::test]
async fn no_other_spelling_reaches_a_denied_name() {
    // A server that takes every spelling for the denied name, which is worse than AWS.
    let server = server(|action, _| match action {
        "GetSecretValue" => (200, json!({"Name": "denied", "SecretString": "hunter2"})),
        _ => (
            200,
            json!({"Parameter": {"Name": "denied", "Value": "hunter2"}}),
        ),
    })
    .await;
    for component_type in [MANAGER, PARAMETERS] {
        let store = store(component_type, &server, "").await;
        assert!(store.get("denied", &none()).await.unwrap().is_some());
        for trick in TRICKS {
            // The scopes, which judge the canonical name, deny it, or there is no such secret.
            if store.canonical_name(trick) != "denied" {
                let found = store.get(trick, &none()).await.unwrap();
                assert!(found.is_none(), "{component_type}: {trick:?}");
            }
        }
    }
}

#[tokio::test]
async fn what_cannot_be_a_name_is_not_asked_for() {
    let server = server(|_, _| refusal("ValidationException")).await;
    let names = [
        "",
        " ",
        "a b",
        "a:1",
        "arn:aws:x:y",
        "a\0",
        "ä",
        "a%2fb",
        "a?b",
    ];
    for component_type in [MANAGER, PARAMETERS] {
        let store = store(component_type, &server, "").await;
        for name in names {
            assert!(
                store.get(name, &none()).await.unwrap().is_none(),
                "{name:?}"
            );
        }
    }
    let below = store(PARAMETERS, &server, "/shop/").await;
    for name in ["", "/", "/x", "x/", "x//y", "x:1"] {
        assert!(
            below.get(name, &none()).await.unwrap().is_none(),
            "{name:?}"
        );
    }
    assert!(server.recorded().is_empty());
}

#[tokio::test]
async fn errors_say_what_to_do_and_nothing_of_the_answer() {
    for (component_type, action) in [
        (MANAGER, "secretsmanager:GetSecretValue"),
        (PARAMETERS, "ssm:GetParameter"),
    ] {
        let denied = format!(
            "the credentials lack the permission {action:?} for it, or \"kms:Decrypt\" for the key \
             that it is encrypted with"
        );
        for (code, expected, requests) in [
            ("AccessDeniedException", denied.as_str(), 1),
            (
                "ThrottlingException",
                "it answered 400 with ThrottlingException",
                2,
            ),
            ("hunter2", "it answered 400 with no code that is known", 1),
            (
                "com.amazonaws.x#UnrecognizedClientException",
                "the credentials are not accepted: it answered 400 with \
                 UnrecognizedClientException",
                1,
            ),
        ] {
            let server = server(move |_, _| refusal(code)).await;
            let store = store(component_type, &server, "").await;
            let error = store.get("x", &none()).await.unwrap_err();
            assert_eq!(error.to_string(), expected);
            assert_eq!(server.recorded().len(), requests, "{code}");
            assert_eq!(
                store.down_since().is_some(),
                matches!(
                    error,
                    StoreError::Unavailable { .. } | StoreError::Unauthenticated(_)
                )
            );
        }
    }
}

#[tokio::test]
async fn credentials_that_were_accepted_are_taken_anew_before_a_read_fails() {
    let requests = AtomicUsize::new(0);
    let server = server(move |_, _| match requests.fetch_add(1, Ordering::Relaxed) {
        1 => refusal("ExpiredTokenException"),
        _ => (200, json!({"Name": "x", "SecretString": "v"})),
    })
    .await;
    let store = store(MANAGER, &server, "").await;
    for _ in 0..2 {
        assert!(store.get("x", &none()).await.unwrap().is_some());
    }
    assert_eq!(server.recorded().len(), 3);
}

/// The names of a page, and where the next one begins.
fn page(names: &[String], input: &Value, size: usize) -> (Vec<String>, Option<String>) {
    let from = input["NextToken"]
        .as_str()
        .map_or(0, |text| text.parse().unwrap());
    let end = names.len().min(from + size);
    let next = (end < names.len()).then(|| end.to_string());
    (names[from..end].to_vec(), next)
}

fn texts(list: &Value) -> Vec<String> {
    let texts = list.as_array().unwrap().iter();
    texts
        .map(|text| text.as_str().unwrap().to_owned())
        .collect()
}

/// A server with secrets and parameters of these names, whose values are their names. `refuses`
/// says with which code it refuses an action on a name.
async fn account(
    names: Vec<String>,
    refuses: impl Fn(&str, &str) -> Option<&'static str> + Send + Sync + 'static,
) -> FakeApp {
    server(move |action, input| {
        if let Some(code) = refuses(action, "") {
            return refusal(code);
        }
        let parameter = |name: &String| json!({"Name": name, "Value": name});
        let body = match action {
            "ListSecrets" => {
                let (names, next) = page(&names, &input, 100);
                let names = names.iter().map(|name| json!({"Name": name}));
                json!({"SecretList": names.collect::<Vec<_>>(), "NextToken": next})
            }
            "BatchGetSecretValue" => {
                let (mut values, mut errors) = (Vec::new(), Vec::new());
                for name in texts(&input["SecretIdList"]) {
                    match refuses("GetSecretValue", &name) {
                        None => values.push(json!({"Name": name, "SecretString": name})),
                        Some(code) => errors.push(json!({"SecretId": name, "ErrorCode": code})),
                    }
                }
                json!({"SecretValues": values, "Errors": errors})
            }
            "GetSecretValue" => {
                let name = input["SecretId"].as_str().unwrap();
                if let Some(code) = refuses(action, name) {
                    return refusal(code);
                }
                json!({"Name": name, "SecretString": name})
            }
            "DescribeParameters" => {
                let (names, next) = page(&names, &input, 50);
                let names = names.iter().map(|name| json!({"Name": name}));
                json!({"Parameters": names.collect::<Vec<_>>(), "NextToken": next})
            }
            "GetParametersByPath" => {
                let (names, next) = page(&names, &input, 10);
                let found: Vec<_> = names.iter().map(parameter).collect();
                json!({"Parameters": found, "NextToken": next})
            }
            "GetParameters" => {
                let found = texts(&input["Names"]);
                json!({"Parameters": found.iter().map(parameter).collect::<Vec<_>>()})
            }
            "GetParameter" => {
                let name = input["Name"].as_str().unwrap().to_owned();
                if let Some(code) = refuses(action, &name) {
                    return refusal(code);
                }
                json!({"Parameter": parameter(&name)})
            }
            other => panic!("{other}"),
        };
        (200, body)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_secrets_come_in_bulk() {
    let names: Vec<_> = (0..10_000)
        .map(|number| format!("/shop/{number}"))
        .collect();
    let server = account(names, |_, _| None).await;
    for (component_type, prefix, requests) in [
        (MANAGER, "", 100 + 500),
        (PARAMETERS, "/shop/", 1000),
        (PARAMETERS, "", 200 + 1000),
    ] {
        let before = server.recorded().len();
        let secrets = store(component_type, &server, prefix)
            .await
            .bulk(&none())
            .await
            .unwrap();
        assert_eq!(secrets.len(), 10_000);
        for number in ["0", "77", "9999"] {
            let whole = format!("/shop/{number}");
            let name = whole.strip_prefix(prefix).unwrap();
            assert_eq!(secrets[name][name].expose(), whole);
        }
        assert_eq!(
            server.recorded().len() - before,
            requests,
            "{component_type} {prefix:?}"
        );
    }
}

fn four() -> Vec<String> {
    ["a", "b", "denied", "gone"].map(str::to_owned).to_vec()
}

/// The refusals of single names.
fn by_name(name: &str) -> Option<&'static str> {
    match name {
        "denied" => Some("AccessDeniedException"),
        "gone" => Some("ResourceNotFoundException"),
        _ => None,
    }
}

#[tokio::test]
async fn bulk_leaves_out_what_the_credentials_may_not_read() {
    let server = account(four(), |action, name| match action {
        "GetSecretValue" => by_name(name),
        _ => None,
    })
    .await;
    let secrets = store(MANAGER, &server, "")
        .await
        .bulk(&none())
        .await
        .unwrap();
    assert_eq!(secrets.keys().collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(calls(&server, "GetSecretValue"), 0);
}

#[tokio::test]
async fn reading_several_at_once_is_a_permission_of_its_own() {
    for (component_type, several) in [
        (MANAGER, "BatchGetSecretValue"),
        (PARAMETERS, "GetParameters"),
    ] {
        let server = account(four(), move |action, name| match action {
            "GetSecretValue" | "GetParameter" => by_name(name),
            _ => (action == several).then_some("AccessDeniedException"),
        })
        .await;
        let secrets = store(component_type, &server, "")
            .await
            .bulk(&none())
            .await
            .unwrap();
        assert_eq!(secrets.keys().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(calls(&server, several), 1);
    }
}

#[tokio::test]
async fn bulk_fails_where_nothing_can_be_read_or_listed() {
    for (component_type, prefix, get, list) in [
        (
            MANAGER,
            "",
            "secretsmanager:GetSecretValue",
            "secretsmanager:ListSecrets",
        ),
        (PARAMETERS, "", "ssm:GetParameter", "ssm:DescribeParameters"),
        (PARAMETERS, "/", "", "ssm:GetParametersByPath"),
    ] {
        let denied = Some("AccessDeniedException");
        let is_list = |action: &str| {
            ["ListSecrets", "DescribeParameters", "GetParametersByPath"].contains(&action)
        };
        if !get.is_empty() {
            let reads = account(four(), move |action, _| {
                (!is_list(action)).then_some(denied?)
            });
            let error = store(component_type, &reads.await, prefix)
                .await
                .bulk(&none())
                .await;
            assert_eq!(
                error.unwrap_err().to_string(),
                format!(
                    "the credentials lack the permission {get:?} for it, or \"kms:Decrypt\" for \
                     the key that it is encrypted with"
                )
            );
        }
        let lists = account(four(), move |action, _| is_list(action).then_some(denied?)).await;
        let error = store(component_type, &lists, prefix)
            .await
            .bulk(&none())
            .await
            .unwrap_err();
        assert!(matches!(error, StoreError::ListForbidden(_)), "{error:?}");
        assert_eq!(
            error.to_string(),
            format!(
                "the credentials lack the permission {list:?}, without which there is no bulk read"
            )
        );
    }
}
