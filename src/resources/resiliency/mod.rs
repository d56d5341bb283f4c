//! Resiliency: what is done when calls fail, as written. Policies have names, and targets (apps and
//! components) say which of them count.
//!
//! A policy that is misspelt would leave calls without it, silently, so a field that is not known
//! is an error. Whether the names of policies exist is known only when all documents are together
//! (`crate::resiliency`).

use std::collections::BTreeMap;
use std::time::Duration;

use super::decode::{Document, Text};
use super::property::path_segment_problem;
use super::{Error, Origin};
use crate::base::duration::parse_go_duration;
use codes::Codes;
use trip::Trip;
use wire::{Raw, RawCircuitBreaker, RawNames, RawPolicies, RawRetry, RawTargets};

pub mod codes;
pub mod trip;
mod wire;

/// The pause between two tries where a policy says none (Dapr 1.18).
const PAUSE: Duration = Duration::from_secs(5);
/// The numbers of exponential pauses, which Dapr 1.18 lets nobody choose but the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
const GROWTH: f64 = 1.5;
const JITTER: f64 = 0.5;
const LONGEST_RETRY: Duration = Duration::from_secs(15 * 60);
/// How long a breaker stays open where it does not say (Dapr 1.18).
const OPEN_TIME: Duration = Duration::from_secs(60);
/// How many breakers an app has where it does not say (Dapr 1.18).
pub const DEFAULT_BREAKERS: usize = 100;
/// The most breakers that an app may have.
const MAX_BREAKERS: i64 = 10_000;

/// One document.
#[derive(Clone, Debug, PartialEq)]
pub struct Resiliency {
    /// Where it stands.
    pub origin: Origin,
    /// Its name.
    pub name: String,
    /// Its namespace, where the manifest has one.
    pub namespace: Option<String>,
    /// The apps that it is for; empty means all.
    pub scopes: Vec<String>,
    /// Timeouts by name: the time of one try. Zero is no limit.
    pub timeouts: BTreeMap<String, Duration>,
    /// Retries by name.
    pub retries: BTreeMap<String, Retry>,
    /// Circuit breakers by name.
    pub circuit_breakers: BTreeMap<String, CircuitBreaker>,
    /// What counts for calls to apps, by app id.
    pub apps: BTreeMap<String, AppTarget>,
    /// What counts for components, by name.
    pub components: BTreeMap<String, ComponentTarget>,
    /// What is written for actors, by type. It has no effect.
    pub actors: BTreeMap<String, PolicyNames>,
}

/// When and how often a call is tried again.
#[derive(Clone, Debug, PartialEq)]
pub struct Retry {
    /// The pauses between two tries.
    pub pauses: Pauses,
    /// The most tries after the first one; `None` is no limit.
    pub max_retries: Option<u32>,
    /// No try begins after this time since the first one.
    pub max_duration: Option<Duration>,
    /// The failures that are tried again, among those with a status.
    pub matching: Matching,
}

/// The pauses between two tries.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pauses {
    /// All of one length.
    Constant(Duration),
    /// Longer and longer ones.
    Exponential {
        /// The first one.
        first: Duration,
        /// The longest one.
        longest: Duration,
        /// How much longer each is than the one before.
        growth: f64,
        /// How far a pause may be from its length at random, as a part of it.
        jitter: f64,
    },
}

/// The statuses of failures that are tried again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Matching {
    /// Those of HTTP.
    pub http: Codes,
    /// Those of gRPC.
    pub grpc: Codes,
}

/// When calls are not even tried.
#[derive(Clone, Debug, PartialEq)]
pub struct CircuitBreaker {
    /// How many calls are let through to find out whether the target works again, and how many of
    /// them have to succeed.
    pub max_requests: u32,
    /// After this time what was counted is forgotten.
    pub interval: Option<Duration>,
    /// How long it stays open.
    pub timeout: Duration,
    /// When it opens.
    pub trip: Trip,
}

/// The names of the policies of a target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PolicyNames {
    /// Of a timeout.
    pub timeout: Option<String>,
    /// Of a retry.
    pub retry: Option<String>,
    /// Of a circuit breaker.
    pub circuit_breaker: Option<String>,
}

/// What counts for calls to an app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppTarget {
    /// Its policies.
    pub names: PolicyNames,
    /// The most circuit breakers: one for each method that is called.
    pub breakers: usize,
}

/// What counts for a component.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ComponentTarget {
    /// For calls to it.
    pub outbound: PolicyNames,
    /// For its calls to the app.
    pub inbound: PolicyNames,
}

impl PolicyNames {
    /// Whether none is named.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A field with what is wrong with it.
type Problem = (String, String);

impl Resiliency {
    pub(crate) fn decode(document: Document) -> Result<Self, Error> {
        let origin = document.origin.clone();
        Self::read(document).map_err(|failure| match failure {
            Failure::Error(error) => error,
            Failure::Problem((field, problem)) => Error::Field {
                origin,
                field,
                problem,
            },
        })
    }

    fn read(document: Document) -> Result<Self, Failure> {
        if let Some(problem) = wire::unknown_field(&document.value) {
            return Err(problem.into());
        }
        let origin = document.origin.clone();
        let raw: Raw = document.into_typed().map_err(Failure::Error)?;
        let name = raw.metadata.name.0;
        if let Some(problem) = path_segment_problem(&name) {
            let problem = format!("invalid name {name:?} for \"Resiliency\": {problem}");
            return Err(("metadata.name".to_owned(), problem).into());
        }
        let RawPolicies {
            timeouts,
            retries,
            circuit_breakers,
        } = raw.spec.policies;
        let RawTargets {
            apps,
            components,
            actors,
        } = raw.spec.targets;
        let component = |raw: wire::RawComponent| ComponentTarget {
            outbound: raw.outbound.into_names(),
            inbound: raw.inbound.into_names(),
        };
        Ok(Self {
            origin,
            name,
            namespace: raw.metadata.namespace.map(|text| text.0),
            scopes: raw.scopes.into_iter().map(|text| text.0).collect(),
            timeouts: each("spec.policies.timeouts", timeouts, |path, text| {
                duration(path, &text, Duration::ZERO)
            })?,
            retries: each("spec.policies.retries", retries, retry)?,
            circuit_breakers: each("spec.policies.circuitBreakers", circuit_breakers, breaker)?,
            apps: each("spec.targets.apps", apps, app)?,
            components: components
                .into_iter()
                .map(|(name, raw)| (name, component(raw)))
                .collect(),
            actors: actors
                .into_iter()
                .map(|(name, raw)| (name, raw.into_names()))
                .collect(),
        })
    }
}

enum Failure {
    Error(Error),
    Problem(Problem),
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

/// Reads every member of a map; `read` is given the path of the member.
fn each<R, T>(
    path: &str,
    raw: BTreeMap<String, R>,
    read: impl Fn(&str, R) -> Result<T, Problem>,
) -> Result<BTreeMap<String, T>, Problem> {
    raw.into_iter()
        .map(|(name, raw)| {
            let read = read(&format!("{path}.{name}"), raw)?;
            Ok((name, read))
        })
        .collect()
}

/// A duration as Go writes it, or a number of milliseconds; `default` where the text is empty.
fn duration(path: &str, text: &str, default: Duration) -> Result<Duration, Problem> {
    if text.is_empty() {
        return Ok(default);
    }
    if let Ok(milliseconds) = text.parse() {
        return Ok(Duration::from_millis(milliseconds));
    }
    parse_go_duration(text).map_err(|error| (path.to_owned(), error.to_string()))
}

fn retry(path: &str, raw: RawRetry) -> Result<Retry, Problem> {
    let at = |field: &str, problem: String| (format!("{path}.{field}"), problem);
    let pause = duration(&format!("{path}.duration"), &raw.duration, PAUSE)?;
    let longest = format!("{path}.maxInterval");
    let longest = duration(&longest, &raw.max_interval, LONGEST_PAUSE)?;
    let (pauses, max_duration) = match raw.policy.to_ascii_lowercase().as_str() {
        "" | "constant" => (Pauses::Constant(pause), None),
        "exponential" => {
            let pauses = Pauses::Exponential {
                first: FIRST_PAUSE,
                longest,
                growth: GROWTH,
                jitter: JITTER,
            };
            (pauses, Some(LONGEST_RETRY))
        }
        _ => {
            let problem = format!(
                "{:?} is no policy; accepted are \"constant\" and \"exponential\"",
                raw.policy
            );
            return Err(at("policy", problem));
        }
    };
    let max_retries = match raw.max_retries {
        None | Some(-1) => None,
        Some(number) => Some(u32::try_from(number).map_err(|_| {
            let problem = format!("{number} is no number of retries; accepted are -1 and above");
            at("maxRetries", problem)
        })?),
    };
    let has_no_pause = match pauses {
        Pauses::Constant(pause) => pause.is_zero(),
        Pauses::Exponential { longest, .. } => longest.is_zero(),
    };
    if has_no_pause && max_retries.is_none() {
        let problem = "without a pause it needs a limit on the number of retries".to_owned();
        return Err(at("maxRetries", problem));
    }
    let codes = |field: &str, text: &Text, valid| {
        Codes::parse(&text.0, valid).map_err(|problem| at(&format!("matching.{field}"), problem))
    };
    Ok(Retry {
        pauses,
        max_retries,
        max_duration,
        matching: Matching {
            http: codes("httpStatusCodes", &raw.matching.http, &codes::HTTP)?,
            grpc: codes("gRPCStatusCodes", &raw.matching.grpc, &codes::GRPC)?,
        },
    })
}

fn breaker(path: &str, raw: RawCircuitBreaker) -> Result<CircuitBreaker, Problem> {
    let at = |field: &str| format!("{path}.{field}");
    let interval = duration(&at("interval"), &raw.interval, Duration::ZERO)?;
    let timeout = duration(&at("timeout"), &raw.timeout, OPEN_TIME)?;
    let max_requests = raw.max_requests.unwrap_or_default();
    let max_requests = u32::try_from(max_requests).map_err(|_| {
        let problem = format!("{max_requests} is no number of calls; accepted are 1 and above");
        (at("maxRequests"), problem)
    })?;
    let trip = if raw.trip.is_empty() {
        Trip::default()
    } else {
        Trip::parse(&raw.trip).map_err(|problem| (at("trip"), problem))?
    };
    Ok(CircuitBreaker {
        max_requests: max_requests.max(1),
        interval: (!interval.is_zero()).then_some(interval),
        timeout: if timeout.is_zero() {
            OPEN_TIME
        } else {
            timeout
        },
        trip,
    })
}

fn app(path: &str, raw: RawNames) -> Result<AppTarget, Problem> {
    let breakers = match raw.circuit_breaker_cache_size {
        None | Some(0) => DEFAULT_BREAKERS,
        Some(size) => usize::try_from(size.min(MAX_BREAKERS + 1))
            .ok()
            .filter(|_| size <= MAX_BREAKERS)
            .ok_or_else(|| {
                let problem = format!("{size} is out of range; accepted are 1 to {MAX_BREAKERS}");
                (format!("{path}.circuitBreakerCacheSize"), problem)
            })?,
    };
    Ok(AppTarget {
        names: raw.into_names(),
        breakers,
    })
}

impl RawNames {
    fn into_names(self) -> PolicyNames {
        let named = |Text(name): Text| (!name.is_empty()).then_some(name);
        PolicyNames {
            timeout: named(self.timeout),
            retry: named(self.retry),
            circuit_breaker: named(self.circuit_breaker),
        }
    }
}

#[cfg(test)]
mod tests;
