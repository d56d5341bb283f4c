//! What the sidecar says of itself.

use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock};

use super::error::{Error, Reason};

/// The Dapr whose API this one follows; clients read it as the version of the runtime.
pub const DAPR_VERSION: &str = "1.18.3";

/// The most entries that callers may add, and the most bytes of one entry. Dapr has no limit.
const MAX_EXTENDED: usize = 256;
const MAX_EXTENDED_BYTES: usize = 16 << 10;

/// How the sidecar reaches its app.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AppConnection {
    /// The port of the app; `None` without an app.
    pub port: Option<u16>,
    /// `http`, `https`, `h2c`, `grpc` or `grpcs`.
    pub protocol: String,
    /// The host of the app.
    pub channel_address: String,
    /// The most calls at once; 0 is no limit.
    pub max_concurrency: u32,
    /// The health checks of the app, where they are on.
    pub health: Option<AppHealth>,
}

/// How the health of the app is checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AppHealth {
    /// The path, for apps with HTTP.
    pub path: Option<String>,
    /// The time between two checks, as Go writes durations.
    pub interval: String,
    /// The time for one check, as Go writes durations.
    pub timeout: String,
    /// The number of failures in a row that make the app unhealthy.
    pub threshold: u32,
}

/// A component in use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoadedComponent {
    /// Its name.
    pub name: String,
    /// Its type, for example `secretstores.local.file`.
    pub kind: String,
    /// Its version.
    pub version: String,
    /// What it can do, for example `MULTIPLE_KEY_VALUES_PER_SECRET`.
    pub capabilities: Vec<String>,
}

/// A subscription of the app.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subscription {
    /// The component of pub/sub.
    pub pubsub: String,
    /// The topic.
    pub topic: String,
    /// What the broker is told.
    pub metadata: BTreeMap<String, String>,
    /// Expressions with paths of the app, the first that is true decides; the empty one always is.
    pub rules: Vec<(String, String)>,
    /// Where messages go that the app does not take, or empty.
    pub dead_letter_topic: String,
    /// `DECLARATIVE`, `PROGRAMMATIC` or `STREAMING`.
    pub kind: &'static str,
}

/// What stays the same while the process runs.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// The app id.
    pub app_id: String,
    /// The features that the Configuration turns on.
    pub features: Vec<String>,
    /// How the app is reached.
    pub app: AppConnection,
}

/// Everything that the metadata API tells, at one moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// What stays the same.
    pub facts: Facts,
    /// The components in use, in the order of their names.
    pub components: Vec<LoadedComponent>,
    /// The names of the Resiliency resources that count.
    pub resiliencies: Vec<String>,
    /// The names of the HTTP endpoints that can be called, in order.
    pub http_endpoints: Vec<String>,
    /// The subscriptions of the app.
    pub subscriptions: Vec<Subscription>,
    /// What callers added, and the entries of Sidegate itself.
    pub extended: BTreeMap<String, String>,
}

/// What changes while the process runs.
#[derive(Clone, Debug, Default)]
pub struct Live {
    /// The components in use, in the order of their names.
    pub components: Vec<LoadedComponent>,
    /// The names of the Resiliency resources that count.
    pub resiliencies: Vec<String>,
    /// The subscriptions of the app.
    pub subscriptions: Vec<Subscription>,
    /// The names of the HTTP endpoints that can be called, in order.
    pub http_endpoints: Vec<String>,
    /// Components not in use, a line each: `store (secretstores.local.file/v1): no such file`. So
    /// are HTTP endpoints: `crm (HTTPEndpoint): …`.
    pub failed: Vec<String>,
    /// Secret stores that do not answer, a line each: `vault since Wed, 25 Nov 2026 18:00:00 GMT`.
    pub stores_down: Vec<String>,
    /// What an operator should know, a line each.
    pub warnings: Vec<String>,
}

/// The metadata of the sidecar.
pub struct Metadata {
    facts: Facts,
    live: Box<dyn Fn() -> Live + Send + Sync>,
    extended: RwLock<BTreeMap<String, String>>,
}

impl Metadata {
    /// Tells these facts, and what the function returns at that moment.
    pub fn new(facts: Facts, live: impl Fn() -> Live + Send + Sync + 'static) -> Self {
        Self {
            facts,
            live: Box::new(live),
            extended: RwLock::default(),
        }
    }

    /// Everything, as it is now.
    pub fn snapshot(&self) -> Snapshot {
        let live = (self.live)();
        let mut extended = {
            let added = self.extended.read().unwrap_or_else(PoisonError::into_inner);
            added.clone()
        };
        let mut set = |key: &str, value: String| extended.insert(key.to_owned(), value);
        set("daprRuntimeVersion", DAPR_VERSION.to_owned());
        set("sidegateVersion", env!("CARGO_PKG_VERSION").to_owned());
        if !live.warnings.is_empty() {
            set("sidegateWarnings", live.warnings.join("; "));
        }
        if !live.stores_down.is_empty() {
            set("sidegateSecretStoresDown", live.stores_down.join("; "));
        }
        if !live.failed.is_empty() {
            set("sidegateFailedComponents", live.failed.join("; "));
        }
        Snapshot {
            facts: self.facts.clone(),
            components: live.components,
            resiliencies: live.resiliencies,
            http_endpoints: live.http_endpoints,
            subscriptions: live.subscriptions,
            extended,
        }
    }

    /// Adds an entry, or replaces one. Those of Sidegate itself stay what they are.
    pub fn set(&self, key: &str, value: &str) -> Result<(), Error> {
        if key.len() + value.len() > MAX_EXTENDED_BYTES {
            let text = format!("metadata entry is above {MAX_EXTENDED_BYTES} bytes");
            return Err(Error::new(Reason::BodyTooLarge, text));
        }
        let mut extended = self
            .extended
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        if extended.len() >= MAX_EXTENDED && !extended.contains_key(key) {
            let text = format!("metadata has {MAX_EXTENDED} entries already");
            return Err(Error::new(Reason::MetadataFull, text));
        }
        extended.insert(key.to_owned(), value.to_owned());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata() -> Metadata {
        Metadata::new(Facts::default(), || Live {
            failed: vec!["a (b/v1): c".to_owned()],
            stores_down: vec!["v since then".to_owned()],
            warnings: vec!["first".to_owned(), "second".to_owned()],
            ..Live::default()
        })
    }

    #[test]
    fn entries_of_callers_never_hide_its_own() {
        let metadata = metadata();
        metadata.set("mine", "1").unwrap();
        metadata.set("mine", "2").unwrap();
        metadata.set("daprRuntimeVersion", "0.0.0").unwrap();
        let extended = metadata.snapshot().extended;
        assert_eq!(extended["mine"], "2");
        assert_eq!(extended["daprRuntimeVersion"], DAPR_VERSION);
        assert_eq!(extended["sidegateWarnings"], "first; second");
        assert_eq!(extended["sidegateFailedComponents"], "a (b/v1): c");
        assert_eq!(extended["sidegateSecretStoresDown"], "v since then");
    }

    #[test]
    fn takes_a_bounded_number_of_bounded_entries() {
        let metadata = metadata();
        let error = metadata
            .set("k", &"v".repeat(MAX_EXTENDED_BYTES))
            .unwrap_err();
        assert_eq!(error.reason(), Reason::BodyTooLarge);
        for number in 0..MAX_EXTENDED {
            metadata.set(&number.to_string(), "v").unwrap();
        }
        let error = metadata.set("one more", "v").unwrap_err();
        assert_eq!(error.reason(), Reason::MetadataFull);
        metadata.set("0", "replaced").unwrap();
    }
}
