//! Messages that are in hand: the server is told in time that they are being dealt with.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_nats::Subject;
use async_nats::jetstream::message::Acker;
use async_nats::jetstream::{AckKind, Context};
use async_trait::async_trait;
use futures_util::FutureExt as _;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinSet;

use crate::components::BackendError;
use crate::components::message::{Acknowledge, Settlement};
use crate::components::pauses;

/// The messages that were handed out and are not settled. While one of them is, its holder tells
/// the server.
pub(super) struct Held {
    context: Context,
    subjects: Arc<Mutex<Subjects>>,
    back_off: Vec<Duration>,
    _telling: JoinSet<()>,
}

/// Where the server wants to hear of each.
#[derive(Default)]
struct Subjects {
    next: u64,
    by_number: HashMap<u64, Subject>,
}

impl Held {
    /// Nothing yet. The server gives a message to somebody else after `ack_wait`. `back_off` are
    /// the pauses after failures, where the user chose them.
    pub(super) fn new(context: Context, ack_wait: Duration, back_off: Vec<Duration>) -> Arc<Self> {
        let subjects = Arc::<Mutex<Subjects>>::default();
        let mut telling = JoinSet::new();
        telling.spawn(tell(context.clone(), Arc::clone(&subjects), ack_wait / 3));
        Arc::new(Self {
            context,
            subjects,
            back_off,
            _telling: telling,
        })
    }

    /// Takes a message in hand.
    pub(super) fn hold(
        self: &Arc<Self>,
        reply: Option<Subject>,
        delivered: u32,
        permit: OwnedSemaphorePermit,
    ) -> Unsettled {
        let mut subjects = locked(&self.subjects);
        let number = subjects.next;
        subjects.next += 1;
        if let Some(reply) = &reply {
            subjects.by_number.insert(number, reply.clone());
        }
        Unsettled {
            held: Arc::clone(self),
            number,
            acker: Some(Acker::new(self.context.clone(), reply)),
            delivered,
            _permit: permit,
        }
    }

    fn pause_after(&self, failures: u32) -> Duration {
        let index = usize::try_from(failures.saturating_sub(1)).unwrap_or(usize::MAX);
        let chosen = self.back_off.get(index).or(self.back_off.last());
        chosen.copied().unwrap_or_else(|| pauses::after(failures))
    }
}

fn locked(subjects: &Mutex<Subjects>) -> std::sync::MutexGuard<'_, Subjects> {
    subjects.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Tells the server, again and again, that all messages in hand are being dealt with.
async fn tell(context: Context, subjects: Arc<Mutex<Subjects>>, pace: Duration) {
    loop {
        tokio::time::sleep(pace).await;
        let replies: Vec<_> = locked(&subjects).by_number.values().cloned().collect();
        for reply in replies {
            let acker = Acker::new(context.clone(), Some(reply));
            // Without a connection the server hands the message out again.
            let _ = acker.ack_with(AckKind::Progress).await;
        }
    }
}

/// A message that is to be settled.
pub(super) struct Unsettled {
    held: Arc<Held>,
    number: u64,
    /// Gone when it is settled.
    acker: Option<Acker>,
    /// How many times it was handed out.
    delivered: u32,
    _permit: OwnedSemaphorePermit,
}

impl Unsettled {
    /// Tells the server what became of it.
    pub(super) async fn tell(&mut self, kind: AckKind) -> Result<(), BackendError> {
        let Some(acker) = self.acker.take() else {
            return Ok(());
        };
        locked(&self.held.subjects).by_number.remove(&self.number);
        let told = acker.ack_with(kind).await;
        told.map_err(|error| BackendError::Unavailable(format!("not settled: {error}")))
    }
}

#[async_trait]
impl Acknowledge for Unsettled {
    async fn settle(mut self: Box<Self>, settlement: Settlement) -> Result<(), BackendError> {
        let kind = match settlement {
            Settlement::Done(_) => AckKind::Ack,
            Settlement::Failed(_) => AckKind::Nak(Some(self.held.pause_after(self.delivered))),
        };
        self.tell(kind).await
    }
}

/// A message that nobody settled goes back at once.
impl Drop for Unsettled {
    fn drop(&mut self) {
        // The client has the word when it is polled once; nobody waits for more.
        let _ = self.tell(AckKind::Nak(None)).now_or_never();
    }
}
