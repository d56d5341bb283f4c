//! A way to an HTTP server on which a test makes answers go wrong.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// What happens to one request.
#[derive(Clone, Debug)]
pub enum Fault {
    /// This status, with `Retry-After` in seconds where one is given.
    Status(u16, Option<u32>),
    /// No answer, ever.
    Hang,
    /// The connection ends within the body.
    Cut,
    /// A success whose body has this many bytes of `x`.
    Oversized(usize),
    /// A success with this body.
    Body(&'static [u8]),
    /// The connection ends without an answer.
    Close,
}

/// Forwards requests to a server, one connection a request, but those that are to go wrong. It
/// ends when it is dropped.
pub struct FaultyRoad {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    _task: JoinSet<()>,
}

#[derive(Default)]
struct State {
    faults: VecDeque<Fault>,
    always: Option<Fault>,
    requests: usize,
}

impl FaultyRoad {
    /// A way to `server`, from a free port of 127.0.0.1.
    pub async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::<Mutex<State>>::default();
        let mut task = JoinSet::new();
        task.spawn(run(listener, server, Arc::clone(&state)));
        Self {
            address,
            state,
            _task: task,
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What happens to the next requests, in order; those after them are forwarded.
    pub fn next(&self, faults: impl IntoIterator<Item = Fault>) {
        let mut state = self.state();
        state.always = None;
        state.faults = faults.into_iter().collect();
    }

    /// What happens to every request from now on, until [`FaultyRoad::next`].
    pub fn always(&self, fault: Fault) {
        self.state().always = Some(fault);
    }

    /// The number of requests so far, those that went wrong with them.
    pub fn requests(&self) -> usize {
        self.state().requests
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn run(listener: TcpListener, server: SocketAddr, state: Arc<Mutex<State>>) {
    let mut connections = JoinSet::new();
    while let Ok((near, _)) = listener.accept().await {
        let state = Arc::clone(&state);
        connections.spawn(async move {
            // A peer that leaves early is no matter of the road.
            let _ = one(near, server, &state).await;
        });
    }
}

/// One request and its answer. Every answer closes its connection, so that each request is seen.
async fn one(mut near: TcpStream, server: SocketAddr, state: &Mutex<State>) -> std::io::Result<()> {
    let request = read_request(&mut near).await?;
    if request.is_empty() {
        return Ok(());
    }
    let fault = {
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        state.requests += 1;
        let next = state.faults.pop_front();
        next.or_else(|| state.always.clone())
    };
    let head = |status: u16, length: usize, more: &str| {
        format!(
            "HTTP/1.1 {status} S\r\nconnection: close\r\ncontent-length: {length}\r\n{more}\r\n"
        )
    };
    match fault {
        None => {
            let mut far = TcpStream::connect(server).await?;
            far.write_all(&request).await?;
            tokio::io::copy(&mut far, &mut near).await?;
        }
        Some(Fault::Status(status, retry_after)) => {
            let more = retry_after.map(|seconds| format!("retry-after: {seconds}\r\n"));
            let more = more.unwrap_or_default();
            near.write_all(head(status, 0, &more).as_bytes()).await?;
        }
        Some(Fault::Hang) => std::future::pending().await,
        Some(Fault::Cut) => {
            near.write_all(head(200, 1000, "").as_bytes()).await?;
            near.write_all(b"{").await?;
        }
        Some(Fault::Oversized(bytes)) => {
            near.write_all(head(200, bytes, "").as_bytes()).await?;
            let chunk = vec![b'x'; 64 << 10];
            let mut left = bytes;
            while left > 0 {
                let now = left.min(chunk.len());
                near.write_all(&chunk[..now]).await?;
                left -= now;
            }
        }
        Some(Fault::Body(body)) => {
            near.write_all(head(200, body.len(), "").as_bytes()).await?;
            near.write_all(body).await?;
        }
        Some(Fault::Close) => {}
    }
    near.shutdown().await
}

/// The bytes of one request, with `connection: close` in place of what it says of the connection.
async fn read_request(near: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
        if near.read_buf(&mut bytes).await? == 0 {
            return Ok(Vec::new());
        }
    };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let mut length = 0;
    let mut request = String::new();
    for line in head.trim_end().split("\r\n") {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().unwrap_or_default();
        }
        if !name.eq_ignore_ascii_case("connection") {
            request.push_str(line);
            request.push_str("\r\n");
        }
    }
    request.push_str("connection: close\r\n\r\n");
    while bytes.len() < end + length {
        if near.read_buf(&mut bytes).await? == 0 {
            return Ok(Vec::new());
        }
    }
    let mut whole = request.into_bytes();
    whole.extend_from_slice(&bytes[end..end + length]);
    Ok(whole)
}
