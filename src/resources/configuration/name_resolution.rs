//! The section `nameResolution` of a `Configuration`: how other sidecars are found.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::base::duration::parse_go_duration;
use crate::base::names::nearest;
use crate::base::truthy::is_truthy;
use crate::resources::decode::Text;

/// The resolvers of this program, as `component` names them.
const RESOLVERS: [&str; 5] = [
    "kubernetes",
    "mdns",
    "nameformat",
    "sqlite",
    "structuredformat",
];
/// Resolvers of Dapr 1.18 that this program lacks.
const LACKING: [&str; 3] = ["aws.cloudmap", "consul", "hashicorp.consul"];
/// The versions that count as the first one, which is the only one there is.
const VERSIONS: [&str; 3] = ["", "v0", "v1"];

/// The resolver that is configured, with its settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NameResolution {
    /// Sidecars of this machine, and of the local network by multicast DNS.
    Mdns,
    /// Services of Kubernetes.
    Kubernetes(KubernetesNames),
    /// A database file that sidecars share.
    Sqlite(SqliteNames),
    /// A list that is written down.
    StructuredFormat(StructuredNames),
    /// A pattern that makes a host of each app id.
    NameFormat {
        /// The pattern, which holds `{appid}`.
        format: String,
    },
}

/// How Services of Kubernetes are named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KubernetesNames {
    /// The domain of the cluster.
    pub cluster_domain: String,
    /// A pattern of the whole address in place of Dapr's names.
    pub template: Option<String>,
}

impl Default for KubernetesNames {
    fn default() -> Self {
        Self {
            cluster_domain: "cluster.local".to_owned(),
            template: None,
        }
    }
}

/// A database file, and how live its rows have to be. The defaults are those of Dapr 1.18.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SqliteNames {
    /// A path or a `file:` URI.
    pub connection_string: String,
    /// The table of the sidecars: letters, digits and `_`.
    pub table: String,
    /// The table that holds the version of the schema: letters, digits and `_`.
    pub metadata_table: String,
    /// A row that is older than this is no live sidecar. Whole seconds.
    pub update_interval: Duration,
    /// The longest that one question to the database may take.
    pub timeout: Duration,
    /// The longest wait for others that write.
    pub busy_timeout: Duration,
    /// How often rows are deleted that were not renewed for as long. None for never.
    pub cleanup_interval: Option<Duration>,
    /// Whether the database is kept without a write-ahead log.
    pub disable_wal: bool,
}

/// A list of apps with their addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StructuredNames {
    /// Where it is.
    pub place: ListPlace,
    /// How it is written.
    pub form: ListForm,
}

/// Where a list of apps is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListPlace {
    /// In the configuration.
    Text(String),
    /// In a file.
    File(PathBuf),
}

/// How a list of apps is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListForm {
    /// JSON.
    Json,
    /// YAML.
    Yaml,
}

/// A field of the section that is wrong, as a path from `spec`, and what is wrong with it.
pub(super) type Problem = (String, String);

/// The section as it is written.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct NameResolutionFields {
    component: Text,
    version: Text,
    configuration: Map<String, Value>,
}

impl NameResolution {
    /// The resolver where none is configured (Dapr 1.18).
    pub fn of_mode(in_kubernetes: bool) -> Self {
        if in_kubernetes {
            Self::Kubernetes(KubernetesNames::default())
        } else {
            Self::Mdns
        }
    }

    /// Reads the section. None where it says nothing.
    pub(super) fn read(fields: &NameResolutionFields) -> Result<Option<Self>, Problem> {
        // Names and versions are compared without case, as in Dapr.
        let component = fields.component.0.to_ascii_lowercase();
        if component.is_empty() && fields.configuration.is_empty() {
            return Ok(None);
        }
        let version = fields.version.0.to_ascii_lowercase();
        if !VERSIONS.contains(&version.as_str()) {
            let problem = format!("{:?} is not a version; accepted is v1", fields.version.0);
            return Err(("nameResolution.version".to_owned(), problem));
        }
        let mut settings = Settings::new(&fields.configuration)?;
        let resolver = match component.as_str() {
            "mdns" => Self::Mdns,
            "kubernetes" => Self::Kubernetes(KubernetesNames::read(&mut settings)?),
            "sqlite" => Self::Sqlite(SqliteNames::read(&mut settings)?),
            "structuredformat" => Self::StructuredFormat(StructuredNames::read(&mut settings)?),
            "nameformat" => Self::NameFormat {
                format: settings.required("format")?,
            },
            _ => {
                let problem = unknown_component(&fields.component.0);
                return Err(("nameResolution.component".to_owned(), problem));
            }
        };
        settings.refuse_unknown(&component)?;
        Ok(Some(resolver))
    }
}

fn unknown_component(given: &str) -> String {
    let accepted = RESOLVERS.join(", ");
    let lower = given.to_ascii_lowercase();
    if given.is_empty() {
        format!("is missing; accepted are {accepted}")
    } else if LACKING.contains(&lower.as_str()) {
        format!("this build has no resolver {given:?}; it has {accepted}")
    } else {
        let hint = nearest(&lower, RESOLVERS).map(|near| format!("; did you mean {near:?}?"));
        let hint = hint.unwrap_or_default();
        format!("{given:?} is not a name resolver; accepted are {accepted}{hint}")
    }
}

impl KubernetesNames {
    fn read(settings: &mut Settings<'_>) -> Result<Self, Problem> {
        let default = Self::default();
        Ok(Self {
            cluster_domain: settings
                .text(&["clusterDomain"])?
                .unwrap_or(default.cluster_domain),
            template: settings.text(&["template"])?,
        })
    }
}

impl SqliteNames {
    fn read(settings: &mut Settings<'_>) -> Result<Self, Problem> {
        let connection_string = settings.text(&["connectionString", "url"])?;
        let seconds = Duration::from_secs;
        let names = Self {
            connection_string: connection_string
                .ok_or_else(|| problem("connectionString", "is missing"))?,
            table: settings.identifier("tableName", "hosts")?,
            metadata_table: settings.identifier("metadataTableName", "metadata")?,
            update_interval: settings.duration(&["updateInterval"], seconds(5))?,
            timeout: settings.duration(&["timeout", "timeoutInSeconds"], seconds(1))?,
            busy_timeout: settings.duration(&["busyTimeout"], Duration::from_millis(800))?,
            cleanup_interval: Some(settings.duration(
                &["cleanupInterval", "cleanupIntervalInSeconds"],
                seconds(3600),
            )?)
            .filter(|interval| !interval.is_zero()),
            disable_wal: settings.truthy("disableWAL")?,
        };
        names.check()?;
        Ok(names)
    }

    fn check(&self) -> Result<(), Problem> {
        let second = Duration::from_secs(1);
        if self.timeout < second {
            return Err(problem("timeout", "is less than 1s"));
        }
        if self.update_interval.subsec_nanos() != 0 {
            return Err(problem(
                "updateInterval",
                "is not a number of whole seconds",
            ));
        }
        if self.update_interval < self.timeout.saturating_add(second) {
            let text = "has to be at least one second more than timeout";
            return Err(problem("updateInterval", text));
        }
        match self.cleanup_interval {
            Some(cleanup) if cleanup < self.update_interval => {
                Err(problem("cleanupInterval", "is less than updateInterval"))
            }
            _ => Ok(()),
        }
    }
}

impl StructuredNames {
    fn read(settings: &mut Settings<'_>) -> Result<Self, Problem> {
        let kind = settings.required("structuredType")?;
        let text = settings.text(&["stringValue"])?;
        let file = settings.text(&["filePath"])?;
        let (in_file, form) = match kind.as_str() {
            "jsonString" => (false, ListForm::Json),
            "yamlString" => (false, ListForm::Yaml),
            "jsonFile" => (true, ListForm::Json),
            "yamlFile" => (true, ListForm::Yaml),
            _ => {
                let accepted = "accepted are jsonString, yamlString, jsonFile, yamlFile";
                let text = format!("{kind:?} is not a type of list; {accepted}");
                return Err(problem("structuredType", &text));
            }
        };
        let place = if in_file {
            file.map(|path| ListPlace::File(path.into()))
                .ok_or_else(|| problem("filePath", "is missing"))?
        } else {
            text.map(ListPlace::Text)
                .ok_or_else(|| problem("stringValue", "is missing"))?
        };
        Ok(Self { place, form })
    }
}

fn problem(setting: &str, text: &str) -> Problem {
    (
        format!("nameResolution.configuration.{setting}"),
        text.to_owned(),
    )
}

/// The settings of one resolver. Their names are compared without case, as in Dapr.
struct Settings<'a> {
    given: BTreeMap<String, (&'a str, &'a Value)>,
    known: Vec<&'static str>,
}

impl<'a> Settings<'a> {
    fn new(written: &'a Map<String, Value>) -> Result<Self, Problem> {
        let mut given = BTreeMap::new();
        for (name, value) in written {
            let replaced = given.insert(name.to_ascii_lowercase(), (name.as_str(), value));
            if let Some((first, _)) = replaced {
                return Err(problem(name, &format!("is given as {first:?} too")));
            }
        }
        Ok(Self {
            given,
            known: Vec::new(),
        })
    }

    /// The value of a setting under any of its names, of which one may be given.
    fn value(&mut self, names: &[&'static str]) -> Result<Option<&'a Value>, Problem> {
        self.known.extend(names);
        let mut found = names
            .iter()
            .filter_map(|name| self.given.get(&name.to_ascii_lowercase()));
        let first = found.next();
        match (first, found.next()) {
            (Some((first, _)), Some((second, _))) => {
                Err(problem(second, &format!("is another name of {first:?}")))
            }
            _ => Ok(first.map(|(_, value)| *value)),
        }
    }

    /// A text that is not empty. Numbers and truth values are texts too, and what is nested is
    /// JSON.
    fn text(&mut self, names: &[&'static str]) -> Result<Option<String>, Problem> {
        let value = self.value(names)?;
        let text = value.map(|value| match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        });
        Ok(text.filter(|text| !text.is_empty()))
    }

    fn required(&mut self, name: &'static str) -> Result<String, Problem> {
        let text = self.text(&[name])?;
        text.ok_or_else(|| problem(name, "is missing"))
    }

    fn identifier(&mut self, name: &'static str, default: &str) -> Result<String, Problem> {
        let text = self.text(&[name])?.unwrap_or_else(|| default.to_owned());
        let accepted = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if text.chars().all(accepted) {
            return Ok(text);
        }
        let accepted = "accepted are letters, digits and \"_\"";
        Err(problem(
            name,
            &format!("{text:?} is not the name of a table; {accepted}"),
        ))
    }

    fn truthy(&mut self, name: &'static str) -> Result<bool, Problem> {
        Ok(self.text(&[name])?.is_some_and(|text| is_truthy(&text)))
    }

    /// A duration of Go, or a number of seconds.
    fn duration(&mut self, names: &[&'static str], default: Duration) -> Result<Duration, Problem> {
        let Some(text) = self.text(names)? else {
            return Ok(default);
        };
        if let Ok(seconds) = text.parse() {
            return Ok(Duration::from_secs(seconds));
        }
        parse_go_duration(&text).map_err(|error| problem(names[0], &error.to_string()))
    }

    /// Refuses what nobody asked for. Call it last.
    fn refuse_unknown(self, resolver: &str) -> Result<(), Problem> {
        let is_known = |name: &str| {
            let known = |known: &&str| known.eq_ignore_ascii_case(name);
            self.known.iter().any(known)
        };
        let Some((name, _)) = self.given.values().find(|(name, _)| !is_known(name)) else {
            return Ok(());
        };
        let text = if self.known.is_empty() {
            format!("is unknown: the resolver {resolver:?} has no settings")
        } else {
            let near = nearest(name, self.known.iter().copied());
            let hint = near.map(|near| format!("; did you mean {near:?}?"));
            format!(
                "is unknown; accepted are {}{}",
                self.known.join(", "),
                hint.unwrap_or_default()
            )
        };
        Err(problem(name, &text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(section: &str) -> Result<Option<NameResolution>, String> {
        let value: Value = serde_saphyr::from_str(section).unwrap();
        let fields = serde_json::from_value(value).map_err(|error| error.to_string())?;
        NameResolution::read(&fields).map_err(|(field, problem)| format!("{field} {problem}"))
    }

    #[test]
    fn reads_each_resolver() {
        let kubernetes = |cluster_domain: &str, template: Option<&str>| KubernetesNames {
            cluster_domain: cluster_domain.to_owned(),
            template: template.map(str::to_owned),
        };
        let list = |place, form| StructuredNames { place, form };
        use NameResolution::{Kubernetes, Mdns, NameFormat, StructuredFormat};
        for (section, expected) in [
            ("{}", None),
            ("{component: MDNS, version: V1}", Some(Mdns)),
            (
                "{component: kubernetes}",
                Some(Kubernetes(kubernetes("cluster.local", None))),
            ),
            (
                "{component: kubernetes, configuration: {clusterdomain: c, template: '{{.ID}}'}}",
                Some(Kubernetes(kubernetes("c", Some("{{.ID}}")))),
            ),
            (
                "{component: nameformat, configuration: {format: 'x-{appid}'}}",
                Some(NameFormat {
                    format: "x-{appid}".to_owned(),
                }),
            ),
            (
                "{component: structuredformat,
                  configuration: {structuredType: jsonString, stringValue: {appInstances: {}}}}",
                Some(StructuredFormat(list(
                    ListPlace::Text("{\"appInstances\":{}}".to_owned()),
                    ListForm::Json,
                ))),
            ),
            (
                "{component: structuredformat,
                  configuration: {structuredType: yamlFile, filePath: a.yaml}}",
                Some(StructuredFormat(list(
                    ListPlace::File("a.yaml".into()),
                    ListForm::Yaml,
                ))),
            ),
        ] {
            assert_eq!(read(section), Ok(expected), "{section}");
        }
    }

    #[test]
    fn reads_a_database_with_daprs_defaults() {
        let default = read("{component: sqlite, configuration: {connectionString: a.db}}");
        let seconds = Duration::from_secs;
        let expected = SqliteNames {
            connection_string: "a.db".to_owned(),
            table: "hosts".to_owned(),
            metadata_table: "metadata".to_owned(),
            update_interval: seconds(5),
            timeout: seconds(1),
            busy_timeout: Duration::from_millis(800),
            cleanup_interval: Some(seconds(3600)),
            disable_wal: false,
        };
        assert_eq!(default, Ok(Some(NameResolution::Sqlite(expected.clone()))));
        let given = read(
            "{component: sqlite, configuration: {url: b, tableName: t, metadataTableName: m,
               updateInterval: 10, timeout: 1500ms, busyTimeout: 0s, cleanupInterval: 0,
               disableWAL: true}}",
        );
        let expected = SqliteNames {
            connection_string: "b".to_owned(),
            table: "t".to_owned(),
            metadata_table: "m".to_owned(),
            update_interval: seconds(10),
            timeout: Duration::from_millis(1500),
            busy_timeout: Duration::ZERO,
            cleanup_interval: None,
            disable_wal: true,
        };
        assert_eq!(given, Ok(Some(NameResolution::Sqlite(expected))));
    }

    #[test]
    fn says_what_is_wrong_with_the_section() {
        let all = "kubernetes, mdns, nameformat, sqlite, structuredformat";
        for (section, expected) in [
            (
                "{component: kubernets}",
                format!(
                    "component \"kubernets\" is not a name resolver; accepted are {all}; did you \
                     mean \"kubernetes\"?"
                ),
            ),
            (
                "{component: hashicorp.consul}",
                format!("component this build has no resolver \"hashicorp.consul\"; it has {all}"),
            ),
            (
                "{configuration: {clusterDomain: x}}",
                format!("component is missing; accepted are {all}"),
            ),
            (
                "{component: mdns, version: v2}",
                "version \"v2\" is not a version; accepted is v1".to_owned(),
            ),
        ] {
            let expected = format!("nameResolution.{expected}");
            assert_eq!(read(section), Err(expected), "{section}");
        }
        let unknown = read("{components: mdns}").unwrap_err();
        assert!(unknown.contains("unknown field `components`"), "{unknown}");
    }

    #[test]
    fn says_what_is_wrong_with_a_setting() {
        for (component, settings, expected) in [
            (
                "mdns",
                "a: 1",
                "a is unknown: the resolver \"mdns\" has no settings",
            ),
            (
                "kubernetes",
                "clusterDomian: x",
                "clusterDomian is unknown; accepted are clusterDomain, template; did you mean \
                 \"clusterDomain\"?",
            ),
            (
                "kubernetes",
                "template: a, Template: b",
                "Template is given as \"template\" too",
            ),
            ("sqlite", "", "connectionString is missing"),
            (
                "sqlite",
                "connectionString: a, url: b",
                "url is another name of \"connectionString\"",
            ),
            (
                "sqlite",
                "url: a, tableName: 'a; drop'",
                "tableName \"a; drop\" is not the name of a table; accepted are letters, digits \
                 and \"_\"",
            ),
            ("sqlite", "url: a, timeout: 10ms", "timeout is less than 1s"),
            (
                "sqlite",
                "url: a, updateInterval: 2500ms",
                "updateInterval is not a number of whole seconds",
            ),
            (
                "sqlite",
                "url: a, updateInterval: 1",
                "updateInterval has to be at least one second more than timeout",
            ),
            (
                "sqlite",
                "url: a, cleanupInterval: 2s",
                "cleanupInterval is less than updateInterval",
            ),
            ("nameformat", "", "format is missing"),
            (
                "structuredformat",
                "structuredType: jsonFile",
                "filePath is missing",
            ),
            (
                "structuredformat",
                "structuredType: yamlString",
                "stringValue is missing",
            ),
            (
                "structuredformat",
                "structuredType: json",
                "structuredType \"json\" is not a type of list; accepted are jsonString, \
                 yamlString, jsonFile, yamlFile",
            ),
        ] {
            let section = format!("{{component: {component}, configuration: {{{settings}}}}}");
            let expected = format!("nameResolution.configuration.{expected}");
            assert_eq!(read(&section), Err(expected), "{section}");
        }
    }
}
