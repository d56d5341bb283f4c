//! Everything that is written down for this sidecar: folders, files, and objects of the cluster.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, join_all, select_all};

use super::{Error, RegistryConfig};
use crate::base::names::is_dns_subdomain;
use crate::components::pluggable;
use crate::process::kubernetes::Cluster;
use crate::process::tasks::with_causes;
use crate::process::watch_dir::DirWatch;
use crate::resources::configuration::{Configuration, merge};
use crate::resources::decode::{Document, Resources};
use crate::resources::source::cluster::kubernetes::{Selection, Watch};
use crate::resources::source::cluster::{
    COMPONENT, CONFIGURATION, HTTP_ENDPOINT, Kind, RESILIENCY, SIDECAR_POLICY, SUBSCRIPTION,
};
use crate::resources::source::files;

/// How long the start waits for an API server that does not answer (yet): the network of a pod may
/// come up after its containers.
const PATIENCE: Duration = Duration::from_secs(15);

/// The kinds of which every object of the namespace counts.
const WHOLE_KINDS: [&Kind; 4] = [&COMPONENT, &HTTP_ENDPOINT, &RESILIENCY, &SUBSCRIPTION];

/// Where everything is written down.
pub(super) struct Sources {
    folders: Vec<PathBuf>,
    folder_watches: Vec<DirWatch>,
    /// The folder of pluggable components, which may come after their resources.
    sockets: PathBuf,
    configurations: Vec<Written>,
    objects: Option<Objects>,
    /// Why nothing is read from the cluster, though it should be.
    no_cluster: Option<String>,
}

/// One value of `--config`.
enum Written {
    File(Vec<Document>),
    /// The object that [`Objects::configuration`] holds, by name.
    Object(String),
}

/// Objects of the sidecar's own namespace.
struct Objects {
    namespace: Arc<str>,
    configuration: Option<Watch>,
    policy: Option<Watch>,
    /// Of [`WHOLE_KINDS`], where resources are read from the cluster.
    whole_kinds: Vec<Watch>,
}

impl Sources {
    /// Finds out what there is, and reads what decides about the rest: configurations and the
    /// policy. One that is named and cannot be read is an error.
    pub(super) async fn open(config: &RegistryConfig) -> Result<Self, Error> {
        let mut configurations = Vec::new();
        for given in &config.config_files {
            configurations.push(match object_name(config, given).await {
                Some(name) => Written::Object(name),
                None => Written::File(files::configurations(given, &config.environment).await?),
            });
        }
        let name = only_object(config, &configurations)?;
        let mut sources = Self {
            folders: config.resource_paths.clone(),
            folder_watches: Vec::new(),
            sockets: pluggable::folder(&config.environment),
            configurations,
            objects: None,
            no_cluster: None,
        };
        if !config.is_kubernetes || !(config.reads_cluster || config.policy.is_some()) {
            return Ok(sources);
        }
        match Cluster::connect(&config.access).await {
            Ok(cluster) => {
                let mut objects = Objects::new(&cluster, config, name.as_deref());
                if let Some(name) = name {
                    objects.list_configuration(name).await?;
                }
                objects.list_policy().await;
                sources.objects = Some(objects);
            }
            Err(problem) => {
                let problem = with_causes(&problem);
                if let Some(name) = name {
                    return Err(Error::Configuration { name, problem });
                }
                let text = format!("no resources are read from the cluster: {problem}");
                sources.no_cluster = Some(text);
            }
        }
        Ok(sources)
    }

    /// What the configurations say together, with warnings.
    pub(super) fn configuration(&self) -> Result<(Configuration, Vec<String>), Error> {
        let mut documents = Vec::new();
        for written in &self.configurations {
            match written {
                Written::File(file) => documents.extend(file.iter().cloned()),
                Written::Object(name) => documents.push(self.configuration_object(name)?.clone()),
            }
        }
        Ok(merge(documents)?)
    }

    fn configuration_object(&self, name: &str) -> Result<&Document, Error> {
        let objects = self.objects.as_ref();
        let watch = objects.and_then(|objects| objects.configuration.as_ref());
        let found = watch.and_then(|watch| watch.documents().next());
        found.ok_or_else(|| Error::NoConfiguration {
            name: name.to_owned(),
            namespace: objects.map_or_else(String::new, |objects| objects.namespace.to_string()),
        })
    }

    /// Watches folders from now on, so that no change falls between reading and following.
    pub(super) fn watch_folders(&mut self) -> Result<(), Error> {
        for folder in &self.folders {
            self.folder_watches.push(DirWatch::of_dir(folder)?);
        }
        // Most sidecars have none.
        self.folder_watches
            .extend(DirWatch::of_dir(&self.sockets).ok());
        Ok(())
    }

    /// Lists the objects of [`WHOLE_KINDS`] of the cluster. Those that cannot be listed are a
    /// warning, see [`Sources::in_the_way`].
    pub(super) async fn list_resources(&mut self) {
        let Some(objects) = &mut self.objects else {
            return;
        };
        if objects.whole_kinds.is_empty() {
            return;
        }
        let listed = objects.whole_kinds.iter_mut();
        // What is in the way stays known to the watch.
        let _ = join_all(listed.map(|watch| watch.listed(PATIENCE))).await;
    }

    /// Reads everything that is written down now.
    pub(super) async fn resources(&mut self) -> Result<Resources, crate::resources::Error> {
        let mut resources = files::resources(&self.folders).await?;
        let watches = self.objects.iter().flat_map(Objects::resources);
        for document in watches.flat_map(Watch::documents) {
            resources.add_document(document.clone());
        }
        Ok(resources)
    }

    /// Why some of the cluster's resources are not read, or were not lately.
    pub(super) fn in_the_way(&self) -> Vec<String> {
        let watches = self.objects.iter().flat_map(Objects::watches);
        let problems = watches.filter_map(Watch::problem).map(ToString::to_string);
        self.no_cluster.iter().cloned().chain(problems).collect()
    }

    /// The same for policies alone.
    pub(super) fn in_the_way_of_policies(&self) -> Option<String> {
        let watch = self
            .objects
            .as_ref()
            .and_then(|objects| objects.policy.as_ref());
        let problem = watch.and_then(Watch::problem).map(ToString::to_string);
        self.no_cluster.clone().or(problem)
    }

    /// Whether anything can be followed.
    pub(super) fn can_change(&self) -> bool {
        !self.folder_watches.is_empty() || self.objects.is_some()
    }

    /// Waits until something is other than before.
    pub(super) async fn changed(&mut self) {
        let folders = self.folder_watches.iter_mut().map(|watch| {
            let changed: BoxFuture<'_, ()> = Box::pin(async move {
                // A watch that ended (its folder is gone) leaves the work to the interval.
                if !watch.changed().await {
                    std::future::pending::<()>().await;
                }
            });
            changed
        });
        let objects = self.objects.iter_mut().flat_map(Objects::watches_mut);
        let objects = objects.map(|watch| {
            let changed: BoxFuture<'_, ()> = Box::pin(watch.changed());
            changed
        });
        let all: Vec<_> = folders.chain(objects).collect();
        if all.is_empty() {
            std::future::pending::<()>().await;
        }
        select_all(all).await;
    }
}

impl Objects {
    fn new(cluster: &Cluster, config: &RegistryConfig, configuration: Option<&str>) -> Self {
        let own = config.namespace.as_deref();
        let namespace: Arc<str> = own.unwrap_or(&cluster.namespace).into();
        let watch = |kind: &'static Kind, name| {
            let selection = Selection {
                namespace: Arc::clone(&namespace),
                app_id: &config.app_id,
                name,
            };
            Watch::new(cluster, kind, &selection)
        };
        let policy = config.policy.as_deref();
        Self {
            configuration: configuration.map(|name| watch(&CONFIGURATION, Some(name))),
            policy: policy.map(|name| watch(&SIDECAR_POLICY, Some(name))),
            whole_kinds: WHOLE_KINDS
                .into_iter()
                .filter(|_| config.reads_cluster)
                .map(|kind| watch(kind, None))
                .collect(),
            namespace,
        }
    }

    async fn list_configuration(&mut self, name: String) -> Result<(), Error> {
        let Some(watch) = &mut self.configuration else {
            return Ok(());
        };
        watch.listed(PATIENCE).await.map_err(|problem| {
            let problem = problem.to_string();
            Error::Configuration { name, problem }
        })
    }

    /// One that cannot be listed is missing, unless it is in a file.
    async fn list_policy(&mut self) {
        if let Some(watch) = &mut self.policy {
            let _ = watch.listed(PATIENCE).await;
        }
    }

    /// The watches whose objects are resources beside those of the folders.
    fn resources(&self) -> impl Iterator<Item = &Watch> {
        self.whole_kinds.iter().chain(&self.policy)
    }

    fn watches(&self) -> impl Iterator<Item = &Watch> {
        self.configuration.iter().chain(self.resources())
    }

    fn watches_mut(&mut self) -> impl Iterator<Item = &mut Watch> {
        let rules = self.configuration.iter_mut().chain(&mut self.policy);
        rules.chain(&mut self.whole_kinds)
    }
}

/// The name of the object that a value of `--config` means, where it is not the path of a file.
async fn object_name(config: &RegistryConfig, given: &Path) -> Option<String> {
    let name = given.to_str().filter(|name| is_dns_subdomain(name))?;
    let is_file = async || {
        tokio::fs::metadata(given)
            .await
            .is_ok_and(|found| found.is_file())
    };
    (config.is_kubernetes && !is_file().await).then(|| name.to_owned())
}

fn only_object(config: &RegistryConfig, written: &[Written]) -> Result<Option<String>, Error> {
    let mut names = written.iter().filter_map(|written| match written {
        Written::Object(name) => Some(name),
        Written::File(_) => None,
    });
    match (names.next(), names.next()) {
        (None, _) => Ok(None),
        (Some(name), _) if !config.reads_cluster => {
            let name = name.clone();
            Err(Error::ClusterConfiguration { name })
        }
        (Some(name), None) => Ok(Some(name.clone())),
        (Some(first), Some(second)) => Err(Error::SeveralConfigurations {
            first: first.clone(),
            second: second.clone(),
        }),
    }
}
