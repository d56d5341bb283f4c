//! `secretstores.local.file`: a JSON file, read again whenever it changes.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use tokio::task::JoinSet;
use tracing::{info, warn};

use super::{RequestMetadata, SecretMap, SecretStore, Secrets, StoreError, single};
use crate::base::secret::Secret;
use crate::components::Error;
use crate::components::metadata::Reader;
use crate::process::tasks::with_causes;
use crate::process::watch_dir::DirWatch;

/// The largest file that is read: secrets are small, and all of them stay in memory.
const MAX_FILE_BYTES: u64 = 16 << 20;
/// The deepest nesting, as serde_json's own.
const MAX_DEPTH: usize = 128;

/// A secrets file that cannot be used. The texts hold no piece of the file.
#[derive(Debug, thiserror::Error)]
enum FileError {
    #[error("cannot read secrets file {path:?}")]
    Read {
        path: PathBuf,
        #[source]
        cause: std::io::Error,
    },
    #[error("secrets file {path:?} has more than {MAX_FILE_BYTES} bytes")]
    TooLarge { path: PathBuf },
    #[error("secrets file {path:?}: {problem}")]
    Content { path: PathBuf, problem: String },
}

/// A store in a JSON file.
///
/// Invariant: readers see one whole version of the file, the newest that could be read.
pub struct LocalFile {
    secrets: Arc<ArcSwap<Secrets>>,
    multi_valued: bool,
    // Ends with the store.
    _watch: JoinSet<()>,
}

struct Source {
    component: String,
    path: PathBuf,
    layout: Layout,
}

/// How nested values become secrets.
struct Layout {
    separator: String,
    multi_valued: bool,
}

impl LocalFile {
    /// Reads the file and begins to watch its folder. A relative path is relative to the folder in
    /// which the process was started.
    pub async fn start(component: &str, reader: &mut Reader<'_>) -> Result<Self, Error> {
        let missing = "missing local secrets file in metadata";
        let path = PathBuf::from(reader.required(&["secretsFile"], missing)?);
        let separator = reader.text(&["nestedSeparator"])?;
        let separator = separator.filter(|text| !text.is_empty()).unwrap_or(":");
        let multi_valued = reader.truthy(&["multiValued"])?;
        let source = Source {
            component: component.to_owned(),
            path,
            layout: Layout {
                separator: separator.to_owned(),
                multi_valued,
            },
        };
        // Watched before it is read, so that no change falls between the two.
        let changes = DirWatch::of_file(&source.path);
        let init = |error: &dyn std::error::Error| Error::Init(with_causes(error));
        let secrets = source.read().await.map_err(|error| init(&error))?;
        let changes = changes.map_err(|error| init(&error))?;
        let secrets = Arc::new(ArcSwap::from_pointee(secrets));
        let mut watch = JoinSet::new();
        watch.spawn(source.follow(changes, Arc::clone(&secrets)));
        Ok(Self {
            secrets,
            multi_valued,
            _watch: watch,
        })
    }
}

#[async_trait]
impl SecretStore for LocalFile {
    async fn get(
        &self,
        name: &str,
        _metadata: &RequestMetadata,
    ) -> Result<Option<Arc<SecretMap>>, StoreError> {
        Ok(self.secrets.load().get(name).cloned())
    }

    async fn bulk(&self, _metadata: &RequestMetadata) -> Result<Secrets, StoreError> {
        Ok(Secrets::clone(&self.secrets.load()))
    }

    fn has_multiple_keys(&self) -> bool {
        self.multi_valued
    }
}

impl Source {
    async fn follow(self, mut changes: DirWatch, secrets: Arc<ArcSwap<Secrets>>) {
        let stale = metrics::gauge!("sidegate_secret_file_stale",
            "component" => self.component.clone());
        let mut last_problem = None;
        while changes.changed().await {
            match self.read().await {
                Ok(read) => {
                    if last_problem.take().is_some() {
                        info!(component = self.component, "Secrets file can be read again");
                    }
                    stale.set(0.0);
                    secrets.store(Arc::new(read));
                }
                Err(error) => {
                    let problem = with_causes(&error);
                    stale.set(1.0);
                    if last_problem.as_ref() != Some(&problem) {
                        warn!(component = self.component, error = problem,
                            "Kept the last good secrets");
                        last_problem = Some(problem);
                    }
                }
            }
        }
    }

    async fn read(&self) -> Result<Secrets, FileError> {
        let path = || self.path.clone();
        let fail = |cause| FileError::Read {
            path: path(),
            cause,
        };
        let size = tokio::fs::metadata(&self.path).await.map_err(fail)?.len();
        if size > MAX_FILE_BYTES {
            return Err(FileError::TooLarge { path: path() });
        }
        let text = tokio::fs::read_to_string(&self.path).await.map_err(fail)?;
        // Wiped when dropped.
        let text = Secret::new(text);
        self.layout
            .secrets(text.expose())
            .map_err(|problem| FileError::Content {
                path: path(),
                problem,
            })
    }
}

impl Layout {
    fn secrets(&self, text: &str) -> Result<Secrets, String> {
        let file: &RawValue = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let mut secrets = Secrets::new();
        if !file.get().starts_with('{') {
            return Err("is not a JSON object".to_owned());
        }
        if self.multi_valued {
            for (name, value) in members(file)? {
                let secret = self.keys(&name, value)?;
                insert(&mut secrets, name, Arc::new(secret))?;
            }
        } else {
            for (name, value) in self.leaves(file)? {
                let secret = single(&name, value);
                insert(&mut secrets, name, secret)?;
            }
        }
        Ok(secrets)
    }

    /// The keys of one secret: its members, or one key with its own name.
    fn keys(&self, name: &str, value: &RawValue) -> Result<SecretMap, String> {
        let is_scalar = !value.get().starts_with(['{', '[']);
        let mut keys = SecretMap::new();
        for (key, value) in self.leaves(value)? {
            let key = if is_scalar { name.to_owned() } else { key };
            insert(&mut keys, key, value)?;
        }
        Ok(keys)
    }

    /// The scalars at and below a value, with their paths.
    fn leaves(&self, value: &RawValue) -> Result<Vec<(String, Secret)>, String> {
        let mut leaves = Vec::new();
        self.add_leaves(&mut Vec::new(), value, &mut leaves)?;
        Ok(leaves)
    }

    fn add_leaves(
        &self,
        path: &mut Vec<String>,
        value: &RawValue,
        leaves: &mut Vec<(String, Secret)>,
    ) -> Result<(), String> {
        if path.len() > MAX_DEPTH {
            return Err(format!("is nested deeper than {MAX_DEPTH}"));
        }
        let inner = match value.get().as_bytes().first() {
            Some(b'{') => members(value)?,
            Some(b'[') => {
                let items: Vec<&RawValue> = parse(value)?;
                let numbered = items.into_iter().enumerate();
                numbered.map(|(at, item)| (at.to_string(), item)).collect()
            }
            Some(b'"') => {
                leaves.push((path.join(&self.separator), Secret::new(parse::<String>(value)?)));
                return Ok(());
            }
            // Numbers, booleans and null as they are written.
            _ => {
                leaves.push((path.join(&self.separator), Secret::new(value.get())));
                return Ok(());
            }
        };
        for (name, value) in inner {
            path.push(name);
            self.add_leaves(path, value, leaves)?;
            path.pop();
        }
        Ok(())
    }
}

fn insert<T>(
    map: &mut std::collections::BTreeMap<String, T>,
    name: String,
    value: T,
) -> Result<(), String> {
    if map.contains_key(&name) {
        return Err(format!("{name:?} is there twice"));
    }
    map.insert(name, value);
    Ok(())
}

fn parse<'a, T: Deserialize<'a>>(value: &'a RawValue) -> Result<T, String> {
    serde_json::from_str(value.get()).map_err(|error| error.to_string())
}

fn members(object: &RawValue) -> Result<Vec<(String, &RawValue)>, String> {
    parse::<Members<'_>>(object).map(|members| members.0)
}

/// The members of an object in their order, a repeated name included.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Collect)
    }
}
