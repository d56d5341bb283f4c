//! `structuredformat`: a list of apps with their addresses, which the user writes.

use std::collections::HashMap;
use std::path::Path;

use async_trait::async_trait;
use serde::Deserialize;

use super::address::PeerAddress;
use super::directory::spread;
use super::{Error, Lookup, ResolveError, Resolver};
use crate::process::tasks::BoxError;
use crate::resources::configuration::name_resolution::{ListForm, ListPlace, StructuredNames};

/// The largest list, in bytes: a thousand times more than a list that somebody writes.
const MAX_LIST_BYTES: u64 = 4 << 20;
/// The most values that aliases in a list may stand for, so that a few lines cannot become
/// gigabytes.
const MAX_REPLAYED: usize = 20_000;

/// The addresses of each app. The list knows no namespaces, so that an app is the same in all.
///
/// Invariant: no app has an empty list.
#[derive(Debug)]
pub(super) struct Structured(HashMap<String, Vec<PeerAddress>>);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct List {
    app_instances: HashMap<String, Vec<Instance>>,
}

/// Of the three hosts the first one that is given counts.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Instance {
    #[serde(default)]
    domain: String,
    #[serde(default)]
    ipv4: String,
    #[serde(default)]
    ipv6: String,
    port: u16,
    /// Anything that the user wants to note.
    #[serde(default, rename = "extendedInfo")]
    _extended_info: serde::de::IgnoredAny,
}

/// A list that cannot be used.
#[derive(Debug, thiserror::Error)]
enum ListError {
    #[error("the list cannot be read")]
    Read(#[source] std::io::Error),
    #[error("the list has more than {MAX_LIST_BYTES} bytes")]
    TooLarge,
    #[error(
        "the list is not of the form {{\"appInstances\": {{\"app\": [{{\"ipv4\", \"port\"}}]}}}}"
    )]
    Form(#[source] BoxError),
    #[error("instance {at} of app {app:?}: {problem}")]
    Instance {
        app: String,
        at: usize,
        problem: String,
    },
}

impl Structured {
    /// Reads the list.
    pub(super) async fn read(names: &StructuredNames) -> Result<Self, Error> {
        let (setting, value, text) = match &names.place {
            ListPlace::Text(text) => ("stringValue", text.clone(), Ok(text.clone())),
            ListPlace::File(path) => {
                let text = text_of(path).await;
                ("filePath", path.display().to_string(), text)
            }
        };
        let list = text.and_then(|text| Self::parse(&text, names.form));
        list.map_err(|error| Error::Setting {
            setting,
            value,
            cause: error.into(),
        })
    }

    fn parse(text: &str, form: ListForm) -> Result<Self, ListError> {
        let list: List = match form {
            ListForm::Json => {
                serde_json::from_str(text).map_err(|error| ListError::Form(error.into()))?
            }
            ListForm::Yaml => serde_saphyr::from_str_with_options(text, yaml_options())
                .map_err(|error| ListError::Form(error.to_string().into()))?,
        };
        let mut apps = HashMap::new();
        for (app, instances) in list.app_instances {
            let mut addresses = Vec::with_capacity(instances.len());
            for (at, instance) in instances.into_iter().enumerate() {
                addresses.push(instance.address().map_err(|problem| ListError::Instance {
                    app: app.clone(),
                    at,
                    problem,
                })?);
            }
            if !addresses.is_empty() {
                apps.insert(app, addresses);
            }
        }
        Ok(Self(apps))
    }
}

impl Instance {
    fn address(self) -> Result<PeerAddress, String> {
        let ip = |text: &str, is_right: bool, kind: &str| {
            if is_right {
                Ok(())
            } else {
                Err(format!("{text:?} is not an {kind} address"))
            }
        };
        let host = if !self.domain.is_empty() {
            self.domain
        } else if !self.ipv4.is_empty() {
            let is_right = self.ipv4.parse::<std::net::Ipv4Addr>().is_ok();
            ip(&self.ipv4, is_right, "IPv4")?;
            self.ipv4
        } else if !self.ipv6.is_empty() {
            let is_right = self.ipv6.parse::<std::net::Ipv6Addr>().is_ok();
            ip(&self.ipv6, is_right, "IPv6")?;
            format!("[{}]", self.ipv6)
        } else {
            return Err("one of domain, ipv4 and ipv6 is required".to_owned());
        };
        let address = PeerAddress::parse(&format!("{host}:{}", self.port));
        address.map_err(|error| error.to_string())
    }
}

async fn text_of(path: &Path) -> Result<String, ListError> {
    let file = tokio::fs::metadata(path).await.map_err(ListError::Read)?;
    if file.len() > MAX_LIST_BYTES {
        return Err(ListError::TooLarge);
    }
    tokio::fs::read_to_string(path)
        .await
        .map_err(ListError::Read)
}

fn yaml_options() -> serde_saphyr::Options {
    serde_saphyr::options! {
        with_snippet: false,
        emit_comments: false,
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: MAX_REPLAYED },
    }
}

#[async_trait]
impl Resolver for Structured {
    async fn resolve(&self, app: &Lookup<'_>) -> Result<Vec<PeerAddress>, ResolveError> {
        let addresses = self.0.get(app.app_id);
        let addresses = addresses.ok_or_else(|| ResolveError::not_found(app))?;
        Ok(spread(addresses.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::tasks::with_causes;

    fn parse(text: &str) -> Result<Structured, String> {
        Structured::parse(text, ListForm::Json).map_err(|error| with_causes(&error))
    }

    async fn find(list: &Structured, app_id: &str) -> Vec<String> {
        let namespace = "any";
        let found = list.resolve(&Lookup { app_id, namespace }).await.unwrap();
        found.iter().map(ToString::to_string).collect()
    }

    #[tokio::test]
    async fn takes_the_first_host_that_is_given() {
        let list = parse(
            r#"{"appInstances": {
                "all": [{"domain": "d.x", "ipv4": "10.0.0.1", "ipv6": "::1", "port": 1,
                         "extendedInfo": {"hello": "world"}}],
                "four": [{"domain": "", "ipv4": "10.0.0.1", "ipv6": "::1", "port": 2}],
                "six": [{"ipv6": "::1", "port": 3}],
                "none": []
            }}"#,
        )
        .unwrap();
        assert_eq!(find(&list, "all").await, ["d.x:1"]);
        assert_eq!(find(&list, "four").await, ["10.0.0.1:2"]);
        assert_eq!(find(&list, "six").await, ["[::1]:3"]);
        let namespace = "any";
        for app_id in ["none", "other"] {
            let error = list.resolve(&Lookup { app_id, namespace }).await;
            let expected = format!("couldn't find service: {app_id}");
            assert_eq!(error.unwrap_err().to_string(), expected);
        }
    }

    #[tokio::test]
    async fn reads_yaml_and_files() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("apps.yaml");
        std::fs::write(
            &path,
            "appInstances:\n  a:\n  - ipv4: 10.0.0.1\n    port: 5\n",
        )
        .unwrap();
        let names = |path: &Path| StructuredNames {
            place: ListPlace::File(path.to_owned()),
            form: ListForm::Yaml,
        };
        let list = Structured::read(&names(&path)).await.unwrap();
        assert_eq!(find(&list, "a").await, ["10.0.0.1:5"]);
        let missing = dir.path().join("missing");
        let error = Structured::read(&names(&missing)).await.unwrap_err();
        assert_eq!(
            with_causes(&error),
            format!(
                "spec.nameResolution.configuration.filePath: {missing:?} cannot be used: the list \
                 cannot be read: No such file or directory (os error 2)"
            )
        );
    }

    #[test]
    fn says_what_is_wrong_with_a_list() {
        let of = |instance: &str| {
            parse(&format!(r#"{{"appInstances": {{"a": [{instance}]}}}}"#)).unwrap_err()
        };
        let ours = "instance 0 of app \"a\"";
        assert_eq!(
            of(r#"{"port": 1}"#),
            format!("{ours}: one of domain, ipv4 and ipv6 is required")
        );
        assert_eq!(
            of(r#"{"ipv4": "::1", "port": 1}"#),
            format!("{ours}: \"::1\" is not an IPv4 address")
        );
        assert!(of(r#"{"domain": "a/b", "port": 1}"#).contains("\"a/b:1\" is not an address"));
        assert!(of(r#"{"ipv4": "10.0.0.1", "port": 0}"#).contains("is not an address"));
        assert!(of(r#"{"ipv4": "10.0.0.1"}"#).contains("missing field `port`"));
        assert!(of(r#"{"ip": "10.0.0.1", "port": 1}"#).contains("unknown field `ip`"));
        let expected = "the list is not of the form {\"appInstances\": {\"app\": [{\"ipv4\", \
            \"port\"}]}}: ";
        assert!(parse("[]").unwrap_err().starts_with(expected));
    }
}
