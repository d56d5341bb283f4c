//! The load: connections that each have one request in flight, as many as the server can answer.
//!
//! It writes ready-made bytes and looks at no more of an answer than it must, so that the server
//! and not this client is what is measured.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::ClientConfig;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

/// How many connections ask at once, where nothing else is said.
const CONNECTIONS: usize = 16;

/// One kind of request to one server.
#[derive(Clone)]
pub(crate) struct Load {
    /// Where to.
    pub(crate) address: SocketAddr,
    /// The whole request.
    pub(crate) request: Arc<[u8]>,
    /// The status that each answer must have.
    pub(crate) status: u16,
    /// TLS, where the server has it.
    pub(crate) tls: Option<Arc<ClientConfig>>,
    /// How many connections ask at once.
    pub(crate) connections: usize,
}

/// When to stop.
#[derive(Clone, Copy)]
pub(crate) enum Until {
    /// After this long.
    Elapsed(Duration),
    /// After so many requests in all.
    Count(usize),
}

impl Load {
    /// `METHOD target` with more header lines (each ended by CRLF) and a body.
    pub(crate) fn new(address: SocketAddr, line: &str, headers: &str, body: &str) -> Self {
        let length = body.len();
        let request = format!(
            "{line} HTTP/1.1\r\nhost: localhost\r\n{headers}content-length: {length}\r\n\r\n{body}"
        );
        Self {
            address,
            request: request.into_bytes().into(),
            status: 200,
            tls: None,
            connections: CONNECTIONS,
        }
    }

    /// Requests a second, in one round.
    pub(crate) async fn rate(&self, until: Until) -> f64 {
        let start = Instant::now();
        let mut clients = JoinSet::new();
        for _ in 0..self.connections {
            clients.spawn(self.clone().client(start, until));
        }
        let mut answers = 0;
        while let Some(ended) = clients.join_next().await {
            answers += ended.unwrap().unwrap();
        }
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        let answers = answers as f64;
        answers / start.elapsed().as_secs_f64()
    }

    /// How long answers take on one connection, in milliseconds, one after the other.
    pub(crate) async fn latencies(&self, count: usize) -> Vec<f64> {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let mut buffer = vec![0; 64 * 1024];
        let mut times = Vec::with_capacity(count);
        for _ in 0..count {
            let start = Instant::now();
            stream.write_all(&self.request).await.unwrap();
            let status = read_answer(&mut stream, &mut buffer).await.unwrap();
            assert_eq!(status, self.status, "the server answers something else");
            times.push(start.elapsed().as_secs_f64() * 1000.0);
        }
        times
    }

    /// Asks once on each of so many connections, which are all open before the first asks.
    pub(crate) async fn at_once(&self, connections: usize) {
        let mut open = Vec::with_capacity(connections);
        for _ in 0..connections {
            open.push(TcpStream::connect(self.address).await.unwrap());
        }
        let mut clients = JoinSet::new();
        for mut stream in open {
            let load = self.clone();
            clients.spawn(async move {
                stream.write_all(&load.request).await.unwrap();
                let status = read_answer(&mut stream, &mut vec![0; 4096]).await.unwrap();
                assert_eq!(status, load.status, "the server answers something else");
            });
        }
        while let Some(ended) = clients.join_next().await {
            ended.unwrap();
        }
    }

    async fn client(self, start: Instant, until: Until) -> io::Result<usize> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let Some(tls) = self.tls.clone() else {
            return self.ask(stream, start, until).await;
        };
        let name = "localhost".try_into().unwrap();
        let stream = TlsConnector::from(tls).connect(name, stream).await?;
        self.ask(stream, start, until).await
    }

    async fn ask<S>(&self, mut stream: S, start: Instant, until: Until) -> io::Result<usize>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let mut buffer = vec![0; 64 * 1024];
        let mut answers = 0;
        loop {
            let done = match until {
                Until::Elapsed(time) => start.elapsed() >= time,
                Until::Count(count) => answers >= count.div_ceil(self.connections),
            };
            if done {
                return Ok(answers);
            }
            stream.write_all(&self.request).await?;
            stream.flush().await?;
            let status = read_answer(&mut stream, &mut buffer).await?;
            assert_eq!(status, self.status, "the server answers something else");
            answers += 1;
        }
    }
}

/// Reads one whole answer. Hands back its status.
async fn read_answer<S: AsyncRead + Unpin>(stream: &mut S, buffer: &mut [u8]) -> io::Result<u16> {
    let mut filled = 0;
    loop {
        let read = stream.read(&mut buffer[filled..]).await?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        filled += read;
        if let Some(status) = whole_answer(&buffer[..filled]) {
            return Ok(status);
        }
        assert!(
            filled < buffer.len(),
            "the answer is too long for the buffer"
        );
    }
}

/// The status of an answer, where all of it is there.
fn whole_answer(bytes: &[u8]) -> Option<u16> {
    let head = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let status = std::str::from_utf8(&bytes[9..12]).ok()?.parse().ok()?;
    if status == 204 {
        return Some(status);
    }
    let mut length = None;
    for line in bytes[..head].split(|&byte| byte == b'\n') {
        let Some(colon) = line.iter().position(|&byte| byte == b':') else {
            continue;
        };
        let value = line[colon + 1..].trim_ascii();
        if line[..colon].eq_ignore_ascii_case(b"content-length") {
            length = std::str::from_utf8(value).ok()?.parse::<usize>().ok();
        }
    }
    let body = bytes.len() - head;
    let complete = match length {
        Some(length) => body >= length,
        // Chunked; or no body at all, which these servers say with a length of 0.
        None => bytes.ends_with(b"\r\n0\r\n\r\n") || bytes[head..] == *b"0\r\n\r\n",
    };
    complete.then_some(status)
}
