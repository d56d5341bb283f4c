//! The one writer of the registry: brings the components that run in line with the resources.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arc_swap::ArcSwap;
use futures_util::future::select_all;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::builtin::KUBERNETES_STORE;
use super::plan::{Filter, Plan, plan};
use super::report::{self, Failure, Report};
use super::resolve::{self, References, Resolver};
use super::rules::{Choice, Rules};
use super::snapshot::{FailedComponent, LoadedComponent, LoadedSecretStore, Snapshot};
use super::{Error, Registry, RegistryConfig};
use crate::components::catalog::{self, Backend};
use crate::process::tasks::{BoxError, Tasks, with_causes};
use crate::process::watch_dir::DirWatch;
use crate::resources::component::Component;
use crate::resources::configuration::Configuration;
use crate::resources::decode::Resources;
use crate::resources::source::files;

/// The feature that can be switched off in a configuration (Dapr 1.18 has it on).
const HOT_RELOAD: &str = "HotReload";

/// Starts every component, and the task that follows changes.
pub(super) async fn start(
    config: RegistryConfig,
    tasks: &mut Tasks,
) -> Result<Arc<Registry>, Error> {
    let configuration = read_configuration(&config).await?;
    let follows = configuration.features.get(HOT_RELOAD) != Some(&false);
    // Watched before they are read, so that no change falls between the two.
    let mut watches = Vec::new();
    for folder in config.resource_paths.iter().filter(|_| follows) {
        watches.push(DirWatch::of_dir(folder)?);
    }
    info!("Loading components…");
    let resources = files::resources(&config.resource_paths).await?;
    if !resources.problems.is_empty() {
        return Err(Error::Resources(resources.problems));
    }
    let policy = config.choice().policy(&resources.policies)?;
    let snapshot = Arc::new(ArcSwap::from_pointee(Snapshot::default()));
    let mut reconciler = Reconciler {
        config,
        rules: Rules {
            configuration: Arc::new(configuration),
            policy: Arc::new(policy),
        },
        snapshot: Arc::clone(&snapshot),
        running: BTreeMap::new(),
        written: Vec::new(),
        report: Report::default(),
        loaded_types: BTreeSet::new(),
    };
    reconciler.written = resources.components;
    let plan = reconciler.plan()?;
    let mut warnings = resources.warnings;
    warnings.extend(
        reconciler
            .config
            .choice()
            .without_effect(&resources.policies),
    );
    warnings.extend(report::left_out(&plan));
    reconciler.report.warnings(warnings.into_iter());
    let fatal = reconciler.apply(plan).await;
    if !fatal.is_empty() {
        return Err(Error::Components(fatal));
    }
    info!("All outstanding components processed");
    report::warn_scopes_without_store(&snapshot.load());
    if !watches.is_empty() {
        let shutdown = tasks.shutdown();
        tasks.spawn("components", reconciler.follow(watches, shutdown));
    }
    Ok(Arc::new(Registry { snapshot }))
}

/// A configuration that cannot be read stops the start, since its restrictions would be lost.
async fn read_configuration(config: &RegistryConfig) -> Result<Configuration, Error> {
    if config.is_kubernetes {
        for name in &config.config_files {
            if !tokio::fs::try_exists(name).await.unwrap_or(false) {
                return Err(Error::ClusterConfiguration { name: name.clone() });
            }
        }
    }
    Ok(files::configuration(&config.config_files, &config.environment).await?)
}

impl RegistryConfig {
    fn choice(&self) -> Choice<'_> {
        Choice {
            name: self.policy.as_deref(),
            namespace: self.namespace.as_deref(),
        }
    }
}

struct Reconciler {
    config: RegistryConfig,
    rules: Rules,
    snapshot: Arc<ArcSwap<Snapshot>>,
    running: BTreeMap<String, Running>,
    /// The components that are written down, in the last version that could be read.
    written: Vec<Component>,
    report: Report,
    /// Component types that the metrics have seen.
    loaded_types: BTreeSet<String>,
}

/// A component that runs. Cheap to clone.
#[derive(Clone)]
struct Running {
    component: Arc<Component>,
    references: Arc<References>,
    backend: Backend,
    secret_store: Arc<LoadedSecretStore>,
}

impl Reconciler {
    async fn follow(
        mut self,
        mut watches: Vec<DirWatch>,
        shutdown: CancellationToken,
    ) -> Result<(), BoxError> {
        let period = self
            .config
            .reconcile_interval
            .max(std::time::Duration::from_secs(1));
        let mut ticks = interval_at(Instant::now() + period, period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = any_changed(&mut watches) => {}
                _ = ticks.tick() => {}
                () = shutdown.cancelled() => return Ok(()),
            }
            tokio::select! {
                () = self.reconcile() => {}
                () = shutdown.cancelled() => return Ok(()),
            }
        }
    }

    /// Reads everything again. What cannot be read leaves its last good version in place.
    async fn reconcile(&mut self) {
        let mut warnings = Vec::new();
        let mut texts = BTreeMap::new();
        let problems = match files::resources(&self.config.resource_paths).await {
            Ok(mut resources) => {
                warnings.append(&mut resources.warnings);
                let choice = self.config.choice();
                warnings.extend(choice.without_effect(&resources.policies));
                match choice.policy(&resources.policies) {
                    Ok(policy) => self.limit(Rules {
                        policy: Arc::new(policy),
                        ..self.rules.clone()
                    }),
                    Err(problem) => {
                        texts.insert("policy".to_owned(), with_causes(&problem));
                    }
                }
                self.take_written(resources)
            }
            Err(problem) => vec![problem],
        };
        let place = |problem: &crate::resources::Error| problem.path().display().to_string();
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

    /// Takes over what is written down now. Of a file with problems, components that are nowhere
    /// else stay as they were.
    fn take_written(&mut self, resources: Resources) -> Vec<crate::resources::Error> {
        let mut written = resources.components;
        let names: BTreeSet<_> = written.iter().map(|now| now.name.clone()).collect();
        let broken = |file: &std::path::Path| resources.problems.iter().any(|p| p.path() == file);
        let kept = self
            .written
            .drain(..)
            .filter(|old| broken(&old.origin.file) && !names.contains(&old.name));
        written.extend(kept);
        self.written = written;
        resources.problems
    }

    fn plan(&self) -> Result<Plan, Error> {
        let filter = Filter {
            app_id: &self.config.app_id,
            namespace: self.config.namespace.as_deref(),
            denied: &self.rules.configuration.denied_components,
            default_store: self.default_store(),
            has_kubernetes_store: self.config.has_kubernetes_store,
        };
        Ok(plan(self.written.clone(), &filter)?)
    }

    fn default_store(&self) -> Option<&'static str> {
        self.config.is_kubernetes.then_some(KUBERNETES_STORE)
    }

    /// Starts what is new or changed, one after the other, drops what is gone, and publishes. The
    /// answer are the failures without which the sidecar may not start.
    async fn apply(&mut self, plan: Plan) -> Vec<String> {
        let mut next: BTreeMap<String, Running> = BTreeMap::new();
        let mut failed: Vec<_> = plan
            .unserved
            .iter()
            .map(|component| FailedComponent::new(component, report::UNSERVED.to_owned(), false))
            .collect();
        let mut fatal = Vec::new();
        for component in plan.components {
            let old = self.running.get(&component.name).cloned();
            match self.bring_up(&component, old.as_ref(), &next).await {
                Ok(running) => {
                    next.insert(component.name, running);
                }
                Err(failure) => {
                    let keeps_old = old.is_some();
                    self.report.failure(&component, &failure, keeps_old);
                    if failure.is_fatal {
                        fatal.push(failure.reason.clone());
                    }
                    failed.push(FailedComponent::new(&component, failure.reason, keeps_old));
                    next.extend(old.map(|old| (component.name, old)));
                }
            }
        }
        self.publish(next, failed);
        fatal
    }

    async fn bring_up(
        &self,
        component: &Component,
        old: Option<&Running>,
        running: &BTreeMap<String, Running>,
    ) -> Result<Running, Failure> {
        let resolver = Resolver {
            environment: &self.config.environment,
            app_id: &self.config.app_id,
            namespace: self.config.namespace.as_deref(),
            default_store: self.default_store(),
        };
        let stores = |name: &str| {
            running
                .get(name)
                .map(|store| Arc::clone(&store.secret_store))
        };
        let unresolved = |problem: resolve::Error| Failure {
            reason: problem.to_string(),
            is_fatal: false,
        };
        let references = resolver
            .references(component, stores)
            .await
            .map_err(unresolved)?;
        if let Some(old) = old
            && old.component.same_as(component)
            && resolve::same(&old.references, &references)
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
                is_fatal: !component.ignore_errors,
            }
        })?;
        metrics::counter!("dapr_runtime_component_init_total", "component" => component_type)
            .increment(1);
        let verb = if old.is_some() { "updated" } else { "loaded" };
        info!("Component {verb}: {label}");
        Ok(self.running(component, references, backend))
    }

    fn running(&self, component: &Component, references: References, backend: Backend) -> Running {
        Running {
            secret_store: self.limited(&component.name, &backend),
            component: Arc::new(component.clone()),
            references: Arc::new(references),
            backend,
        }
    }

    /// A back end with the rules that limit it now.
    fn limited(&self, name: &str, backend: &Backend) -> Arc<LoadedSecretStore> {
        let Backend::SecretStore(store) = backend;
        let namespace = self.config.namespace.as_deref().unwrap_or_default();
        let store = Arc::clone(store);
        Arc::new(LoadedSecretStore::new(store, &self.rules, name, namespace))
    }

    /// Takes over new rules, also for components that run.
    fn limit(&mut self, rules: Rules) {
        if self.rules == rules {
            return;
        }
        info!("The rules for secrets and components changed");
        self.rules = rules;
        let mut running = std::mem::take(&mut self.running);
        for (name, run) in &mut running {
            run.secret_store = self.limited(name, &run.backend);
        }
        self.running = running;
    }

    fn publish(&mut self, next: BTreeMap<String, Running>, failed: Vec<FailedComponent>) {
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
            components: next.values().map(loaded).collect(),
            failed,
            configuration: Arc::clone(&self.rules.configuration),
            policy: Arc::clone(&self.rules.policy),
            secret_stores: next
                .iter()
                .map(|(name, run)| (name.clone(), Arc::clone(&run.secret_store)))
                .collect(),
        }));
        self.running = next;
    }
}

fn loaded(run: &Running) -> LoadedComponent {
    LoadedComponent {
        name: run.component.name.clone(),
        component_type: run.component.component_type.clone(),
        version: run.component.version.clone(),
        capabilities: run.backend.capabilities(),
    }
}

/// Waits until something in one of the folders changes.
async fn any_changed(watches: &mut [DirWatch]) {
    let changes = watches.iter_mut().map(|watch| {
        Box::pin(async move {
            // A watch that ended (its folder is gone) leaves the work to the interval.
            if !watch.changed().await {
                std::future::pending::<()>().await;
            }
        })
    });
    select_all(changes).await;
}
