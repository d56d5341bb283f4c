//! Secret Manager as pods and developers reach it: the program itself with the environment that
//! names its credentials, against a server of the test.

use std::path::PathBuf;

use serde_json::{Value, json};
use sidegate::testing::connect_proxy::ConnectProxy;
use sidegate::testing::fake_secret_manager::FakeSecretManager;
use sidegate::testing::faulty_road::{Fault, FaultyRoad};
use sidegate::testing::quickstart;
use tempfile::TempDir;
use tokio::process::Command;

use crate::quickstarts::programs;

/// Stands in for gcloud where there is none, as far as the page calls it.
const GCLOUD: &str = r#"#!/bin/sh -e
[ "$1 $2" = "secrets create" ]
api="${CLOUDSDK_API_ENDPOINT_OVERRIDES_SECRETMANAGER}v1/projects/$CLOUDSDK_CORE_PROJECT/secrets"
token=$(cat "$CLOUDSDK_AUTH_ACCESS_TOKEN_FILE")
data=$(base64)
curl -sSf -o created -H "Authorization: Bearer $token" -d '{}' "$api?secretId=$3"
curl -sSf -o added -H "Authorization: Bearer $token" -d "{\"payload\": {\"data\": \"$data\"}}" \
    "$api/$3:addVersion"
"#;

/// A component of the public service, which is reached through `proxy`.
struct Sidecar {
    folder: TempDir,
    proxy: ConnectProxy,
}

impl Sidecar {
    async fn new(server: &FakeSecretManager, more: &[(&str, &str)]) -> Self {
        let properties = [("project_id", "shop")];
        let properties = properties.iter().chain(more);
        let metadata = properties.map(|(name, value)| json!({"name": name, "value": value}));
        let component = json!({
            "apiVersion": "dapr.io/v1alpha1",
            "kind": "Component",
            "metadata": {"name": "gcp"},
            "spec": {
                "type": "secretstores.gcp.secretmanager",
                "version": "v1",
                "metadata": metadata.collect::<Vec<_>>(),
            },
        });
        let folder = tempfile::tempdir().unwrap();
        let resources = folder.path().join("resources");
        std::fs::create_dir(&resources).unwrap();
        std::fs::write(resources.join("gcp.yaml"), component.to_string()).unwrap();
        Self {
            folder,
            proxy: ConnectProxy::to(server.address()).await,
        }
    }

    /// Writes a file of credentials and hands back its path.
    fn file(&self, name: &str, content: &Value) -> String {
        let path = self.folder.path().join(name);
        std::fs::write(&path, content.to_string()).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// All that the program prints when its app reads a path below the store.
    async fn reads(&self, path: &str, variables: &[(&str, &str)]) -> String {
        let script = format!(
            "curl -sS -w '\\n' -H \"dapr-api-token: $DAPR_API_TOKEN\" \
             http://localhost:$DAPR_HTTP_PORT/v1.0/secrets/gcp/{path}"
        );
        let program = std::env::var_os("SIDEGATE").expect("run with tests/stores.sh");
        let output = Command::new(program)
            .args(["run", "--app-id", "shop", "--resources-path", "resources"])
            .args(["--", "sh", "-c", &script])
            .current_dir(self.folder.path())
            .env("HOME", self.folder.path())
            .env("HTTPS_PROXY", self.proxy.url())
            .env("SSL_CERT_FILE", self.proxy.ca_file().as_ref())
            .env_remove("GOOGLE_APPLICATION_CREDENTIALS")
            .envs(variables.iter().copied())
            .kill_on_drop(true)
            .output()
            .await
            .unwrap();
        let text = [output.stdout, output.stderr].concat();
        String::from_utf8(text).unwrap()
    }
}

fn has_line(printed: &str, line: &str) {
    assert!(
        printed.lines().any(|printed| printed == line),
        "{line}:\n{printed}"
    );
}

async fn server() -> FakeSecretManager {
    FakeSecretManager::start(&[("database", "hunter2"), ("mail", "m")]).await
}

#[tokio::test]
async fn a_pod_reads_as_its_service_account() {
    let server = server().await;
    let host = server.address().to_string();
    let variables = [("GCE_METADATA_HOST", host.as_str())];
    let sidecar = Sidecar::new(&server, &[]).await;
    let printed = sidecar.reads("database", &variables).await;
    has_line(&printed, "app     | {\"database\":\"hunter2\"}");
    let all = "app     | {\"database\":{\"database\":\"hunter2\"},\"mail\":{\"mail\":\"m\"}}";
    has_line(&sidecar.reads("bulk", &variables).await, all);
    let regional = Sidecar::new(&server, &[("location", "europe-west3")]).await;
    let printed = regional.reads("database", &variables).await;
    has_line(&printed, "app     | {\"database\":\"hunter2\"}");
    let asked = server.recorded();
    let last = asked.last().unwrap();
    assert_eq!(
        last.header("host"),
        ["secretmanager.europe-west3.rep.googleapis.com"]
    );
    let path = "/v1/projects/shop/locations/europe-west3/secrets/database/versions/latest:access";
    assert_eq!(last.uri.path(), path);
}

#[tokio::test]
async fn a_workload_elsewhere_exchanges_its_token() {
    let server = server().await;
    let sidecar = Sidecar::new(&server, &[]).await;
    let subject = sidecar.folder.path().join("subject");
    std::fs::write(&subject, "subject-of-a-test").unwrap();
    let file = sidecar.file(
        "federation.json",
        &json!({
            "type": "external_account",
            "audience": "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/\
                         pool/providers/cluster",
            "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
            "token_url": format!("{}/token", server.url()),
            "credential_source": {"file": subject},
        }),
    );
    let variables = [("GOOGLE_APPLICATION_CREDENTIALS", file.as_str())];
    let printed = sidecar.reads("database", &variables).await;
    has_line(&printed, "app     | {\"database\":\"hunter2\"}");
}

#[tokio::test]
async fn a_developer_reads_with_the_login_of_gcloud_and_its_quota() {
    let server = server().await;
    let sidecar = Sidecar::new(&server, &[]).await;
    let login = json!({
        "type": "authorized_user",
        "client_id": "client",
        "client_secret": "of-the-client",
        "refresh_token": "refresh-of-a-test",
        "token_uri": format!("{}/token", server.url()),
        "quota_project_id": "payer",
    });
    std::fs::create_dir_all(sidecar.folder.path().join(".config/gcloud")).unwrap();
    sidecar.file(
        ".config/gcloud/application_default_credentials.json",
        &login,
    );
    let printed = sidecar.reads("database", &[]).await;
    has_line(&printed, "app     | {\"database\":\"hunter2\"}");
    let asked = server.recorded();
    assert_eq!(
        asked.last().unwrap().header("x-goog-user-project"),
        ["payer"]
    );
}

#[tokio::test]
async fn credentials_that_cannot_be_had_are_named_and_never_shown() {
    let server = server().await;
    let sidecar = Sidecar::new(&server, &[("requestTimeout", "1s")]).await;
    let broken = sidecar.file(
        "broken.json",
        &json!({"type": "service_account", "x": "hunter2"}),
    );
    let other = sidecar.file("other.json", &json!({"type": "hunter2"}));
    let road = FaultyRoad::to(server.address()).await;
    road.always(Fault::Hang);
    let hanging = road.address().to_string();
    for (variable, value, reason) in [
        (
            "GOOGLE_APPLICATION_CREDENTIALS",
            "/no/such/file",
            "no application default credentials: the file that GOOGLE_APPLICATION_CREDENTIALS or \
             gcloud names cannot be read",
        ),
        (
            "GOOGLE_APPLICATION_CREDENTIALS",
            &broken,
            "no application default credentials: the file with them is not understood",
        ),
        (
            "GOOGLE_APPLICATION_CREDENTIALS",
            &other,
            "no application default credentials: the file with them has a \\\"type\\\" that \
             cannot be used",
        ),
        (
            "GCE_METADATA_HOST",
            &hanging,
            "no access token came within 750ms",
        ),
        (
            "GCE_METADATA_HOST",
            "127.0.0.1:1",
            "no access token: Connection refused (os error 111)",
        ),
    ] {
        let printed = sidecar.reads("database", &[(variable, value)]).await;
        assert!(printed.contains("ERR_SECRET_GET"), "{value}:\n{printed}");
        assert!(printed.contains(reason), "{value}:\n{printed}");
        assert!(!printed.contains("hunter2"), "{value}:\n{printed}");
    }
}

/// With gcloud itself where it is installed, which so looks at the server of the test too.
#[tokio::test]
async fn the_page_does_what_it_says() {
    let server = FakeSecretManager::start(&[]).await;
    server.state().tokens.insert("token-of-gcloud".to_owned());
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, "token-of-gcloud").unwrap();
    let mut programs = programs();
    if Command::new("gcloud")
        .arg("version")
        .output()
        .await
        .is_err()
    {
        programs.push(stand_in(&folder));
    }
    let proxy = ConnectProxy::to(server.address()).await;
    let (host, url) = (server.address().to_string(), format!("{}/", server.url()));
    let ca_file = proxy.ca_file();
    let variables = [
        (
            "CLOUDSDK_API_ENDPOINT_OVERRIDES_SECRETMANAGER",
            url.as_str(),
        ),
        ("CLOUDSDK_AUTH_ACCESS_TOKEN_FILE", token.to_str().unwrap()),
        ("GCE_METADATA_HOST", &host),
        ("HTTPS_PROXY", &proxy.url()),
        ("SSL_CERT_FILE", ca_file.as_ref().to_str().unwrap()),
    ];
    quickstart::run("docs/secrets/gcp.md", &programs, &variables).await;
}

fn stand_in(folder: &TempDir) -> PathBuf {
    use std::os::unix::fs::PermissionsExt as _;
    let path = folder.path().join("gcloud");
    std::fs::write(&path, GCLOUD).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    folder.path().to_owned()
}
