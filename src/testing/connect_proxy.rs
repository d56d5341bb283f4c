//! An HTTPS proxy that leads every host to a server of the test.
//!
//! A program is sent through it by `HTTPS_PROXY`, and believes it by `SSL_CERT_FILE`: so a test
//! stands in for a service whose address nobody can choose.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::certificates::Authority;

/// A proxy on a free port of 127.0.0.1. It ends when it is dropped.
pub struct ConnectProxy {
    address: SocketAddr,
    folder: TempDir,
    _task: JoinSet<()>,
}

impl ConnectProxy {
    /// Ends the TLS of every connection, whatever host it is for, and passes what is in it to
    /// `server`, which speaks plain HTTP/1.1.
    pub async fn to(server: SocketAddr) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = Arc::new(Authority::new());
        std::fs::write(folder.path().join("ca.pem"), authority.certificate()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut task = JoinSet::new();
        task.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((near, _)) = listener.accept().await {
                let authority = Arc::clone(&authority);
                connections.spawn(async move {
                    // A peer that leaves early is no matter of the proxy.
                    let _ = forward(near, &authority, server).await;
                });
            }
        });
        Self {
            address,
            folder,
            _task: task,
        }
    }

    /// For `HTTPS_PROXY`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// For `SSL_CERT_FILE`.
    pub fn ca_file(&self) -> impl AsRef<Path> + use<> {
        self.folder.path().join("ca.pem")
    }
}

async fn forward(
    mut near: TcpStream,
    authority: &Authority,
    server: SocketAddr,
) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if near.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let target = head.strip_prefix("CONNECT ").unwrap_or_default();
    let Some((host, _)) = target.split_once(':') else {
        return near.write_all(b"HTTP/1.1 405 Only CONNECT\r\n\r\n").await;
    };
    near.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
    let issued = authority.issue(&[host]);
    let chain = vec![CertificateDer::from_pem_slice(issued.certificate.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).unwrap();
    let config = ServerConfig::builder_with_provider(crate::tls::provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let mut inside = TlsAcceptor::from(Arc::new(config)).accept(near).await?;
    let mut far = TcpStream::connect(server).await?;
    tokio::io::copy_bidirectional(&mut inside, &mut far).await?;
    Ok(())
}
