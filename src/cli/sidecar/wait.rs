//! `--wait`: until the API of a sidecar on this host is usable.

use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// The time between two tries.
const INTERVAL: Duration = Duration::from_millis(20);
/// The time for one try.
const PATIENCE: Duration = Duration::from_secs(2);
/// The time for all of them. Dapr waits for 60 s; injected containers use this as their hook, and
/// must have the time that stores may take.
const LIMIT: Duration = Duration::from_secs(120);

/// Asks for outbound health on `localhost` until the answer is good.
///
/// # Errors
///
/// When the time is up. daprd exits with 0 then, so that scripts go on without a sidecar.
pub(super) async fn until_usable(port: &str) -> anyhow::Result<()> {
    let port: u16 = port.parse().with_context(|| {
        format!("error parsing dapr-http-port flag: {port:?} is not a port (0-65535)")
    })?;
    let tries = async {
        while !is_usable(port).await {
            tokio::time::sleep(INTERVAL).await;
        }
    };
    if tokio::time::timeout(LIMIT, tries).await.is_err() {
        let seconds = LIMIT.as_secs();
        bail!("no usable sidecar on port {port} within {seconds} seconds");
    }
    Ok(())
}

async fn is_usable(port: u16) -> bool {
    let ask = async {
        let mut stream = TcpStream::connect(("localhost", port)).await?;
        let request = "GET /v1.0/healthz/outbound HTTP/1.0\r\nhost: localhost\r\n\r\n";
        stream.write_all(request.as_bytes()).await?;
        // The status line is enough: "HTTP/1.0 204".
        let mut start = [0; 12];
        stream.read_exact(&mut start).await?;
        Ok::<_, std::io::Error>(start.ends_with(b" 204"))
    };
    let answer = tokio::time::timeout(PATIENCE, ask).await;
    matches!(answer, Ok(Ok(true)))
}
