//! Follows items of a database.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use redis::aio::AsyncPushSender;
use redis::{PushInfo, RedisError};
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{info, warn};

use super::notices::{self, Notices};
use super::touched::{Over, Touched};
use super::{Store, TOGETHER};
use crate::components::BackendError;
use crate::components::configuration::seen::Seen;
use crate::components::configuration::{Changes, Items};
use crate::components::redis::{Connection, failure};

/// How often items are read again where the server tells of their changes. It may stop to tell
/// without a word.
const TOLD: Duration = Duration::from_secs(30);
/// The same where it does not tell.
const UNTOLD: Duration = Duration::from_secs(1);
/// The same where it does not tell, and all its keys have to be looked through.
const UNTOLD_ALL: Duration = Duration::from_secs(10);
/// How long the server may take to say that it is still there.
const ALIVE: Duration = Duration::from_secs(10);

/// The items that are followed.
pub(super) struct Following {
    store: Arc<Store>,
    keys: Vec<String>,
    touched: Arc<Touched>,
    /// What notices come over; none where the server cannot send them.
    line: Option<Connection>,
    seen: Seen,
    pace: Duration,
    read_at: Instant,
}

impl Following {
    /// Follows these keys; where there are none, every key. What changes from now on is told.
    pub(super) async fn open(store: Arc<Store>, keys: &[String]) -> Result<Self, BackendError> {
        let notices = notices::of(&store).await?;
        let touched = Arc::new(Touched::new(store.client.database()));
        let line = listen(&store, keys, &touched).await?;
        let pace = match (&notices, &line) {
            (Notices::On, Some(_)) => TOLD,
            _ if keys.is_empty() => UNTOLD_ALL,
            _ => UNTOLD,
        };
        tell(&store, &notices, line.is_some(), pace);
        // After the notices began, so that nothing falls between.
        let seen = Seen::of(&store.get(keys).await?);
        Ok(Self {
            store,
            keys: keys.to_owned(),
            touched,
            line,
            seen,
            pace,
            read_at: Instant::now() + pace,
        })
    }

    /// Those of touched keys that are other than before.
    async fn read_touched(&mut self, keys: &[String]) -> Result<Items, BackendError> {
        let items = self.store.read(keys).await?;
        Ok(self.seen.changed_among(keys, items))
    }

    /// All that is other than before.
    async fn read_all(&mut self) -> Result<Items, BackendError> {
        self.read_at = Instant::now() + self.pace;
        if let Some(line) = &mut self.line {
            let alive = is_alive(line).await;
            alive.map_err(|error| failure(&error, &self.store.client.server()))?;
        }
        let items = self.store.get(&self.keys).await?;
        Ok(self.seen.changed(items))
    }
}

#[async_trait]
impl Changes for Following {
    async fn next(&mut self) -> Result<Items, BackendError> {
        loop {
            let touched = tokio::select! {
                touched = self.touched.next() => Some(touched),
                () = sleep_until(self.read_at) => None,
            };
            let changed = match touched {
                Some(Ok(keys)) => self.read_touched(&keys).await?,
                Some(Err(over)) => return Err(lost(&self.store, over)),
                None => self.read_all().await?,
            };
            if !changed.is_empty() {
                return Ok(changed);
            }
        }
    }
}

/// A connection over which the server tells of keys; none where it is too old for it, and with a
/// cluster, whose servers each tell of a part of the keys.
async fn listen(
    store: &Store,
    keys: &[String],
    touched: &Arc<Touched>,
) -> Result<Option<Connection>, BackendError> {
    if store.client.is_cluster() {
        return Ok(None);
    }
    let told = Arc::clone(touched);
    let take_in = move |info: PushInfo| {
        told.take_in(&info);
        Ok::<_, ()>(())
    };
    let pushes: Arc<dyn AsyncPushSender> = Arc::new(take_in);
    let mut line = match store.client.open_with_pushes(pushes).await {
        Ok(line) => line,
        Err(BackendError::Refused(_)) => return Ok(None),
        Err(error) => return Err(error),
    };
    let subscribed = subscribe(&mut line, keys, touched).await;
    match subscribed.map_err(|error| failure(&error, line.server())) {
        Ok(()) => Ok(Some(line)),
        // As where the account may not listen to these channels.
        Err(BackendError::Refused(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

async fn subscribe(
    line: &mut Connection,
    keys: &[String],
    touched: &Touched,
) -> Result<(), RedisError> {
    if keys.is_empty() {
        return line.commands().psubscribe(touched.channel("*")).await;
    }
    for some in keys.chunks(TOGETHER) {
        let channels: Vec<_> = some.iter().map(|key| touched.channel(key)).collect();
        line.commands().subscribe(channels).await?;
    }
    Ok(())
}

async fn is_alive(line: &mut Connection) -> Result<(), RedisError> {
    let ping = redis::cmd("PING");
    let asked = timeout(ALIVE, ping.query_async(line.commands())).await;
    asked.map_err(|_| std::io::Error::from(std::io::ErrorKind::TimedOut))?
}

fn lost(store: &Store, over: Over) -> BackendError {
    BackendError::Unavailable(format!("{}: {over}", store.client.server()))
}

/// Says once how changes come to be known, where it is not at once.
fn tell(store: &Store, notices: &Notices, has_line: bool, pace: Duration) {
    if pace == TOLD || store.warned.swap(true, Ordering::Relaxed) {
        return;
    }
    let (component, seconds) = (&store.name, pace.as_secs());
    match notices {
        Notices::Lacking(setting) => warn!(
            component,
            setting,
            seconds,
            "Redis does not tell of changed keys: its notify-keyspace-events lacks some of \
             \"K$gx\" (\"KA\" has them all), so that items are read again and again instead"
        ),
        Notices::Unknown if has_line => info!(
            component,
            seconds,
            "Redis does not say whether it tells of changed keys, so that items are read again \
             and again as well"
        ),
        _ => warn!(
            component,
            seconds,
            "Redis cannot tell of changed keys over this account, in a cluster or before its \
             version 6, so that items are read again and again instead"
        ),
    }
}
