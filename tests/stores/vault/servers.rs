//! Servers that speak TLS, that are sealed, and that come and go.

use std::net::SocketAddr;
use std::process::Command;

use serde_json::{Value, json};
use sidegate::components::secret_store::StoreError;
use sidegate::testing::certificates::Authority;
use sidegate::testing::contract;
use sidegate::testing::eventually::eventually;
use sidegate::testing::ports::free_address;
use tempfile::TempDir;

use super::{Admin, read, store};
use crate::servers::{Server, program};

/// A server that keeps its secrets in its folder. It speaks TLS at its own address and plain HTTP
/// at another one, at which it is administered.
struct Kept {
    server: Server,
    admin: Admin,
    ports: Ports,
    unseal_key: String,
}

/// The addresses of a server beside its own.
#[derive(Clone, Copy)]
struct Ports {
    plain: SocketAddr,
    /// Each listener has one for other servers, though there are none.
    cluster: [SocketAddr; 2],
}

fn command(ports: Ports) -> impl FnOnce(SocketAddr, &TempDir) -> Command {
    move |tls, folder| {
        let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        let config = json!({
            "api_addr": format!("https://{tls}"),
            "cluster_addr": format!("https://{}", ports.cluster[0]),
            "storage": {"raft": {"path": path("data"), "node_id": "one",
                "performance_multiplier": "1"}},
            "listener": [
                {"tcp": {"address": ports.plain.to_string(), "tls_disable": true,
                    "cluster_address": ports.cluster[0].to_string()}},
                {"tcp": {"address": tls.to_string(), "tls_cert_file": path("tls.crt"),
                    "tls_key_file": path("tls.key"),
                    "cluster_address": ports.cluster[1].to_string()}},
            ],
        });
        std::fs::create_dir_all(path("data")).unwrap();
        std::fs::write(path("config.json"), config.to_string()).unwrap();
        let mut command = Command::new(program("bao"));
        command
            .args(["server", "-config", &path("config.json")])
            .env("HOME", folder.path());
        command
    }
}

impl Kept {
    async fn start(authority: &Authority) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let issued = authority.issue(&["vault.example", "127.0.0.1"]);
        std::fs::write(folder.path().join("tls.crt"), &issued.certificate).unwrap();
        std::fs::write(folder.path().join("tls.key"), &issued.key).unwrap();
        let ports = Ports {
            plain: free_address(),
            cluster: [free_address(), free_address()],
        };
        let server = Server::start_at(free_address(), folder, command(ports)).await;
        let nobody = Admin::at(ports.plain, "");
        let init = json!({"secret_shares": 1, "secret_threshold": 1});
        let init = nobody.post("sys/init", init).await;
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let admin = Admin::at(ports.plain, &text(&init["root_token"]));
        let kept = Self {
            server,
            admin,
            ports,
            unseal_key: text(&init["keys_base64"][0]),
        };
        kept.unseal().await;
        let mount = json!({"type": "kv", "options": {"version": "2"}});
        kept.admin.post("sys/mounts/secret", mount).await;
        kept
    }

    async fn unseal(&self) {
        self.admin
            .post("sys/unseal", json!({"key": self.unseal_key}))
            .await;
        eventually("it is active", async || {
            let health = self
                .admin
                .get("sys/health?standbycode=200&sealedcode=200")
                .await;
            (health["standby"] == false && health["sealed"] == false).then_some(())
        })
        .await;
    }

    fn token(&self) -> &str {
        self.admin.own_token()
    }

    fn url(&self) -> String {
        format!("https://{}", self.server.address)
    }
}

#[tokio::test]
async fn speaks_tls_with_the_certificates_that_are_named() {
    let authority = Authority::new();
    let kept = Kept::start(&authority).await;
    super::write(&kept.admin, "db", "v").await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    std::fs::write(&file, authority.certificate()).unwrap();
    let (file, folder) = (file.to_str().unwrap(), folder.path().to_str().unwrap());
    let pem = authority.certificate();
    let other = Authority::new().certificate();
    let url = kept.url();
    let make = async |more: &[(&str, &str)]| {
        let mut properties = vec![("vaultToken", kept.token())];
        if !more.iter().any(|(name, _)| *name == "vaultAddr") {
            properties.push(("vaultAddr", &url));
        }
        properties.extend(more);
        store(&properties).await
    };
    let good: [&[(&str, &str)]; 7] = [
        &[("caPem", &pem), ("caPath", folder), ("caCert", file)],
        &[("caPath", folder)],
        &[("caPath", file)],
        &[("caCert", file)],
        &[("caCert", file), ("tlsServerName", "vault.example")],
        &[("skipVerify", "yes")],
        &[
            ("skipVerify", "true"),
            ("caPem", &other),
            ("tlsServerName", "other.example"),
        ],
    ];
    for more in good {
        contract::holds(&*make(more).await, &[("db", &[("k", "v")])]).await;
    }
    let plain_port = format!("https://{}", kept.ports.plain);
    let tls_port = format!("http://{}", kept.server.address);
    let bad: [(&[(&str, &str)], &str); 5] = [
        (
            &[("caPem", &other), ("caCert", file)],
            "signed the server's",
        ),
        (&[], "signed the server's"),
        (
            &[("caPem", &pem), ("tlsServerName", "other.example")],
            "\"tlsServerName\"",
        ),
        (&[("vaultAddr", &plain_port)], "it may speak no TLS"),
        (
            &[("vaultAddr", &tls_port)],
            "begin \"vaultAddr\" with \"https://\"",
        ),
    ];
    for (more, expected) in bad {
        let store = make(&[more, &[("maxRetries", "0")]].concat()).await;
        let error = read(&*store, "db").await.unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[tokio::test]
async fn a_server_that_went_away_or_is_sealed_is_read_again_when_it_is_back() {
    let authority = Authority::new();
    let mut kept = Kept::start(&authority).await;
    super::write(&kept.admin, "db", "v").await;
    let ca = authority.certificate();
    let url = kept.url();
    let token = kept.token().to_owned();
    let properties = [
        ("vaultAddr", &*url),
        ("vaultToken", &token),
        ("caPem", &ca),
        ("requestTimeout", "1s"),
        ("maxRetries", "1"),
    ];
    let store = store(&properties).await;
    assert!(read(&*store, "db").await.unwrap().is_some());
    let address = kept.server.address;
    let folder = kept.server.stop();
    let error = read(&*store, "db").await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
    assert!(store.down_since().is_some());
    kept.server = Server::start_at(address, folder, command(kept.ports)).await;
    let error = read(&*store, "db").await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the server is sealed; it answers when it is unsealed"
    );
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
    kept.unseal().await;
    assert_eq!(read(&*store, "db").await.unwrap().as_deref(), Some("k=v"));
    assert_eq!(store.down_since(), None);
}
