//! The app's end of a stream of changes.

use std::sync::Arc;

use super::inbox::Inbox;
use super::open::Registration;
use super::{Item, count_told};

/// A stream of changes. When it is dropped, its subscription ends.
pub struct Session {
    store: String,
    registration: Registration,
    inbox: Arc<Inbox>,
}

impl Session {
    pub(super) fn new(store: &str, registration: Registration, inbox: Arc<Inbox>) -> Self {
        Self {
            store: store.to_owned(),
            registration,
            inbox,
        }
    }

    /// The id of the subscription.
    pub fn id(&self) -> &str {
        self.registration.id()
    }

    /// What changed next: the key, and the item as it is now. `None` once the subscription ended,
    /// or the sidecar stops. Dropping the future loses nothing.
    pub async fn next(&self) -> Option<(String, Item)> {
        let change = self.inbox.take().await?;
        count_told(&self.store, true);
        Some((change.key, change.item.into()))
    }
}
