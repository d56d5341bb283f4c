//! The start: what is named and cannot be read ends it, since its restrictions would be lost.

use std::sync::Arc;

use tracing::info;

use super::pipelines;
use super::reconcile::Reconciler;
use super::report;
use super::rules::Rules;
use super::sources::Sources;
use super::{Error, Registry, RegistryConfig};
use crate::components::pluggable;
use crate::process::tasks::Tasks;

/// The feature that can be switched off in a configuration (Dapr 1.18 has it on).
const HOT_RELOAD: &str = "HotReload";

/// Starts every component, and the task that follows changes.
pub(super) async fn start(
    config: RegistryConfig,
    tasks: &mut Tasks,
) -> Result<Arc<Registry>, Error> {
    let mut sources = Sources::open(&config).await?;
    let (configuration, mut warnings) = sources.configuration()?;
    let follows = configuration.features.get(HOT_RELOAD) != Some(&false);
    if follows {
        // Before they are read, so that no change falls between the two.
        sources.watch_folders()?;
    }
    let (environment, shutdown) = (config.environment.clone(), tasks.shutdown());
    tasks.spawn("pluggable components", async move {
        tokio::select! {
            () = pluggable::report(&environment) => shutdown.cancelled().await,
            () = shutdown.cancelled() => {}
        }
        Ok(())
    });
    info!("Loading components…");
    sources.list_resources().await;
    let resources = sources.resources().await?;
    if !resources.problems.is_empty() {
        return Err(Error::Resources(resources.problems));
    }
    let choice = config.choice();
    let policy = choice.policy(&resources.policies, sources.in_the_way_of_policies())?;
    warnings.extend(choice.without_effect(&resources.policies));
    warnings.extend(sources.in_the_way());
    let rules = Rules {
        configuration: Arc::new(configuration),
        policy: Arc::new(policy),
    };
    let mut reconciler = Reconciler::new(config, rules);
    let mut fatal = reconciler.load(resources, warnings).await?;
    let registry = reconciler.registry();
    fatal.extend(pipelines::problems(&registry.peek()));
    if !fatal.is_empty() {
        return Err(Error::Components(fatal));
    }
    info!("All outstanding components processed");
    report::warn_scopes_without_store(&registry.peek());
    if follows && sources.can_change() {
        tasks.spawn("components", reconciler.follow(sources, tasks.shutdown()));
    }
    Ok(Arc::new(registry))
}
