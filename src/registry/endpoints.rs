//! Brings the HTTP endpoints that can be called in line with the resources. One that fails holds
//! up nothing: neither the others, nor the start.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures_util::future::join_all;
use tracing::{error, info};

use super::plan::Filter;
use super::referrer::Referrer;
use super::resolve::{References, Resolver};
use super::snapshot::{LoadedSecretStore, NamedEndpoint};
use crate::base::secret::Secret;
use crate::endpoints::{Endpoint, Settings};
use crate::resources::http_endpoint::{HttpEndpoint, Spec};
use crate::resources::property::Source;

/// The endpoints of the registry.
#[derive(Default)]
pub(super) struct Endpoints {
    /// Those that are written down, in the last version that could be read.
    written: Vec<HttpEndpoint>,
    running: BTreeMap<String, Running>,
    /// Failures that were logged and are still so, by name.
    logged: BTreeMap<String, String>,
}

/// An endpoint that can be called.
#[derive(Clone)]
struct Running {
    written: HttpEndpoint,
    references: References,
    endpoint: Arc<Endpoint>,
}

/// Why an endpoint cannot be called.
struct Failure {
    reason: String,
    /// What only operators should know: for the log.
    detail: Option<String>,
}

impl From<String> for Failure {
    fn from(reason: String) -> Self {
        Self {
            reason,
            detail: None,
        }
    }
}

impl Endpoints {
    /// Takes over what is written down now. Of `places` that have problems, endpoints that are
    /// nowhere else stay as they were.
    pub(super) fn take_written(&mut self, now: Vec<HttpEndpoint>, places: &BTreeSet<String>) {
        let names: BTreeSet<_> = now.iter().map(|one| one.name.clone()).collect();
        let old = std::mem::replace(&mut self.written, now).into_iter();
        self.written.extend(old.filter(|old| {
            places.contains(&old.origin.place()) && !names.contains(old.name.as_str())
        }));
    }

    /// What they refer to.
    pub(super) fn referrers(&self) -> impl Iterator<Item = Referrer<'_>> {
        self.written.iter().map(Referrer::from)
    }

    /// Builds what is new or changed, and drops what is gone. A broken version leaves the one
    /// before in place.
    pub(super) async fn apply(
        &mut self,
        filter: &Filter<'_>,
        resolver: &Resolver<'_>,
        stores: impl Fn(&str) -> Option<Arc<LoadedSecretStore>>,
    ) -> BTreeMap<String, NamedEndpoint> {
        let mut by_name: BTreeMap<&str, Vec<&HttpEndpoint>> = BTreeMap::new();
        for written in &self.written {
            if filter.admits(written.namespace.as_deref(), &written.scopes) {
                by_name.entry(&written.name).or_default().push(written);
            }
        }
        let building = by_name.iter().map(|(&name, written)| {
            let old = self.running.get(name);
            build(written, old, resolver, &stores)
        });
        let built = join_all(building).await;
        let names: Vec<_> = by_name.into_keys().map(str::to_owned).collect();
        let mut running = BTreeMap::new();
        let mut named = BTreeMap::new();
        for (name, outcome) in names.into_iter().zip(built) {
            let old = self.running.remove(&name);
            let (now, failure) = match outcome {
                Ok(now) => (Some(now), None),
                Err(failure) => (old, Some(failure)),
            };
            self.log(&name, now.is_some(), failure.as_ref());
            named.insert(
                name.clone(),
                NamedEndpoint {
                    running: now.as_ref().map(|now| Arc::clone(&now.endpoint)),
                    failure: failure.map(|failure| failure.reason),
                },
            );
            running.extend(now.map(|now| (name, now)));
        }
        for name in self.running.keys() {
            info!("HTTPEndpoint removed: {name}");
        }
        self.running = running;
        self.forget_all_but(&named);
        named
    }

    fn log(&mut self, name: &str, runs: bool, failure: Option<&Failure>) {
        set_failed(name, failure.is_some());
        let Some(Failure { reason, detail }) = failure else {
            self.logged.remove(name);
            return;
        };
        let text = match detail {
            None => reason.clone(),
            Some(detail) => format!("{reason}: {detail}"),
        };
        if self.logged.get(name) == Some(&text) {
            return;
        }
        let message = if runs {
            "Kept the running version of an HTTPEndpoint"
        } else {
            "HTTPEndpoint is not loaded; calls to it fail"
        };
        error!(endpoint = name, error = text, "{message}");
        self.logged.insert(name.to_owned(), text);
    }

    fn forget_all_but(&mut self, named: &BTreeMap<String, NamedEndpoint>) {
        self.logged.retain(|name, _| {
            let still = named.contains_key(name);
            if !still {
                set_failed(name, false);
            }
            still
        });
    }
}

fn set_failed(endpoint: &str, failed: bool) {
    metrics::gauge!("sidegate_http_endpoint_failed", "endpoint" => endpoint.to_owned())
        .set(f64::from(u8::from(failed)));
}

async fn build(
    written: &[&HttpEndpoint],
    old: Option<&Running>,
    resolver: &Resolver<'_>,
    stores: &impl Fn(&str) -> Option<Arc<LoadedSecretStore>>,
) -> Result<Running, Failure> {
    let written = match *written {
        [first, second, ..] => {
            let places = format!("{} and {}", first.origin, second.origin);
            return Err(format!("it is defined more than once: {places}").into());
        }
        ref one => one[0],
    };
    let spec = written.spec.as_ref().map_err(Clone::clone)?;
    let references = resolver.references(&Referrer::from(written), stores).await;
    let references = references.map_err(|problem| Failure {
        detail: problem.detail(),
        reason: problem.to_string(),
    })?;
    if let Some(old) = old
        && old.written.same_as(written)
        && old.references == references
    {
        return Ok(old.clone());
    }
    let settings = settings(&written.name, spec, &references);
    let endpoint = Endpoint::build(&settings).map_err(|error| error.to_string())?;
    let verb = if old.is_some() { "updated" } else { "loaded" };
    info!(
        "HTTPEndpoint {verb}: {} ({})",
        written.name, settings.base_url
    );
    Ok(Running {
        written: written.clone(),
        references,
        endpoint: Arc::new(endpoint),
    })
}

/// Puts references and literals together; both are taken as they are. References are in the order
/// of [`Spec::values`].
fn settings(name: &str, spec: &Spec, references: &References) -> Settings {
    let mut references = references.iter();
    let mut value = |source: &Source| match (source, references.next()) {
        (Source::Literal(text), _) => Secret::new(text.as_str()),
        (_, reference) => reference.cloned().flatten().unwrap_or_default(),
    };
    let headers = spec.headers.iter();
    let headers = headers
        .map(|(name, source)| (name.clone(), value(source)))
        .collect();
    let tls = &spec.client_tls;
    let root_ca = tls.root_ca.as_ref().map(&mut value);
    let certificate = tls.certificate.as_ref().map(&mut value);
    let private_key = tls.private_key.as_ref().map(&mut value);
    Settings {
        name: name.to_owned(),
        base_url: spec.base_url.clone(),
        headers,
        root_ca,
        identity: certificate.zip(private_key),
    }
}
