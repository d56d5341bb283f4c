//! The small application of the demo.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::bail;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::base::token::TOKEN_HEADER;
use crate::cli::loopback::address;
use crate::process::listener::{ListenAddr, Listener};
use crate::process::serve::{Limits, Plain, serve};

/// One user at a time needs no more than this.
const LIMITS: Limits = Limits {
    header_bytes: 8192,
    header_timeout: Duration::from_secs(10),
    handshake_timeout: Duration::from_secs(10),
    connections: 16,
    streams: 16,
    drain: Duration::ZERO,
};

/// What the application was asked.
#[derive(Clone, Debug, Default)]
pub(super) struct Call {
    /// Method and path.
    pub(super) target: String,
    /// Every value of the token's header.
    pub(super) tokens: Vec<Vec<u8>>,
}

/// An application that thanks for every order and remembers the last one. It ends when it is
/// dropped.
#[derive(Debug)]
pub(super) struct App {
    port: u16,
    last: Arc<Mutex<Call>>,
    _task: JoinSet<()>,
}

impl App {
    /// Starts it on a free port.
    pub(super) async fn start() -> anyhow::Result<Self> {
        let listener = Listener::bind_tcp(address(0)).await?;
        let &ListenAddr::Tcp(bound) = listener.address() else {
            bail!("the app listens on no TCP port")
        };
        let last = Arc::new(Mutex::new(Call::default()));
        let remembered = Arc::clone(&last);
        let service = hyper::service::service_fn(move |request: Request<Incoming>| {
            *remembered.lock().unwrap_or_else(PoisonError::into_inner) = Call::of(&request);
            async { Ok::<_, Infallible>(thanks()) }
        });
        let mut task = JoinSet::new();
        let server = serve(listener, Plain, service, LIMITS, CancellationToken::new());
        task.spawn(async {
            // It ends with the demo; until then a failure shows as a refused call.
            let _ = server.await;
        });
        Ok(Self {
            port: bound.port(),
            last,
            _task: task,
        })
    }

    /// Its port.
    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// What it was asked last.
    pub(super) fn last_call(&self) -> Call {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.clone()
    }
}

impl Call {
    fn of<B>(request: &Request<B>) -> Self {
        let tokens = request.headers().get_all(TOKEN_HEADER).into_iter();
        Self {
            target: format!("{} {}", request.method(), request.uri()),
            tokens: tokens.map(|token| token.as_bytes().to_vec()).collect(),
        }
    }
}

fn thanks() -> Response<Full<Bytes>> {
    Response::new(Full::from("thank you for your order\n"))
}
