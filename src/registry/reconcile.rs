//! The one writer of the registry: brings the components that run in line with the resources.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arc_swap::ArcSwap;
use futures_util::future::join_all;
use tokio::sync::watch;
use tokio::time::timeout;
use tracing::info;

use super::endpoints::Endpoints;
use super::pipelines::Pipelines;
use super::plan::{Plan, groups, plan};
use super::referrer::Referrer;
use super::report::{self, Failure, Report};
use super::resiliencies::Resiliencies;
use super::resolve;
use super::rules::{Rules, at_next_start};
use super::running::{Limits, Running, secret_store};
use super::snapshot::{FailedComponent, NamedEndpoint, Snapshot};
use super::sources::Sources;
use super::subscriptions::Subscriptions;
use super::{Error, Registry, RegistryConfig};
use crate::components::catalog;
use crate::process::tasks::with_causes;
use crate::resources::component::Component;
use crate::resources::configuration::Configuration;
use crate::resources::decode::{Document, Resources};
use crate::resources::resiliency::Resiliency;
use crate::resources::subscription::Subscription;

pub(super) struct Reconciler {
    pub(super) config: RegistryConfig,
    rules: Rules,
    /// The part of the configuration that was taken over at the start and stays.
    taken_at_start: Configuration,
    snapshot: Arc<ArcSwap<Snapshot>>,
    changes: watch::Sender<()>,
    pub(super) running: BTreeMap<String, Running>,
    /// The components that are written down, in the last version that could be read.
    pub(super) written: Vec<Component>,
    resiliencies: Resiliencies,
    pub(super) endpoints: Endpoints,
    subscriptions: Subscriptions,
    report: Report,
    /// Component types that the metrics have seen.
    loaded_types: BTreeSet<String>,
}

impl Reconciler {
    /// Nothing runs yet.
    pub(super) fn new(config: RegistryConfig, rules: Rules) -> Self {
        Self {
            config,
            taken_at_start: at_next_start(&rules.configuration),
            rules,
            snapshot: Arc::new(ArcSwap::from_pointee(Snapshot::default())),
            changes: watch::Sender::new(()),
            running: BTreeMap::new(),
            written: Vec::new(),
            resiliencies: Resiliencies::default(),
            endpoints: Endpoints::default(),
            subscriptions: Subscriptions::default(),
            report: Report::default(),
            loaded_types: BTreeSet::new(),
        }
    }

    /// What is published.
    pub(super) fn registry(&self) -> Registry {
        Registry {
            snapshot: Arc::clone(&self.snapshot),
            changes: self.changes.subscribe(),
        }
    }

    /// Starts what is written down. The answer are the failures without which the sidecar may not
    /// start.
    pub(super) async fn load(
        &mut self,
        resources: Resources,
        mut warnings: Vec<String>,
    ) -> Result<Vec<String>, Error> {
        self.written = resources.components;
        self.take_resiliencies(resources.resiliencies, &[])
            .map_err(Error::Resources)?;
        let endpoints = resources.http_endpoints;
        self.endpoints.take_written(endpoints, &BTreeSet::new());
        self.take_subscriptions(resources.subscriptions, &BTreeSet::new());
        let plan = self.plan()?;
        warnings.extend(resources.warnings);
        warnings.extend(report::left_out(&plan));
        warnings.extend(self.resiliencies.warnings());
        warnings.extend(self.subscriptions.warnings());
        self.report.warnings(warnings.into_iter());
        Ok(self.apply(plan).await)
    }

    /// Reads everything again. What cannot be read leaves its last good version in place.
    pub(super) async fn reconcile(&mut self, sources: &mut Sources) {
        let mut warnings = sources.in_the_way();
        let mut texts = BTreeMap::new();
        let problems = match sources.resources().await {
            Ok(mut resources) => {
                self.take_rules(sources, &resources.policies, &mut warnings, &mut texts);
                warnings.append(&mut resources.warnings);
                self.take_written(resources)
            }
            Err(problem) => vec![problem],
        };
        warnings.extend(self.resiliencies.warnings());
        warnings.extend(self.subscriptions.warnings());
        let place = |problem: &crate::resources::Error| problem.place();
        texts.extend(problems.iter().map(|one| (place(one), with_causes(one))));
        match self.plan() {
            Ok(plan) => {
                warnings.extend(report::left_out(&plan));
                // Nothing is fatal any more: what fails is left out, or runs on as it was.
                let _ = self.apply(plan).await;
            }
            Err(problem) => {
                texts.insert("components".to_owned(), with_causes(&problem));
            }
        }
        self.report.warnings(warnings.into_iter());
        self.report.problems(texts);
    }

    /// Takes over the rules as far as they can be read; those that cannot stay as they were.
    fn take_rules(
        &mut self,
        sources: &Sources,
        policies: &[Document],
        warnings: &mut Vec<String>,
        problems: &mut BTreeMap<String, String>,
    ) {
        let mut rules = self.rules.clone();
        let choice = self.config.choice();
        match choice.policy(policies, sources.in_the_way_of_policies()) {
            Ok(policy) => rules.policy = Arc::new(policy),
            Err(problem) => {
                problems.insert("policy".to_owned(), with_causes(&problem));
            }
        }
        warnings.extend(choice.without_effect(policies));
        match sources.configuration() {
            Ok((configuration, more)) => {
                warnings.extend(more);
                if at_next_start(&configuration) != self.taken_at_start {
                    warnings.push(report::AT_NEXT_START.to_owned());
                }
                rules.configuration = Arc::new(configuration);
            }
            Err(problem) => {
                problems.insert("configuration".to_owned(), with_causes(&problem));
            }
        }
        self.limit(rules);
    }

    /// Takes over what is written down now. Of a file with problems, components that are nowhere
    /// else stay as they were.
    fn take_written(&mut self, resources: Resources) -> Vec<crate::resources::Error> {
        let mut written = resources.components;
        let names: BTreeSet<_> = written.iter().map(|now| now.name.clone()).collect();
        let places: BTreeSet<_> = resources.problems.iter().map(|one| one.place()).collect();
        let kept = self
            .written
            .drain(..)
            .filter(|old| places.contains(&old.origin.place()) && !names.contains(&old.name));
        written.extend(kept);
        self.written = written;
        let endpoints = resources.http_endpoints;
        self.endpoints.take_written(endpoints, &places);
        self.take_subscriptions(resources.subscriptions, &places);
        let mut problems = resources.problems;
        if let Err(more) = self.take_resiliencies(resources.resiliencies, &problems) {
            problems.extend(more);
        }
        problems
    }

    fn take_resiliencies(
        &mut self,
        written: Vec<Resiliency>,
        problems: &[crate::resources::Error],
    ) -> Result<(), Vec<crate::resources::Error>> {
        let mut resiliencies = std::mem::take(&mut self.resiliencies);
        let filter = self.config.filter(&self.rules);
        let taken = resiliencies.take(written, problems, &filter);
        self.resiliencies = resiliencies;
        taken
    }

    fn take_subscriptions(&mut self, written: Vec<Subscription>, places: &BTreeSet<String>) {
        self.subscriptions.take_written(written, places);
        let filter = self.config.filter(&self.rules);
        self.subscriptions.choose(&filter);
    }

    fn plan(&self) -> Result<Plan, Error> {
        let filter = self.config.filter(&self.rules);
        Ok(plan(self.written.clone(), &filter)?)
    }

    /// Starts what is new or changed, drops what is gone, and publishes. What needs nothing of each
    /// other starts at once: a store that hangs holds up only those that need it. The answer
    /// are the failures without which the sidecar may not start.
    async fn apply(&mut self, plan: Plan) -> Vec<String> {
        let mut next: BTreeMap<String, Running> = BTreeMap::new();
        let mut failed: Vec<_> = plan
            .unserved
            .iter()
            .map(|component| FailedComponent::new(component, report::UNSERVED.to_owned(), false))
            .collect();
        let mut fatal = Vec::new();
        for group in groups(plan.components, self.config.default_store()) {
            let starting = group.iter().map(|component| {
                let old = self.running.get(&component.name);
                self.bring_up(component, old, &next)
            });
            let brought_up = join_all(starting).await;
            for (component, outcome) in group.into_iter().zip(brought_up) {
                let failure = match outcome {
                    Ok(running) => {
                        next.insert(component.name, running);
                        continue;
                    }
                    Err(failure) => failure,
                };
                let old = self.running.get(&component.name).cloned();
                let keeps_old = old.is_some();
                self.report.failure(&component, &failure, keeps_old);
                if failure.is_fatal {
                    fatal.push(failure.reason.clone());
                }
                failed.push(FailedComponent::new(&component, failure.reason, keeps_old));
                next.extend(old.map(|old| (component.name, old)));
            }
        }
        let filter = self.config.filter(&self.rules);
        let resolver = self.config.resolver(&self.rules);
        let stores = |name: &str| secret_store(&next, name);
        let endpoints = self.endpoints.apply(&filter, &resolver, stores).await;
        self.publish(next, failed, endpoints);
        fatal
    }

    async fn bring_up(
        &self,
        component: &Component,
        old: Option<&Running>,
        running: &BTreeMap<String, Running>,
    ) -> Result<Running, Failure> {
        let resolver = self.config.resolver(&self.rules);
        let stores = |name: &str| secret_store(running, name);
        let unresolved = |problem: resolve::Error| Failure {
            detail: problem.detail(),
            reason: problem.to_string(),
            is_fatal: false,
        };
        let references = resolver
            .references(&Referrer::from(component), stores)
            .await
            .map_err(unresolved)?;
        if let Some(old) = old
            && old.component.same_as(component)
            && *old.references == references
        {
            return Ok(old.clone());
        }
        let resolved = resolver.fill(component, &references).map_err(unresolved)?;
        let building = catalog::build(&resolved, self.config.host());
        let label = component.label();
        let built = match timeout(component.init_timeout, building).await {
            Ok(Ok(backend)) => Ok(backend),
            Ok(Err(problem)) => Err((problem.code(), with_causes(&problem))),
            Err(_) => {
                let problem = format!("init timeout for component {label}");
                Err(("INIT_COMPONENT_FAILURE", problem))
            }
        };
        let component_type = component.component_type.clone();
        let backend = built.map_err(|(code, problem)| {
            metrics::counter!("dapr_runtime_component_init_fail_total",
                "component" => component_type.clone())
            .increment(1);
            let name = &component.name;
            Failure {
                reason: format!(
                    "process component {name} error: [{code}]: initialization error occurred for \
                     {label}: {problem}"
                ),
                detail: None,
                is_fatal: !component.ignore_errors,
            }
        })?;
        metrics::counter!("dapr_runtime_component_init_total", "component" => component_type)
            .increment(1);
        let verb = if old.is_some() { "updated" } else { "loaded" };
        info!("Component {verb}: {label}");
        Ok(Running::new(component, references, backend, &self.limits()))
    }

    /// Takes over new rules, also for components that run.
    fn limit(&mut self, rules: Rules) {
        if self.rules == rules {
            return;
        }
        info!("The rules for secrets and components changed");
        self.rules = rules;
        let mut running = std::mem::take(&mut self.running);
        for run in running.values_mut() {
            run.limit(&self.limits());
        }
        self.running = running;
    }

    fn limits(&self) -> Limits<'_> {
        Limits {
            rules: &self.rules,
            namespace: self.config.namespace.as_deref().unwrap_or_default(),
        }
    }

    fn publish(
        &mut self,
        next: BTreeMap<String, Running>,
        failed: Vec<FailedComponent>,
        endpoints: BTreeMap<String, NamedEndpoint>,
    ) {
        self.report.keep(&failed);
        for (name, gone) in &self.running {
            if !next.contains_key(name) {
                info!("Component removed: {}", gone.component.label());
            }
        }
        let types = next
            .values()
            .map(|run| run.component.component_type.clone());
        self.loaded_types.extend(types);
        for component_type in &self.loaded_types {
            let of_type = |run: &&Running| run.component.component_type == *component_type;
            let count = u32::try_from(next.values().filter(of_type).count()).unwrap_or(u32::MAX);
            metrics::gauge!("dapr_runtime_component_loaded",
                "component" => component_type.clone())
            .set(count);
        }
        self.snapshot.store(Arc::new(Snapshot {
            components: next.values().map(Running::loaded).collect(),
            failed,
            endpoints,
            configuration: Arc::clone(&self.rules.configuration),
            policy: Arc::clone(&self.rules.policy),
            resiliency: self.resiliencies.current(),
            pipelines: Pipelines::new(&self.taken_at_start, &next),
            secret_stores: by_name(&next, |run| run.secret_store.clone()),
            pubsubs: by_name(&next, |run| run.pubsub.clone()),
            bindings: by_name(&next, |run| run.binding.clone()),
            states: by_name(&next, |run| run.state.clone()),
            configurations: by_name(&next, |run| run.backend.configuration().cloned()),
            locks: by_name(&next, |run| run.backend.lock().cloned()),
            subscriptions: self.subscriptions.current(),
        }));
        self.running = next;
        self.changes.send_replace(());
    }
}

/// The components of one kind.
fn by_name<T, M: FromIterator<(String, T)>>(
    running: &BTreeMap<String, Running>,
    kind: impl Fn(&Running) -> Option<T>,
) -> M {
    let of_kind = running
        .iter()
        .filter_map(|(name, run)| Some((name.clone(), kind(run)?)));
    of_kind.collect()
}
