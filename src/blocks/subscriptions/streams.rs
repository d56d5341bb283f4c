//! The streams that the app has open, each a subscription for as long as it lasts.

use std::sync::Arc;

use tokio::sync::watch;

use super::Subscriber;
use crate::resources::subscription::Spec;

/// The most streams at once.
const MOST: usize = 1024;

/// The streams that are open. Cheap to clone; all clones share one state.
#[derive(Clone, Default)]
pub struct Streams(Arc<watch::Sender<Open>>);

/// The streams at one moment.
#[derive(Default)]
pub(super) struct Open {
    next: u64,
    streams: Vec<Stream>,
}

/// One stream.
#[derive(Clone)]
pub(super) struct Stream {
    /// Tells it from all others.
    pub(super) id: u64,
    /// What it subscribes to.
    pub(super) spec: Arc<Spec>,
    /// Who gets the messages.
    pub(super) subscriber: Arc<dyn Subscriber>,
}

/// A stream that is open. Dropping it ends its subscription; messages in flight go back.
pub struct StreamGuard {
    id: u64,
    streams: Streams,
}

/// There are too many streams.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
#[error("{MOST} subscriptions by streams are open already")]
pub struct TooManyStreams;

impl Streams {
    /// Subscribes for a stream, until the guard is dropped.
    pub fn open(
        &self,
        spec: Spec,
        subscriber: Arc<dyn Subscriber>,
    ) -> Result<StreamGuard, TooManyStreams> {
        let mut opened = None;
        self.0.send_if_modified(|open| {
            if open.streams.len() < MOST {
                let id = open.next;
                open.next += 1;
                open.streams.push(Stream {
                    id,
                    spec: Arc::new(spec),
                    subscriber,
                });
                opened = Some(id);
            }
            opened.is_some()
        });
        let streams = self.clone();
        opened
            .map(|id| StreamGuard { id, streams })
            .ok_or(TooManyStreams)
    }

    pub(super) fn watch(&self) -> watch::Receiver<Open> {
        self.0.subscribe()
    }
}

impl Open {
    pub(super) fn streams(&self) -> &[Stream] {
        &self.streams
    }
}

impl Drop for StreamGuard {
    fn drop(&mut self) {
        let streams = &self.streams.0;
        streams.send_modify(|open| open.streams.retain(|stream| stream.id != self.id));
    }
}
