//! Certificates that change under a running TLS server.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use sidegate::process::listener::{ListenAddr, Listener};
use sidegate::process::metrics::Metrics;
use sidegate::process::serve::{Limits, serve};
use sidegate::testing::certificates::{Authority, Issued};
use sidegate::testing::eventually::eventually;
use sidegate::testing::http_client;
use sidegate::testing::mounted_secret::MountedSecret;
use sidegate::tls::handshake::TlsHandshake;
use sidegate::tls::identity::IdentityFiles;
use sidegate::tls::reload::follow;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

fn secret(issued: &Issued) -> [(&str, &str); 2] {
    [
        ("tls.crt", issued.certificate.as_str()),
        ("tls.key", issued.key.as_str()),
    ]
}

fn limits() -> Limits {
    Limits {
        header_bytes: 8192,
        header_timeout: Duration::from_secs(60),
        handshake_timeout: Duration::from_secs(60),
        connections: 16,
        streams: 16,
        drain: Duration::from_secs(60),
    }
}

/// A TLS server that says hello and follows the files of `mount`.
async fn start(mount: &MountedSecret, tasks: &mut JoinSet<()>) -> SocketAddr {
    let files = IdentityFiles {
        certificate: mount.file("tls.crt"),
        key: mount.file("tls.key"),
        client_ca: None,
        client_names: Vec::new(),
    };
    let (identity, follower) = follow(files).unwrap();
    let listener = Listener::bind_tcp(([127, 0, 0, 1], 0).into())
        .await
        .unwrap();
    let &ListenAddr::Tcp(address) = listener.address() else {
        unreachable!("bound to TCP")
    };
    let hello = hyper::service::service_fn(|_| async {
        Ok(Response::new(Full::new(Bytes::from_static(b"hello"))))
    });
    let shutdown = CancellationToken::new();
    let handshake = TlsHandshake::new(identity);
    let server = serve(listener, handshake, hello, limits(), shutdown.clone());
    tasks.spawn(async { server.await.unwrap() });
    tasks.spawn(async { follower.run(shutdown).await.unwrap() });
    address
}

/// Whether a client that trusts `authority` only gets an answer.
async fn trusts(authority: &Authority, address: SocketAddr) -> bool {
    let mut client = Arc::unwrap_or_clone(authority.client());
    client.alpn_protocols = vec![b"http/1.1".to_vec()];
    let connector = tokio_rustls::TlsConnector::from(Arc::new(client));
    let stream = TcpStream::connect(address).await.unwrap();
    let name = "localhost".try_into().unwrap();
    match connector.connect(name, stream).await {
        Ok(stream) => {
            let answer = http_client::send_on(stream, Request::default()).await;
            answer.body().as_ref() == b"hello"
        }
        Err(_) => false,
    }
}

/// How many reloads failed in this process.
fn failures(metrics: &Metrics) -> u64 {
    let text = crate::counted(metrics);
    text.lines()
        .find_map(|line| line.strip_prefix("sidegate_certificate_reload_failures_total "))
        .map_or(0, |count| count.parse().unwrap())
}

#[tokio::test]
async fn serves_each_new_certificate_when_the_mounted_secret_is_swapped() {
    let [first, second, third] = std::array::from_fn(|_| Authority::new());
    let mut mount = MountedSecret::new(&secret(&first.issue(&["localhost"])));
    let mut tasks = JoinSet::new();
    let address = start(&mount, &mut tasks).await;
    assert!(trusts(&first, address).await);
    assert!(!trusts(&second, address).await);
    for next in [&second, &third] {
        mount.swap(&secret(&next.issue(&["localhost"])));
        eventually("the new certificate is served", async || {
            trusts(next, address).await.then_some(())
        })
        .await;
    }
    assert!(!trusts(&first, address).await);
}

#[tokio::test]
async fn keeps_the_last_certificate_when_a_new_one_is_broken() {
    let [first, second] = std::array::from_fn(|_| Authority::new());
    let good = first.issue(&["localhost"]);
    let ended = second.issue_until(&["localhost"], SystemTime::UNIX_EPOCH);
    let foreign_key = Issued {
        key: second.issue(&["localhost"]).key,
        ..good.clone()
    };
    let mut mount = MountedSecret::new(&secret(&good));
    let files = IdentityFiles {
        certificate: mount.file("tls.crt"),
        key: mount.file("tls.key"),
        client_ca: None,
        client_names: Vec::new(),
    };
    let mut tasks = JoinSet::new();
    let address = start(&mount, &mut tasks).await;
    let metrics = Metrics::install(None);
    for broken in [
        &secret(&ended)[..],
        &secret(&foreign_key),
        &[("tls.crt", "")],
    ] {
        let before = failures(&metrics);
        mount.swap(broken);
        eventually("the broken pair is counted", async || {
            (failures(&metrics) > before).then_some(())
        })
        .await;
        assert!(files.load().is_err());
        assert!(trusts(&first, address).await);
    }
    let next = second.issue(&["localhost"]);
    mount.swap(&secret(&next));
    eventually("the good certificate is served", async || {
        trusts(&second, address).await.then_some(())
    })
    .await;
}
