//! Several documents as one: policies and targets of the same name replace those before them, and
//! the names that targets use are looked up. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::{ComponentType, Direction};
use crate::base::names::nearest;
use crate::resources::Error;
use crate::resources::resiliency::codes::Codes;
use crate::resources::resiliency::{
    CircuitBreaker, DEFAULT_BREAKERS, Matching, Pauses, PolicyNames, Resiliency as Document, Retry,
};

/// The retries of calls to apps for which nothing is said (Dapr 1.18).
pub(super) const SERVICE_RETRIES: &str = "DaprBuiltInServiceRetries";
/// Policies that are there without being written, for parts of Dapr that this build does not serve.
const WITHOUT_EFFECT: [&str; 4] = [
    "DaprBuiltInActorNotFoundRetries",
    "DaprBuiltInActorReminderRetries",
    "DaprBuiltInActorRetries",
    "DaprBuiltInInitializationRetries",
];

/// The document that something stands in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Source {
    pub(super) name: Arc<str>,
    pub(super) namespace: Arc<str>,
}

/// What counts for one target.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Settings {
    pub(super) source: Source,
    pub(super) timeout: Option<Duration>,
    pub(super) retry: Option<Retry>,
    pub(super) breaker: Option<CircuitBreaker>,
    /// The most circuit breakers.
    pub(super) breakers: usize,
}

/// Policies of one kind by name, each with where it stands.
type Policies<T> = BTreeMap<String, (Source, T)>;

/// What all documents say together.
pub(super) struct Merged {
    timeouts: Policies<Duration>,
    retries: Policies<Retry>,
    breakers: Policies<CircuitBreaker>,
    pub(super) apps: BTreeMap<String, Settings>,
    pub(super) components: BTreeMap<String, OfComponent>,
}

/// What counts for one component.
pub(super) struct OfComponent {
    outbound: Settings,
    inbound: Settings,
}

impl OfComponent {
    pub(super) fn of(&self, direction: Direction) -> &Settings {
        match direction {
            Direction::Outbound => &self.outbound,
            Direction::Inbound => &self.inbound,
        }
    }
}

impl Default for Merged {
    /// The policies that are there without being written.
    fn default() -> Self {
        let retry = Retry {
            pauses: Pauses::Constant(Duration::from_secs(1)),
            max_retries: Some(3),
            max_duration: None,
            matching: Matching::default(),
        };
        let names = WITHOUT_EFFECT.into_iter().chain([SERVICE_RETRIES]);
        let built_in = names.map(|name| (name.to_owned(), (Source::default(), retry.clone())));
        Self {
            timeouts: BTreeMap::new(),
            retries: built_in.collect(),
            breakers: BTreeMap::new(),
            apps: BTreeMap::new(),
            components: BTreeMap::new(),
        }
    }
}

impl Merged {
    /// Puts documents together, in their order.
    ///
    /// # Errors
    ///
    /// Every target that names a policy which no document has.
    pub(super) fn of(documents: &[Document]) -> Result<Self, Vec<Error>> {
        let mut merged = Self::default();
        for document in documents {
            merged.add_policies(document);
        }
        let mut problems = Vec::new();
        for document in documents {
            merged.add_targets(document, &mut problems);
        }
        if problems.is_empty() {
            Ok(merged)
        } else {
            Err(problems)
        }
    }

    fn add_policies(&mut self, document: &Document) {
        let source = Source::of(document);
        add(&mut self.timeouts, &document.timeouts, &source);
        add(&mut self.retries, &document.retries, &source);
        add(&mut self.breakers, &document.circuit_breakers, &source);
    }

    fn add_targets(&mut self, document: &Document, problems: &mut Vec<Error>) {
        for (id, app) in &document.apps {
            let path = format!("spec.targets.apps.{id}");
            let mut settings = self.settings(document, &path, &app.names, problems);
            settings.breakers = app.breakers;
            self.apps.insert(id.clone(), settings);
        }
        for (name, component) in &document.components {
            let path = format!("spec.targets.components.{name}");
            let mut side = |side: &str, names: &PolicyNames| {
                self.settings(document, &format!("{path}.{side}"), names, problems)
            };
            let component = OfComponent {
                outbound: side("outbound", &component.outbound),
                inbound: side("inbound", &component.inbound),
            };
            self.components.insert(name.clone(), component);
        }
        for (actor, names) in &document.actors {
            let path = format!("spec.targets.actors.{actor}");
            self.settings(document, &path, names, problems);
        }
    }

    fn settings(
        &self,
        document: &Document,
        path: &str,
        names: &PolicyNames,
        problems: &mut Vec<Error>,
    ) -> Settings {
        let mut tell = |field: &str, problem: String| {
            problems.push(Error::Field {
                origin: document.origin.clone(),
                field: format!("{path}.{field}"),
                problem,
            });
        };
        let timeout = find(&self.timeouts, names.timeout.as_deref(), "timeout");
        let timeout = timeout.unwrap_or_else(|problem| {
            tell("timeout", problem);
            None
        });
        let retry = find(&self.retries, names.retry.as_deref(), "retry");
        let retry = retry.unwrap_or_else(|problem| {
            tell("retry", problem);
            None
        });
        let breaker = names.circuit_breaker.as_deref();
        let breaker = find(&self.breakers, breaker, "circuit breaker");
        let breaker = breaker.unwrap_or_else(|problem| {
            tell("circuitBreaker", problem);
            None
        });
        Settings {
            source: Source::of(document),
            timeout: limited(timeout),
            retry,
            breaker,
            breakers: DEFAULT_BREAKERS,
        }
    }

    /// What counts for apps that no target names.
    pub(super) fn default_of_apps(&self) -> Settings {
        self.default_of(&["App", ""])
    }

    /// What counts for a component that no target names.
    pub(super) fn default_of_component(
        &self,
        kind: ComponentType,
        direction: Direction,
    ) -> Settings {
        let direction = match direction {
            Direction::Outbound => "Outbound",
            Direction::Inbound => "Inbound",
        };
        let whole = format!("{}Component{direction}", kind.name());
        self.default_of(&[&whole, &format!("Component{direction}"), "Component", ""])
    }

    /// The policies `Default…Policy` for these levels, the first that is there of each kind.
    fn default_of(&self, levels: &[&str]) -> Settings {
        let timeout = first(&self.timeouts, levels, "Timeout");
        let retry = first(&self.retries, levels, "Retry");
        let breaker = first(&self.breakers, levels, "CircuitBreaker");
        let sources = [
            retry.map(|(source, _)| source),
            timeout.map(|(source, _)| source),
            breaker.map(|(source, _)| source),
        ];
        Settings {
            source: sources
                .into_iter()
                .flatten()
                .next()
                .cloned()
                .unwrap_or_default(),
            timeout: limited(timeout.map(|(_, timeout)| *timeout)),
            retry: retry.map(|(_, retry)| retry.clone()),
            breaker: breaker.map(|(_, breaker)| breaker.clone()),
            breakers: DEFAULT_BREAKERS,
        }
    }

    /// The retries of calls to apps for which nothing is said. An answer, whatever it says, is
    /// none of their business.
    pub(super) fn service_retries(&self) -> Option<Retry> {
        let (_, retry) = self.retries.get(SERVICE_RETRIES)?;
        Some(Retry {
            matching: Matching {
                http: Codes::NONE,
                grpc: Codes::NONE,
            },
            ..retry.clone()
        })
    }
}

impl Source {
    pub(super) fn of(document: &Document) -> Self {
        Self {
            name: document.name.as_str().into(),
            namespace: document.namespace.as_deref().unwrap_or_default().into(),
        }
    }
}

fn add<T: Clone>(all: &mut Policies<T>, of_document: &BTreeMap<String, T>, source: &Source) {
    let named = of_document.iter();
    all.extend(named.map(|(name, policy)| (name.clone(), (source.clone(), policy.clone()))));
}

fn find<T: Clone>(
    known: &Policies<T>,
    name: Option<&str>,
    kind: &str,
) -> Result<Option<T>, String> {
    let Some(name) = name else {
        return Ok(None);
    };
    if let Some((_, policy)) = known.get(name) {
        return Ok(Some(policy.clone()));
    }
    let hint = nearest(name, known.keys().map(String::as_str))
        .map(|near| format!("; did you mean {near:?}?"))
        .unwrap_or_default();
    Err(format!(
        "no Resiliency of this app has a {kind} {name:?}{hint}"
    ))
}

fn first<'a, T>(known: &'a Policies<T>, levels: &[&str], kind: &str) -> Option<&'a (Source, T)> {
    let mut names = levels
        .iter()
        .map(|level| format!("Default{level}{kind}Policy"));
    names.find_map(|name| known.get(&name))
}

/// Zero is no limit.
fn limited(timeout: Option<Duration>) -> Option<Duration> {
    timeout.filter(|time| !time.is_zero())
}

/// What is written and has no effect, though the user may think that it has.
pub(super) fn without_effect(document: &Document) -> Vec<String> {
    let origin = &document.origin;
    let mut fields = Vec::new();
    if !document.actors.is_empty() {
        fields.push("spec.targets.actors".to_owned());
    }
    for name in document.retries.keys() {
        if WITHOUT_EFFECT.contains(&name.as_str()) {
            fields.push(format!("spec.policies.retries.{name}"));
        }
    }
    let warning = |field| format!("{origin}: {field} has no effect in this build");
    fields.into_iter().map(warning).collect()
}
