//! Secrets Manager and Parameter Store, against a server that speaks AWS's APIs.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use serde_json::{Value, json};
use sidegate::base::environment::Environment;
use sidegate::components::catalog::{Host, build};
use sidegate::components::secret_store::{RequestMetadata, SecretStore};
use sidegate::process::kubernetes::Access;
use sidegate::testing::contract::{self, component};
use sidegate::testing::fake_app::FakeApp;
use sidegate::testing::faulty_road::FaultyRoad;
use sidegate::testing::http_client::send;
use sidegate::testing::quickstart;

use crate::quickstarts::programs;
use crate::servers::{self, Server};

const MANAGER: &str = "secretstores.aws.secretmanager";
const PARAMETERS: &str = "secretstores.aws.parameterstore";

async fn store(
    component_type: &str,
    endpoint: &str,
    more: &[(&str, &str)],
) -> Arc<dyn SecretStore> {
    let own = [
        ("region", "eu-west-1"),
        ("accessKey", "AKIAEXAMPLE"),
        ("secretKey", "key"),
        ("endpoint", endpoint),
    ];
    let properties: Vec<_> = own.iter().chain(more).copied().collect();
    let host = Host {
        environment: &Environment::default(),
        cluster: &Access::InCluster,
        app_id: "app",
    };
    let built = build(&component(component_type, &properties), host).await;
    Arc::clone(built.unwrap().secret_store().unwrap())
}

/// One call of an API, as the server wants it: it looks at no signature.
async fn call(server: SocketAddr, action: &str, body: Value) -> Value {
    let service = match action.split_once('.').unwrap().0 {
        "AmazonSSM" => "ssm",
        _ => "secretsmanager",
    };
    let scope = format!("AKIAEXAMPLE/20260101/eu-west-1/{service}/aws4_request");
    let request = Request::post("/")
        .header("x-amz-target", action)
        .header("content-type", "application/x-amz-json-1.1")
        .header(
            "authorization",
            format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0"),
        )
        .body(Full::new(Bytes::from(body.to_string())))
        .unwrap();
    let answer = send(server, request).await;
    let text = String::from_utf8_lossy(answer.body());
    assert_eq!(answer.status(), StatusCode::OK, "{action}: {text}");
    serde_json::from_str(&text).unwrap_or_default()
}

async fn create(server: &Server, name: &str, value: &str) {
    let body = json!({"Name": name, "SecretString": value, "ClientRequestToken": "1".repeat(36)});
    call(server.address, "secretsmanager.CreateSecret", body).await;
}

async fn put(server: &Server, name: &str, value: &str) {
    let body = json!({"Name": name, "Value": value, "Type": "SecureString", "Overwrite": true});
    call(server.address, "AmazonSSM.PutParameter", body).await;
}

async fn one(store: &dyn SecretStore, name: &str, metadata: &[(&str, &str)]) -> Option<String> {
    let metadata = metadata.iter();
    let metadata: RequestMetadata = metadata
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect();
    let secret = store.get(name, &metadata).await.unwrap()?;
    assert_eq!(secret.keys().collect::<Vec<_>>(), [name]);
    Some(secret[name].expose().to_owned())
}

#[tokio::test]
async fn secrets_manager_meets_the_contract() {
    let server = servers::aws().await;
    create(&server, "plain", "p").await;
    create(&server, "/prod/db.password", "ä \"x\"\n").await;
    create(
        &server,
        "object",
        r#"{"b": [1, "x y"], "a": "t", "n": 1.50}"#,
    )
    .await;
    let body = json!({"Name": "bytes", "SecretBinary": "/wD/"});
    call(server.address, "secretsmanager.CreateSecret", body).await;
    let body = json!({"Name": "gone", "SecretString": "g"});
    call(server.address, "secretsmanager.CreateSecret", body).await;
    let body = json!({"SecretId": "gone"});
    call(server.address, "secretsmanager.DeleteSecret", body).await;

    let single = store(MANAGER, &server.url(), &[]).await;
    let expected: &[(&str, &[(&str, &str)])] = &[
        ("plain", &[("plain", "p")]),
        ("/prod/db.password", &[("/prod/db.password", "ä \"x\"\n")]),
        (
            "object",
            &[("object", r#"{"b": [1, "x y"], "a": "t", "n": 1.50}"#)],
        ),
        ("bytes", &[("bytes", "/wD/")]),
    ];
    contract::holds(single.as_ref(), expected).await;
    assert_eq!(one(single.as_ref(), "gone", &[]).await, None);

    let several = store(
        MANAGER,
        &server.url(),
        &[("multipleKeyValuesPerSecret", "true")],
    )
    .await;
    assert!(several.has_multiple_keys() && !single.has_multiple_keys());
    let members: &[(&str, &[(&str, &str)])] = &[
        expected[0],
        expected[1],
        (
            "object",
            &[("a", "t"), ("b", r#"[1,"x y"]"#), ("n", "1.50")],
        ),
        expected[3],
    ];
    contract::holds(several.as_ref(), members).await;
}

#[tokio::test]
async fn parameter_store_meets_the_contract() {
    let server = servers::aws().await;
    for (name, value) in [
        ("plain", "p"),
        ("/shop/db", "d"),
        ("/shop/a/b", "ab"),
        ("/other", "o"),
    ] {
        put(&server, name, value).await;
    }
    let expected: &[(&str, &[(&str, &str)])] = &[
        ("plain", &[("plain", "p")]),
        ("/shop/db", &[("/shop/db", "d")]),
        ("/shop/a/b", &[("/shop/a/b", "ab")]),
        ("/other", &[("/other", "o")]),
    ];
    contract::holds(
        store(PARAMETERS, &server.url(), &[]).await.as_ref(),
        expected,
    )
    .await;
    let path = store(PARAMETERS, &server.url(), &[("prefix", "/shop/")]).await;
    contract::holds(
        path.as_ref(),
        &[("db", &[("db", "d")]), ("a/b", &[("a/b", "ab")])],
    )
    .await;
    let part = store(PARAMETERS, &server.url(), &[("prefix", "/shop/d")]).await;
    contract::holds(part.as_ref(), &[("b", &[("b", "d")])]).await;
}

#[tokio::test]
async fn secrets_manager_survives_faults() {
    let server = servers::aws().await;
    create(&server, "plain", "p").await;
    let road = FaultyRoad::to(server.address).await;
    let url = road.url();
    let make = |more: &'static [_]| store(MANAGER, &url, more);
    contract::survives(&road, make, ("plain", &[("plain", "p")])).await;
}

#[tokio::test]
async fn parameter_store_survives_faults() {
    let server = servers::aws().await;
    put(&server, "/shop/plain", "p").await;
    let road = FaultyRoad::to(server.address).await;
    let url = road.url();
    for prefix in ["/shop/", "/shop"] {
        let make = async |more: &'static [(&'static str, &'static str)]| {
            let settings: Vec<_> = more.iter().copied().chain([("prefix", prefix)]).collect();
            store(PARAMETERS, &url, &settings).await
        };
        let name = if prefix.ends_with('/') {
            "plain"
        } else {
            "/plain"
        };
        contract::survives(&road, make, (name, &[(name, "p")])).await;
    }
}

#[tokio::test]
async fn versions_and_stages_are_read() {
    let server = servers::aws().await;
    create(&server, "s", "one").await;
    let body = json!({"SecretId": "s", "SecretString": "two"});
    let second = call(server.address, "secretsmanager.PutSecretValue", body).await;
    let manager = store(MANAGER, &server.url(), &[]).await;
    let manager = manager.as_ref();
    let second = second["VersionId"].as_str().unwrap();
    let first = "1".repeat(36);
    for (metadata, expected) in [
        (&[][..], Some("two")),
        (&[("version_id", first.as_str())], Some("one")),
        (&[("version_id", second)], Some("two")),
        (&[("version_stage", "AWSPREVIOUS")], Some("one")),
        (
            &[("version_stage", "AWSCURRENT"), ("version_id", second)],
            Some("two"),
        ),
        (&[("version_id", "")], Some("two")),
        (
            &[("version_id", "00000000-0000-0000-0000-000000000000")],
            None,
        ),
    ] {
        let found = one(manager, "s", metadata).await;
        assert_eq!(found.as_deref(), expected, "{metadata:?}");
    }
    put(&server, "/p", "one").await;
    put(&server, "/p", "two").await;
    let parameters = store(PARAMETERS, &server.url(), &[]).await;
    let parameters = parameters.as_ref();
    for (version, expected) in [("1", Some("one")), ("2", Some("two")), ("7", None)] {
        let found = one(parameters, "/p", &[("version_id", version)]).await;
        assert_eq!(found.as_deref(), expected, "{version}");
    }
    for wrong in ["1:2", "a b", "../x", "\u{0}"] {
        let metadata = [("version_id".to_owned(), wrong.to_owned())].into();
        let error = parameters.get("/p", &metadata).await.unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("the parameter \"version_id\" is not")
        );
    }
}

/// A real sidecar with a store of Secrets Manager and this environment.
async fn sidecar(metadata: &[(&str, &str)], environment: &[(&str, &str)]) -> Server {
    let entries = metadata
        .iter()
        .map(|(name, value)| json!({"name": name, "value": value}));
    let component = json!({
        "apiVersion": "dapr.io/v1alpha1",
        "kind": "Component",
        "metadata": {"name": "store"},
        "spec": {"type": MANAGER, "version": "v1", "metadata": entries.collect::<Vec<_>>()},
    });
    Server::start(|address, folder| {
        let resources = folder.path().join("resources");
        std::fs::create_dir(&resources).unwrap();
        std::fs::write(resources.join("store.yaml"), component.to_string()).unwrap();
        let mut command = Command::new(std::env::var_os("SIDEGATE").unwrap());
        command
            .args([
                "sidecar",
                "--app-id",
                "app",
                "--dapr-grpc-port",
                "0",
                "--metrics-port",
                "0",
            ])
            .args([
                "--dapr-http-port",
                &address.port().to_string(),
                "--resources-path",
            ])
            .arg(resources)
            .env_clear()
            .env("HOME", folder.path())
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .envs(environment.iter().copied());
        command
    })
    .await
}

async fn ask(sidecar: &Server, name: &str) -> (StatusCode, String) {
    let request = Request::get(format!("/v1.0/secrets/store/{name}"));
    let answer = send(sidecar.address, request.body(Full::default()).unwrap()).await;
    let text = String::from_utf8_lossy(answer.body()).into_owned();
    (answer.status(), text)
}

#[tokio::test]
async fn a_pod_with_a_web_identity_needs_no_keys() {
    let server = servers::aws().await;
    create(&server, "plain", "p").await;
    let token = server.folder().path().join("token");
    let url = server.url();
    let environment = [
        ("AWS_REGION", "eu-west-1"),
        ("AWS_ENDPOINT_URL", url.as_str()),
        ("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/reader"),
        ("AWS_WEB_IDENTITY_TOKEN_FILE", token.to_str().unwrap()),
    ];
    let sidecar = sidecar(&[], &environment).await;
    // The kubelet may write the token late.
    assert_eq!(
        ask(&sidecar, "plain").await.0,
        StatusCode::INTERNAL_SERVER_ERROR
    );
    std::fs::write(&token, "header.payload.signature").unwrap();
    let found = (StatusCode::OK, r#"{"plain":"p"}"#.to_owned());
    assert_eq!(ask(&sidecar, "plain").await, found);
    let log = std::fs::read_to_string(sidecar.folder().path().join("log")).unwrap();
    assert!(
        log.contains("there are no AWS credentials: No such file"),
        "{log}"
    );
}

#[tokio::test]
async fn a_role_is_assumed_with_the_credentials_of_the_sidecar() {
    let server = servers::aws().await;
    let url = server.url();
    let (manager, endpoint) = fake_manager().await;
    let environment = [
        ("AWS_ENDPOINT_URL", url.as_str()),
        ("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE"),
        ("AWS_SECRET_ACCESS_KEY", "key"),
    ];
    let metadata = [
        ("region", "eu-west-1"),
        ("endpoint", endpoint.as_str()),
        ("assumeRoleArn", "arn:aws:iam::123456789012:role/reader"),
    ];
    let sidecar = sidecar(&metadata, &environment).await;
    for _ in 0..2 {
        assert_eq!(ask(&sidecar, "s").await.0, StatusCode::OK);
    }
    // Keys of sessions begin so.
    for request in manager.recorded() {
        assert!(request.header("authorization")[0].contains("Credential=ASIA"));
        assert_eq!(request.header("x-amz-security-token").len(), 1);
    }
    let log = std::fs::read_to_string(server.folder().path().join("log")).unwrap();
    assert_eq!(log.matches("POST / ").count(), 1, "{log}");
}

#[tokio::test]
async fn an_instance_gives_credentials_and_region() {
    let instance = FakeApp::answering(|request| {
        let role = "/latest/meta-data/iam/security-credentials/";
        let body = match request.uri.path() {
            "/latest/api/token" => "session".to_owned(),
            _ if request.header("x-aws-ec2-metadata-token") != ["session"] => "?".to_owned(),
            "/latest/meta-data/placement/region" => "eu-west-3".to_owned(),
            path if path == role => "reader".to_owned(),
            _ => json!({
                "Code": "Success",
                "AccessKeyId": "AKIAINSTANCE",
                "SecretAccessKey": "key",
                "Token": "token",
                "Expiration": timestamp(SystemTime::now() + Duration::from_secs(3600)),
            })
            .to_string(),
        };
        let answer = Response::builder().header("x-aws-ec2-metadata-token-ttl-seconds", "60");
        answer.body(Full::new(Bytes::from(body))).unwrap()
    })
    .await;
    let (manager, endpoint) = fake_manager().await;
    let metadata = format!("http://{}", instance.address());
    let environment = [
        ("AWS_EC2_METADATA_DISABLED", "false"),
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT", metadata.as_str()),
    ];
    let sidecar = sidecar(&[("endpoint", &endpoint)], &environment).await;
    assert_eq!(ask(&sidecar, "s").await.0, StatusCode::OK);
    let signed = manager.recorded();
    let signer = signed[0].header("authorization")[0];
    assert!(signer.contains("Credential=AKIAINSTANCE/"), "{signer}");
    assert!(signer.contains("/eu-west-3/"), "{signer}");
}

#[tokio::test]
async fn a_sidecar_without_credentials_says_so() {
    // Nobody answers there, as at the address of the metadata of an instance where there is none.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = format!("http://{}", listener.local_addr().unwrap());
    for environment in [
        &[][..],
        &[
            ("AWS_EC2_METADATA_DISABLED", "false"),
            ("AWS_EC2_METADATA_SERVICE_ENDPOINT", &silent),
        ],
    ] {
        let sidecar = sidecar(&[("region", "eu-west-1")], environment).await;
        assert_eq!(
            ask(&sidecar, "s").await.0,
            StatusCode::INTERNAL_SERVER_ERROR
        );
        let log = std::fs::read_to_string(sidecar.folder().path().join("log")).unwrap();
        assert!(log.contains("no AWS credentials were found"), "{log}");
        assert!(!log.contains("aws_config"), "{log}");
    }
}

/// A server that has every secret, and its URL.
async fn fake_manager() -> (FakeApp, String) {
    let manager = FakeApp::answering(|_| {
        let body = json!({"Name": "s", "SecretString": "v"}).to_string();
        Response::new(Full::new(Bytes::from(body)))
    })
    .await;
    let url = format!("http://{}", manager.address());
    (manager, url)
}

#[tokio::test]
async fn the_page_does_what_it_says() {
    let server = servers::aws().await;
    let url = server.url();
    let variables = [
        ("AWS_ENDPOINT_URL", url.as_str()),
        ("AWS_REGION", "eu-west-1"),
        ("AWS_DEFAULT_REGION", "eu-west-1"),
        ("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE"),
        ("AWS_SECRET_ACCESS_KEY", "key"),
    ];
    quickstart::run("docs/secrets/aws.md", &programs(), &variables).await;
}

#[tokio::test]
async fn credentials_that_expire_are_renewed() {
    let (manager, endpoint) = fake_manager().await;
    let given = std::sync::atomic::AtomicUsize::new(0);
    // The first ones end within the time in which the SDK takes new ones.
    let container = FakeApp::answering(move |_| {
        let number = given.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let left = Duration::from_secs(if number == 0 { 5 } else { 3600 });
        let body = json!({
            "AccessKeyId": format!("AKIANUMBER{number}"),
            "SecretAccessKey": "key",
            "Token": "token",
            "Expiration": timestamp(SystemTime::now() + left),
        });
        Response::new(Full::new(Bytes::from(body.to_string())))
    })
    .await;
    let credentials = format!("http://{}/credentials", container.address());
    let sidecar = sidecar(
        &[("region", "eu-west-1"), ("endpoint", &endpoint)],
        &[("AWS_CONTAINER_CREDENTIALS_FULL_URI", &credentials)],
    )
    .await;
    for _ in 0..3 {
        assert_eq!(ask(&sidecar, "s").await.0, StatusCode::OK);
    }
    assert_eq!(container.recorded().len(), 2);
    let signed = manager.recorded();
    let signers = ["AKIANUMBER0", "AKIANUMBER1", "AKIANUMBER1"];
    for (request, signer) in signed.iter().zip(signers) {
        assert!(request.header("authorization")[0].contains(signer));
    }
}

/// RFC 3339, as the API of containers has it.
fn timestamp(time: SystemTime) -> String {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let seconds = i64::try_from(since.as_secs()).unwrap();
    let time = aws_smithy_types::DateTime::from_secs(seconds);
    time.fmt(aws_smithy_types::date_time::Format::DateTime)
        .unwrap()
}
