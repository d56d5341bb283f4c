//! `secretstores.local.file`: a JSON file, read again whenever it changes.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use tokio::sync::{Mutex, watch};
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
/// How often the file is read again where no change is told, as on network file systems.
const RECHECK: Duration = Duration::from_secs(60);
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
    /// Told of each new version. What it was told before anybody waited is not lost.
    versions: Mutex<watch::Receiver<()>>,
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
        let (version, versions) = watch::channel(());
        let mut watch = JoinSet::new();
        watch.spawn(source.follow(changes, Arc::clone(&secrets), version));
        Ok(Self {
            secrets,
            multi_valued,
            versions: Mutex::new(versions),
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

    async fn changed(&self, _secrets: &[(String, RequestMetadata)]) {
        if self.versions.lock().await.changed().await.is_err() {
            // The task that reads the file lives as long as the store.
            std::future::pending::<()>().await;
        }
    }

    fn has_multiple_keys(&self) -> bool {
        self.multi_valued
    }
}

impl Source {
    async fn follow(
        self,
        mut changes: DirWatch,
        secrets: Arc<ArcSwap<Secrets>>,
        version: watch::Sender<()>,
    ) {
        let stale = metrics::gauge!("sidegate_secret_file_stale",
            "component" => self.component.clone());
        let mut last_problem = None;
        loop {
            let change = async {
                // A watch that ended (the folder is gone) leaves the work to the interval.
                if !changes.changed().await {
                    std::future::pending::<()>().await;
                }
            };
            let _ = tokio::time::timeout(RECHECK, change).await;
            match self.read().await {
                Ok(read) => {
                    if last_problem.take().is_some() {
                        info!(component = self.component, "Secrets file can be read again");
                    }
                    stale.set(0.0);
                    if **secrets.load() != read {
                        secrets.store(Arc::new(read));
                        version.send_replace(());
                    }
                }
                Err(error) => {
                    let problem = with_causes(&error);
                    stale.set(1.0);
                    if last_problem.as_ref() != Some(&problem) {
                        warn!(
                            component = self.component,
                            error = problem,
                            "Kept the last good secrets"
                        );
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
        let file = tokio::fs::metadata(&self.path).await.map_err(fail)?;
        if !file.is_file() {
            return Err(FileError::Content {
                path: path(),
                problem: "is not a regular file".to_owned(),
            });
        }
        if file.len() > MAX_FILE_BYTES {
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
                leaves.push((
                    path.join(&self.separator),
                    Secret::new(parse::<String>(value)?),
                ));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::components::{ResolvedComponent, ResolvedProperty};
    use crate::testing::contract;

    async fn store(json: &str, settings: &[(&str, &str)]) -> Result<LocalFile, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secrets.json");
        std::fs::write(&path, json).unwrap();
        let file = [("secretsFile", path.to_str().unwrap())];
        let properties = file
            .iter()
            .chain(settings)
            .map(|(name, value)| ResolvedProperty {
                name: (*name).to_owned(),
                value: Secret::new(*value),
                secret_name: None,
            });
        let component = ResolvedComponent {
            name: "file".to_owned(),
            component_type: "secretstores.local.file".to_owned(),
            version: "v1".to_owned(),
            properties: properties.collect(),
        };
        let mut reader = Reader::new(&component).unwrap();
        let store = LocalFile::start("file", &mut reader).await;
        store.map_err(|error| error.to_string().replace(path.to_str().unwrap(), "FILE"))
    }

    const JSON: &str = r#"{
        "plain": "p", "empty": "", "number": 1.50, "large": 12345678901234567890123,
        "yes": true, "none": null, "list": ["a", {"b": "c"}], "deep": {"x": {"y": "z"}},
        "nothing": {}, "escaped\n": "\u00e4"
    }"#;

    #[tokio::test]
    async fn meets_the_contract_with_one_key_a_secret() {
        let expected: &[(&str, &[(&str, &str)])] = &[
            ("plain", &[("plain", "p")]),
            ("empty", &[("empty", "")]),
            ("number", &[("number", "1.50")]),
            ("large", &[("large", "12345678901234567890123")]),
            ("yes", &[("yes", "true")]),
            ("none", &[("none", "null")]),
            ("list:0", &[("list:0", "a")]),
            ("list:1:b", &[("list:1:b", "c")]),
            ("deep:x:y", &[("deep:x:y", "z")]),
            ("escaped\n", &[("escaped\n", "ä")]),
        ];
        contract::holds(&store(JSON, &[]).await.unwrap(), expected).await;
    }

    #[tokio::test]
    async fn meets_the_contract_with_several_keys_a_secret() {
        let settings = [("multiValued", "yes"), ("nestedSeparator", "/")];
        let expected: &[(&str, &[(&str, &str)])] = &[
            ("plain", &[("plain", "p")]),
            ("empty", &[("empty", "")]),
            ("number", &[("number", "1.50")]),
            ("large", &[("large", "12345678901234567890123")]),
            ("yes", &[("yes", "true")]),
            ("none", &[("none", "null")]),
            ("list", &[("0", "a"), ("1/b", "c")]),
            ("deep", &[("x/y", "z")]),
            ("nothing", &[]),
            ("escaped\n", &[("escaped\n", "ä")]),
        ];
        contract::holds(&store(JSON, &settings).await.unwrap(), expected).await;
    }

    #[tokio::test]
    async fn refuses_what_it_could_read_only_in_part() {
        let deep = format!("{{\"a\": {}1{}}}", "[".repeat(1000), "]".repeat(1000));
        for (json, problem) in [
            (r#"{"a:b": 1, "a": {"b": 2}}"#, "\"a:b\" is there twice"),
            (r#"{"a": 1, "a": 2}"#, "\"a\" is there twice"),
            ("[]", "is not a JSON object"),
            ("\"hunter2\"", "is not a JSON object"),
            ("{", "EOF while parsing an object at line 1 column 1"),
            ("", "EOF while parsing a value at line 1 column 0"),
            (&deep, "is nested deeper than 128"),
        ] {
            let error = store(json, &[]).await.err();
            let expected = format!("secrets file \"FILE\": {problem}");
            assert_eq!(error.as_deref(), Some(expected.as_str()), "{json}");
        }
        let multi = store(
            r#"{"s": {"a:b": 1, "a": {"b": 2}}}"#,
            &[("multivalued", "1")],
        )
        .await;
        assert!(multi.is_err());
    }

    proptest::proptest! {
        #[test]
        fn no_file_makes_it_panic(text in ".*", multi_valued: bool) {
            let layout = Layout { separator: ":".to_owned(), multi_valued };
            let _ = layout.secrets(&text);
        }

        #[test]
        fn every_name_and_value_comes_back(
            secrets in proptest::collection::btree_map("[^:]*", ".*", 0..8)
        ) {
            let layout = Layout { separator: ":".to_owned(), multi_valued: false };
            let read = layout.secrets(&serde_json::to_string(&secrets).unwrap()).unwrap();
            proptest::prop_assert_eq!(read.len(), secrets.len());
            for (name, value) in &secrets {
                proptest::prop_assert_eq!(read[name][name].expose(), value);
            }
        }
    }
}
