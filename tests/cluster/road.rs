//! A way to the API server that can be cut and closed.

use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// It ends when it is dropped.
pub(crate) struct Road {
    pub(crate) address: SocketAddr,
    is_open: watch::Sender<bool>,
    _task: JoinSet<()>,
}

impl Road {
    pub(crate) async fn to(server: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (is_open, changes) = watch::channel(true);
        let mut task = JoinSet::new();
        task.spawn(forward(listener, server.to_owned(), changes));
        Self {
            address,
            is_open,
            _task: task,
        }
    }

    /// Ends all connections; new ones are welcome.
    pub(crate) fn cut(&self) {
        self.is_open.send_replace(true);
    }

    /// Ends all connections, and every new one at once.
    pub(crate) fn close(&self) {
        self.is_open.send_replace(false);
    }

    /// New connections are welcome again.
    pub(crate) fn open(&self) {
        self.is_open.send_replace(true);
    }
}

/// Passes bytes on in both directions; each change ends what there is.
async fn forward(listener: TcpListener, server: String, mut is_open: watch::Receiver<bool>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (mut near, _) = accepted.unwrap();
                if !*is_open.borrow() {
                    continue;
                }
                let server = server.clone();
                connections.spawn(async move {
                    let mut far = TcpStream::connect(server).await.unwrap();
                    let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
                });
            }
            changed = is_open.changed() => match changed {
                Ok(()) => connections.shutdown().await,
                Err(_) => return,
            },
        }
    }
}
