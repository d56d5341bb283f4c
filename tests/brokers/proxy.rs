//! A network of the test's own: a way to a TCP server that a test cuts, slows down and heals.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::interval;

/// The state of the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Weather {
    /// Everything arrives at once.
    Fair,
    /// In each direction of a connection at most this many bytes arrive in ten milliseconds.
    Slow(usize),
    /// What is sent to the server arrives, and nothing that it answers.
    Unanswered,
    /// Nothing arrives, and nobody is told: connections stay and hang.
    Silent,
    /// Connections break, and new ones end at once.
    Cut,
}

/// How often a slow network lets something through.
const TICK: Duration = Duration::from_millis(10);

/// A way to a server, from a free port of 127.0.0.1. It ends when it is dropped.
pub(crate) struct Proxy {
    address: SocketAddr,
    weather: watch::Sender<Weather>,
    _task: JoinSet<()>,
}

impl Proxy {
    /// A way in fair weather.
    pub(crate) async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (weather, watched) = watch::channel(Weather::Fair);
        let mut task = JoinSet::new();
        task.spawn(run(listener, server, watched));
        Self {
            address,
            weather,
            _task: task,
        }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The state of the network from now on.
    pub(crate) fn turn(&self, weather: Weather) {
        self.weather.send_replace(weather);
    }
}

async fn run(listener: TcpListener, server: SocketAddr, weather: watch::Receiver<Weather>) {
    let mut connections = JoinSet::new();
    while let Ok((near, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        connections.spawn(one(near, server, weather.clone()));
    }
}

/// One connection, to its end or until the network is cut.
async fn one(near: TcpStream, server: SocketAddr, mut weather: watch::Receiver<Weather>) {
    if *weather.borrow() == Weather::Cut {
        return;
    }
    let Ok(far) = TcpStream::connect(server).await else {
        return;
    };
    // Small messages would wait for each other.
    near.set_nodelay(true).unwrap();
    far.set_nodelay(true).unwrap();
    let (near_in, near_out) = near.into_split();
    let (far_in, far_out) = far.into_split();
    let (there, back) = (weather.clone(), weather.clone());
    tokio::select! {
        _ = weather.wait_for(|weather| *weather == Weather::Cut) => {}
        // Whoever ends it first ends it.
        _ = carry(near_in, far_out, there, &[Weather::Silent]) => {}
        _ = carry(far_in, near_out, back, &[Weather::Silent, Weather::Unanswered]) => {}
    }
}

/// Carries one direction of a connection, and waits in these sorts of weather.
async fn carry(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut weather: watch::Receiver<Weather>,
    waits: &[Weather],
) -> std::io::Result<()> {
    let mut buffer = vec![0; 64 << 10];
    let mut ticks = interval(TICK);
    loop {
        let most = match *weather.borrow() {
            Weather::Slow(bytes) => bytes.min(buffer.len()),
            _ => buffer.len(),
        };
        let read = from.read(&mut buffer[..most]).await?;
        if read == 0 {
            return Ok(());
        }
        let _ = weather.wait_for(|weather| !waits.contains(weather)).await;
        let is_slow = matches!(*weather.borrow(), Weather::Slow(_));
        if is_slow {
            ticks.tick().await;
        }
        to.write_all(&buffer[..read]).await?;
    }
}
