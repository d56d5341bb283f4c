//! Fills the shelf of a subscription.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::sleep_until;
use tracing::{info, warn};

use super::entry::{self, Entry, START};
use super::group::{Failed, Group};
use super::shelf::{Hold, Shelf, Waiting};
use crate::components::BackendError;
use crate::components::redis::Connection;

/// How long the server waits for a message before it answers that there is none.
pub(super) const WAIT: Duration = Duration::from_secs(5);

/// How often consumers that are gone are looked for.
const CLEANING: Duration = Duration::from_secs(600);

/// Reads what this consumer had first, then what others left, then what is new.
pub(super) struct Reader {
    group: Arc<Group>,
    shelf: Arc<Shelf>,
    connection: Connection,
    /// The last of the own messages that were read again. `None` when there are no more.
    own: Option<String>,
    /// When to look for what others left.
    claims: Option<Instant>,
    /// From which id on.
    claim_from: String,
    cleaning: Instant,
}

impl Reader {
    pub(super) fn new(group: Arc<Group>, shelf: Arc<Shelf>, connection: Connection) -> Self {
        let claims = group.settings.redelivery.map(|_| Instant::now());
        Self {
            group,
            shelf,
            connection,
            own: Some(START.to_owned()),
            claims,
            claim_from: START.to_owned(),
            cleaning: Instant::now(),
        }
    }

    /// Reads until the connection breaks.
    pub(super) async fn run(mut self) {
        loop {
            let error = match self.step().await {
                Ok(()) => continue,
                Err(Failed::Broken(error)) => error,
                Err(Failed::NoGroup) => {
                    let topic = &*self.group.topic;
                    info!(topic, "The consumer group is gone; it is made again");
                    match self.group.create().await {
                        Ok(()) => continue,
                        Err(error) => error,
                    }
                }
            };
            return self.shelf.end(error);
        }
    }

    async fn step(&mut self) -> Result<(), Failed> {
        let cool = self.shelf.warm();
        if let Some(again) = self.shelf.again() {
            // Nothing else may be read before.
            sleep_until(again.into()).await;
            self.own = Some(START.to_owned());
            self.shelf.begin_again();
            return Ok(());
        }
        let room = self.shelf.places.available_permits();
        if room == 0 {
            self.room(cool).await;
            return Ok(());
        }
        if let Some(after) = self.own.clone() {
            return self.read_own(room, &after).await;
        }
        if self.claims.is_some_and(|at| at <= Instant::now()) {
            return self.claim(room).await;
        }
        if self.cleaning <= Instant::now() {
            self.group.remove_gone().await;
            self.cleaning = Instant::now() + CLEANING;
            return Ok(());
        }
        self.read_new(room).await
    }

    /// Waits until something can be held.
    async fn room(&self, cool: Option<Instant>) {
        let cool = async {
            match cool {
                Some(cool) => sleep_until(cool.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.shelf.places.acquire() => {}
            () = self.shelf.changed.notified() => {}
            () = cool => {}
        }
    }

    async fn read_own(&mut self, room: usize, after: &str) -> Result<(), Failed> {
        let since = Instant::now();
        let answer = self
            .group
            .read_own(&mut self.connection, room, after)
            .await?;
        let entries = entry::read(answer);
        self.own = entries.last().map(|entry| entry.id.clone());
        self.put(entries, since).await.map_err(Failed::Broken)
    }

    async fn claim(&mut self, room: usize) -> Result<(), Failed> {
        let Some(redelivery) = self.group.settings.redelivery else {
            self.claims = None;
            return Ok(());
        };
        let since = Instant::now();
        let connection = &mut self.connection;
        let answer = self
            .group
            .claim(connection, room, redelivery.timeout, &self.claim_from)
            .await?;
        let (next, entries) = entry::claimed(answer);
        if next == START {
            self.claims = Some(since + redelivery.interval);
        }
        self.claim_from = next;
        self.put(entries, since).await.map_err(Failed::Broken)
    }

    async fn read_new(&mut self, room: usize) -> Result<(), Failed> {
        let since = Instant::now();
        let wait = match self.claims {
            Some(at) => at.saturating_duration_since(since).min(WAIT),
            None => WAIT,
        };
        let answer = tokio::select! {
            answer = self.group.read_new(&mut self.connection, room, wait) => answer?,
            // What the server may have handed out meanwhile is this consumer's, and read again
            // with all the rest.
            () = set_back(&self.shelf) => return Ok(()),
        };
        self.put(entry::read(answer), since)
            .await
            .map_err(Failed::Broken)
    }

    /// Puts messages on the shelf, but those that are held already.
    async fn put(&self, entries: Vec<Entry>, since: Instant) -> Result<(), BackendError> {
        let mut trimmed = Vec::new();
        for entry in entries {
            let Some(content) = entry.content else {
                trimmed.push(entry.id);
                continue;
            };
            if let Some(hold) = Hold::take(&self.group.held, &self.shelf.places, &entry.id) {
                self.shelf.put(Waiting {
                    hold,
                    content,
                    since,
                });
            }
        }
        if trimmed.is_empty() {
            return Ok(());
        }
        let (topic, count) = (&*self.group.topic, trimmed.len());
        warn!(
            topic,
            count, "Messages were trimmed from the stream before they were dealt with"
        );
        self.group.acknowledge(&trimmed).await
    }
}

/// Until all is to be read again.
async fn set_back(shelf: &Shelf) {
    while shelf.again().is_none() {
        shelf.changed.notified().await;
    }
}
