//! Calls between two sidecars, over real sockets.

mod access;
mod faults;
mod matrix;
mod mtls;
mod proxy;
mod streams;
mod trust;

use sidegate::app_channel::{AppChannelConfig, AppProtocol};
use std::net::SocketAddr;

use tokio::task::JoinSet;

use super::{Setup, Sidecar, World};
use crate::app_channel::config;

/// The sidecar of the caller, without an app, and that of the app `callee`.
pub(super) struct Pair {
    pub(super) caller: Sidecar,
    pub(super) callee: Sidecar,
    pub(super) world: World,
}

impl Pair {
    /// An app at an address.
    pub(super) async fn of(protocol: AppProtocol, app: SocketAddr) -> Self {
        Self::with(config(protocol, app)).await
    }

    /// An app with this road to it.
    pub(super) async fn with(app: AppChannelConfig) -> Self {
        let world = World::default();
        let callee = Sidecar::set_up(Setup {
            app_id: Some("callee"),
            app: Some(app),
            world: Some(&world),
            ..Setup::default()
        });
        let callee = callee.await;
        let caller = Sidecar::set_up(Setup {
            app_id: Some("caller"),
            world: Some(&world),
            max_body: Some(64 * 1024),
            ..Setup::default()
        });
        Self {
            caller: caller.await,
            callee,
            world,
        }
    }
}

/// Something that goes on beside the test, and ends with it at the latest.
pub(super) struct Started<T>(JoinSet<T>);

impl<T: Send + 'static> Started<T> {
    pub(super) fn new(future: impl Future<Output = T> + Send + 'static) -> Self {
        let mut set = JoinSet::new();
        set.spawn(future);
        Self(set)
    }

    /// What comes of it.
    pub(super) async fn done(mut self) -> T {
        self.0.join_next().await.unwrap().unwrap()
    }
}
