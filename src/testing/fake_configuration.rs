//! A configuration store in memory that a test changes, and takes away.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use tokio::sync::watch;

use crate::components::BackendError;
use crate::components::configuration::{Changes, ConfigurationStore, Item, Items};
use crate::components::message::Metadata;

/// The items of a store.
#[derive(Default)]
pub struct FakeConfiguration {
    state: Arc<Mutex<State>>,
    /// Tells those who follow that the state changed.
    told: watch::Sender<()>,
    /// Those who follow have a clone each.
    followers: Arc<()>,
    asked_with: Mutex<Metadata>,
}

#[derive(Default)]
struct State {
    items: Items,
    /// Every change so far.
    log: Vec<(String, Item)>,
    is_down: bool,
    /// How often it went away.
    outages: usize,
}

impl FakeConfiguration {
    /// A store with these values.
    pub fn of(values: &[(&str, &str)]) -> Arc<Self> {
        let store = Arc::new(Self::default());
        for (key, value) in values {
            store.set(key, value);
        }
        store
    }

    /// Sets a value; an empty one deletes the item. Each value is a version of its own.
    pub fn set(&self, key: &str, value: &str) {
        self.change(|state| {
            let version = if value.is_empty() {
                String::new()
            } else {
                state.log.len().to_string()
            };
            let item = Item {
                value: value.to_owned(),
                version,
                metadata: Metadata::new(),
            };
            if value.is_empty() {
                state.items.remove(key);
            } else {
                state.items.insert(key.to_owned(), item.clone());
            }
            state.log.push((key.to_owned(), item));
        });
    }

    /// Answers nobody any more, and breaks with all who follow.
    pub fn go_down(&self) {
        self.change(|state| {
            state.is_down = true;
            state.outages += 1;
        });
    }

    /// Answers again.
    pub fn come_back(&self) {
        self.change(|state| state.is_down = false);
    }

    /// How many follow it.
    pub fn followers(&self) -> usize {
        Arc::strong_count(&self.followers) - 1
    }

    /// What it was told with the last question.
    pub fn asked_with(&self) -> Metadata {
        self.asked_with.lock().unwrap().clone()
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap());
        self.told.send_replace(());
    }
}

#[async_trait]
impl ConfigurationStore for FakeConfiguration {
    async fn get(&self, keys: &[String], metadata: &Metadata) -> Result<Items, BackendError> {
        metadata.clone_into(&mut self.asked_with.lock().unwrap());
        let state = self.state.lock().unwrap();
        if state.is_down {
            return Err(away());
        }
        let mut items = state.items.clone();
        items.retain(|key, _| keys.is_empty() || keys.contains(key));
        Ok(items)
    }

    async fn subscribe(
        &self,
        keys: &[String],
        _: &Metadata,
    ) -> Result<Box<dyn Changes>, BackendError> {
        let state = self.state.lock().unwrap();
        if state.is_down {
            return Err(away());
        }
        Ok(Box::new(Following {
            state: Arc::clone(&self.state),
            told: self.told.subscribe(),
            keys: keys.to_owned(),
            at: state.log.len(),
            outages: state.outages,
            _follower: Arc::clone(&self.followers),
        }))
    }
}

struct Following {
    state: Arc<Mutex<State>>,
    told: watch::Receiver<()>,
    keys: Vec<String>,
    /// How much of the log is known.
    at: usize,
    outages: usize,
    _follower: Arc<()>,
}

#[async_trait]
impl Changes for Following {
    async fn next(&mut self) -> Result<Items, BackendError> {
        loop {
            {
                let state = self.state.lock().unwrap();
                if state.outages != self.outages {
                    return Err(away());
                }
                let new = state.log[self.at..].iter().cloned();
                let new = new.filter(|(key, _)| self.keys.is_empty() || self.keys.contains(key));
                let new: Items = new.collect();
                self.at = state.log.len();
                if !new.is_empty() {
                    return Ok(new);
                }
            }
            self.told.changed().await.unwrap();
        }
    }
}

fn away() -> BackendError {
    BackendError::Unavailable("inner hunter2".to_owned())
}
