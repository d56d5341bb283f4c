//! When everything is read again: on a change that somebody tells, and now and then.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::select_all;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;

use super::reconcile::Reconciler;
use super::referrer::Referrer;
use super::sources::Sources;
use crate::components::secret_store::RequestMetadata;
use crate::process::tasks::BoxError;

/// The shortest interval.
const SHORTEST: Duration = Duration::from_secs(1);

impl Reconciler {
    /// Follows changes until shutdown.
    pub(super) async fn follow(
        mut self,
        mut sources: Sources,
        shutdown: CancellationToken,
    ) -> Result<(), BoxError> {
        let period = self.config.reconcile_interval.max(SHORTEST);
        let mut ticks = interval_at(Instant::now() + period, period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = sources.changed() => {}
                () = self.secrets_changed() => {}
                _ = ticks.tick() => {}
                () = shutdown.cancelled() => return Ok(()),
            }
            tokio::select! {
                () = self.reconcile(&mut sources) => {}
                () = shutdown.cancelled() => return Ok(()),
            }
        }
    }

    /// Waits until a secret may have changed that a component or an endpoint refers to. Stores
    /// that cannot tell are left to the interval.
    async fn secrets_changed(&self) {
        let mut by_store: BTreeMap<&str, Vec<(String, RequestMetadata)>> = BTreeMap::new();
        let components = self.written.iter().map(Referrer::from);
        for referrer in components.chain(self.endpoints.referrers()) {
            let Some(store) = referrer.store(self.config.default_store()) else {
                continue;
            };
            let metadata = referrer.parameters(self.config.namespace.as_deref());
            let secrets = by_store.entry(store).or_default();
            for name in referrer.secrets() {
                let secret = (name.to_owned(), metadata.clone());
                if !secrets.contains(&secret) {
                    secrets.push(secret);
                }
            }
        }
        let running = by_store.iter().filter_map(|(store, secrets)| {
            let store = self.running.get(*store)?.secret_store.as_ref()?;
            Some(store.changed(secrets).boxed())
        });
        let running: Vec<_> = running.collect();
        if running.is_empty() {
            std::future::pending::<()>().await;
        }
        select_all(running).await;
    }
}
