//! What happens when calls fail: timeouts, retries and circuit breakers around calls to apps and
//! components, as `Resiliency` documents say.
//!
//! ```text
//! documents → merge (names looked up) → Resiliency → policy of a target → run(call, judge)
//!                                                     retry ⟶ breaker ⟶ timeout ⟶ call
//! ```
//! A [`Resiliency`] never changes; a newer one replaces it and takes over the circuit breakers
//! whose settings are still the same.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use crate::resources::Error;
use crate::resources::resiliency::Resiliency as Document;
use clock::Clock;
use merge::{Merged, Settings, Source};
use meters::Labels;
use policy::Target;

mod breaker;
mod clock;
mod merge;
mod meters;
mod pauses;
mod policy;

pub use policy::{Policy, Status, Stopped, Verdict};

/// How the metrics call all apps that no target names: their ids come from callers.
const OTHER_APPS: &str = "app_*";
/// The most circuit breakers of all apps together that no target names.
const OTHER_BREAKERS: usize = 1000;

/// Which way a call goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From the sidecar to the target.
    Outbound,
    /// From the component to the app.
    Inbound,
}

/// The kinds of components, as the names of default policies spell them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ComponentType {
    /// Input and output bindings.
    Binding,
    /// Stores of configuration.
    Configuration,
    /// Cryptography.
    Crypto,
    /// Locks.
    Lock,
    /// Publish and subscribe.
    Pubsub,
    /// Stores of secrets.
    Secretstore,
    /// Stores of state.
    Statestore,
}

impl ComponentType {
    fn name(self) -> &'static str {
        match self {
            Self::Binding => "Binding",
            Self::Configuration => "Configuration",
            Self::Crypto => "Crypto",
            Self::Lock => "Lock",
            Self::Pubsub => "Pubsub",
            Self::Secretstore => "Secretstore",
            Self::Statestore => "Statestore",
        }
    }
}

/// What counts for every target, at one moment.
pub struct Resiliency {
    documents: Vec<Source>,
    warnings: Vec<String>,
    merged: Merged,
    /// The apps that targets name.
    apps: HashMap<String, Option<Arc<Target>>>,
    /// All other apps, without what is built in and with it.
    other_apps: Option<Arc<Target>>,
    other_apps_retried: Option<Arc<Target>>,
    components: RwLock<HashMap<(Direction, String), Component>>,
    clock: Clock,
}

/// A component that was asked for. It is made then, since its metrics name its kind.
#[derive(Clone)]
struct Component {
    kind: ComponentType,
    target: Option<Arc<Target>>,
}

impl Default for Resiliency {
    /// What counts where nothing is written.
    fn default() -> Self {
        Self::on(Clock::default())
    }
}

impl Resiliency {
    fn on(clock: Clock) -> Self {
        let merged = Merged::default();
        let retries = merged.service_retries();
        Self {
            documents: Vec::new(),
            warnings: Vec::new(),
            merged,
            apps: HashMap::new(),
            other_apps: None,
            other_apps_retried: Target::or_retry(None, retries, &clock),
            components: RwLock::default(),
            clock,
        }
    }

    /// What the documents say together, in their order. It takes over from `before`, which is
    /// replaced.
    ///
    /// # Errors
    ///
    /// Every target that names a policy which no document has.
    pub fn new(documents: &[Document], before: &Self) -> Result<Self, Vec<Error>> {
        let merged = Merged::of(documents)?;
        let clock = &before.clock;
        let apps = merged.apps.iter().map(|(id, settings)| {
            let old = before.apps.get(id).and_then(Option::as_deref);
            let labels = labels(settings, Direction::Outbound, format!("app_{id}"));
            let target = Target::new(settings.clone(), &labels, old, clock);
            (id.clone(), target)
        });
        let apps = apps.collect();
        let others = Settings {
            breakers: OTHER_BREAKERS,
            ..merged.default_of_apps()
        };
        let other = labels(&others, Direction::Outbound, OTHER_APPS.to_owned());
        let other_apps = Target::new(others, &other, before.other_apps.as_deref(), clock);
        let retries = merged.service_retries();
        let new = Self {
            documents: documents.iter().map(Source::of).collect(),
            warnings: documents.iter().flat_map(merge::without_effect).collect(),
            apps,
            other_apps_retried: Target::or_retry(other_apps.as_ref(), retries, clock),
            other_apps,
            components: RwLock::default(),
            clock: clock.clone(),
            merged,
        };
        new.take_components(before);
        new.show_loaded(before);
        Ok(new)
    }

    /// The names of the documents that count, in their order.
    pub fn names(&self) -> Vec<String> {
        let names = self.documents.iter();
        names.map(|source| source.name.to_string()).collect()
    }

    /// What is written and has no effect.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// The policy of calls of a method of another app, by way of its sidecar. Where nothing is
    /// said of the app, calls that did not reach it are retried (Dapr's built-in policy).
    pub fn app(&self, app_id: &str, method: &str) -> Policy {
        self.app_or(app_id, method, self.other_apps_retried.as_ref())
    }

    /// The same for the sidecar's own app, where nothing is built in.
    pub fn own_app(&self, app_id: &str, method: &str) -> Policy {
        self.app_or(app_id, method, self.other_apps.as_ref())
    }

    fn app_or(&self, app_id: &str, method: &str, other: Option<&Arc<Target>>) -> Policy {
        match self.apps.get(app_id) {
            Some(target) => target
                .as_ref()
                .map(|target| target.policy(method))
                .unwrap_or_default(),
            None => match other {
                // No app id has a slash.
                Some(other) if other.has_breakers() => other.policy(&format!("{app_id}/{method}")),
                Some(other) => other.policy(""),
                None => Policy::default(),
            },
        }
    }

    /// The policy of calls of a component that is loaded.
    pub fn component(&self, name: &str, kind: ComponentType, direction: Direction) -> Policy {
        if self.documents.is_empty() {
            return Policy::default();
        }
        let key = (direction, name.to_owned());
        let known = {
            let known = self.components.read();
            let known = known.unwrap_or_else(PoisonError::into_inner);
            known.get(&key).cloned()
        };
        let component = known.unwrap_or_else(|| {
            let target = self.component_target(&key, kind, None);
            let component = Component { kind, target };
            let known = self.components.write();
            let mut known = known.unwrap_or_else(PoisonError::into_inner);
            known.entry(key).or_insert(component).clone()
        });
        let target = component.target;
        target.map(|target| target.policy("")).unwrap_or_default()
    }

    fn component_target(
        &self,
        (direction, name): &(Direction, String),
        kind: ComponentType,
        before: Option<&Target>,
    ) -> Option<Arc<Target>> {
        let settings = match self.merged.components.get(name) {
            Some(component) => component.of(*direction).clone(),
            None => self.merged.default_of_component(kind, *direction),
        };
        let labels = labels(&settings, *direction, format!("{}_{name}", kind.name()));
        Target::new(settings, &labels, before, &self.clock)
    }

    fn take_components(&self, before: &Self) {
        let old = {
            let old = before.components.read();
            let old = old.unwrap_or_else(PoisonError::into_inner);
            old.clone()
        };
        let taken: HashMap<_, _> = old
            .into_iter()
            .map(|(key, Component { kind, target })| {
                let target = self.component_target(&key, kind, target.as_deref());
                (key, Component { kind, target })
            })
            .collect();
        let mut components = self
            .components
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        *components = taken;
    }

    fn show_loaded(&self, before: &Self) {
        for old in &before.documents {
            if !self.documents.contains(old) {
                meters::loaded(&old.name, &old.namespace, false);
            }
        }
        for source in &self.documents {
            meters::loaded(&source.name, &source.namespace, true);
        }
    }
}

fn labels(settings: &Settings, direction: Direction, target: String) -> Labels {
    let Source { name, namespace } = settings.source.clone();
    Labels {
        name,
        namespace,
        direction,
        target: target.into(),
    }
}

#[cfg(test)]
mod tests;
