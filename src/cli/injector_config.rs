//! The flags of the injector that decide what a pod gets: shared by the webhook and the offline
//! command.

use std::path::PathBuf;

use clap::ValueEnum;
use k8s_openapi::api::core::v1::Toleration;

use super::argv::parse_bool;
use crate::base::environment::Environment;
use crate::base::truthy::is_truthy;
use crate::injector::config::{Authority, Config, ControlPlane, PullPolicy};
use crate::resources::sidecar_policy::DefaultAccess;

/// Each flag wins over its environment variable. The variables are those of Dapr's injector.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "The sidecar of every pod")]
pub(super) struct ConfigArgs {
    /// Image of the sidecar, unless the pod names another [env: SIDECAR_IMAGE]
    #[arg(long, value_name = "IMAGE")]
    sidecar_image: Option<String>,
    /// When nodes pull the image: Always, IfNotPresent or Never [env: SIDECAR_IMAGE_PULL_POLICY]
    #[arg(long, value_name = "POLICY", value_parser = parse_pull_policy)]
    sidecar_image_pull_policy: Option<PullPolicy>,
    /// Whether the sidecar is a restartable init container, unless the pod says otherwise.
    /// "auto": on where the API server is 1.32 or newer, off where there is none
    /// [env: NATIVE_SIDECAR_ENABLED] [default: auto]
    #[arg(long, value_enum)]
    native_sidecar: Option<NativeSidecar>,
    /// Let pods lower the security of their sidecar by annotation [default: false]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", value_parser = parse_bool)]
    allow_weakened_security: Option<bool>,
    /// Access of apps to secrets of stores that their Configuration gives no scope: allow or deny
    /// [default: allow]
    #[arg(long, value_name = "ACCESS", value_parser = parse_access)]
    sidecar_secrets_default_access: Option<DefaultAccess>,
    /// runAsNonRoot of the sidecar [env: SIDECAR_RUN_AS_NON_ROOT] [default: true]
    #[arg(long, value_name = "BOOL", value_parser = parse_bool)]
    sidecar_run_as_non_root: Option<bool>,
    /// readOnlyRootFilesystem of the sidecar [env: SIDECAR_READ_ONLY_ROOT_FILESYSTEM]
    /// [default: true]
    #[arg(long, value_name = "BOOL", value_parser = parse_bool)]
    sidecar_read_only_root_filesystem: Option<bool>,
    /// Drop all capabilities of the sidecar [env: SIDECAR_DROP_ALL_CAPABILITIES] [default: true]
    #[arg(long, value_name = "BOOL", value_parser = parse_bool)]
    sidecar_drop_all_capabilities: Option<bool>,
    /// runAsUser of the sidecar [env: SIDECAR_RUN_AS_USER]
    #[arg(long, value_name = "UID", value_parser = parse_id)]
    sidecar_run_as_user: Option<i64>,
    /// runAsGroup of the sidecar [env: SIDECAR_RUN_AS_GROUP]
    #[arg(long, value_name = "GID", value_parser = parse_id)]
    sidecar_run_as_group: Option<i64>,
    /// Give sidecars DAPR_HOST_IP from their pod's status [env: ENABLE_K8S_DOWNWARD_APIS]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", value_parser = parse_bool)]
    enable_k8s_downward_apis: Option<bool>,
    /// JSON array of tolerations: a pod with one of them gets the sidecar's program as `command`
    /// [env: IGNORE_ENTRYPOINT_TOLERATIONS]
    #[arg(long, value_name = "JSON")]
    ignore_entrypoint_tolerations: Option<String>,
    /// Where the sockets of pluggable components are mounted [env: DAPR_COMPONENT_SOCKETS_FOLDER]
    #[arg(long, value_name = "PATH")]
    component_sockets_folder: Option<String>,
    #[command(flatten)]
    control_plane: ControlPlaneArgs,
}

/// The services of a control plane: what is not given is not written into pods.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "The control plane of sidecars")]
struct ControlPlaneArgs {
    /// Namespace of the control plane [env: NAMESPACE]
    #[arg(long, value_name = "NAMESPACE")]
    control_plane_namespace: Option<String>,
    /// Trust domain of the control plane [env: DAPR_CONTROL_PLANE_TRUST_DOMAIN]
    /// [default: cluster.local]
    #[arg(long, value_name = "DOMAIN")]
    control_plane_trust_domain: Option<String>,
    /// Domain of the cluster's names [env: KUBE_CLUSTER_DOMAIN] [default: cluster.local]
    #[arg(long, value_name = "DOMAIN")]
    cluster_domain: Option<String>,
    /// HOST:PORT of the service that hands resources to sidecars
    #[arg(long, value_name = "HOST:PORT", value_parser = parse_address)]
    control_plane_address: Option<String>,
    /// HOST:PORT of the authority for workload identity [env: DAPR_SENTRY_ADDRESS]
    #[arg(long, value_name = "HOST:PORT", value_parser = parse_address)]
    sentry_address: Option<String>,
    /// PEM file of that authority's trust anchors [env: DAPR_TRUST_ANCHORS_FILE]
    #[arg(long, value_name = "FILE")]
    trust_anchors_file: Option<PathBuf>,
    /// Whether sidecars use TLS among themselves, where there is an authority [default: true]
    #[arg(long, value_name = "BOOL", value_parser = parse_bool)]
    enable_mtls: Option<bool>,
    /// HOST:PORT of the placement service, unless ACTORS_ENABLED is false
    /// [env: ACTORS_SERVICE_ADDRESS]
    #[arg(long, value_name = "HOST:PORT", value_parser = parse_address)]
    placement_address: Option<String>,
    /// HOST:PORT of the scheduler service
    #[arg(long, value_name = "HOST:PORT", value_parser = parse_address)]
    scheduler_address: Option<String>,
}

/// Where the sidecar runs, unless the pod says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum NativeSidecar {
    /// As the version of the API server allows.
    Auto,
    /// Always a restartable init container.
    On,
    /// Always a container like the others.
    Off,
}

impl ConfigArgs {
    /// The domain of the cluster's names.
    pub(super) fn cluster_domain(&self, environment: &Environment) -> String {
        let given = self.control_plane.cluster_domain.clone();
        let given = given.or_else(|| Some(environment.non_empty("KUBE_CLUSTER_DOMAIN")?.into()));
        given.unwrap_or_else(|| "cluster.local".to_owned())
    }

    /// What was asked for of native sidecars.
    pub(super) fn native_sidecar(&self, environment: &Environment) -> NativeSidecar {
        let of_environment = |text: &str| match is_truthy(text) {
            true => NativeSidecar::On,
            false => NativeSidecar::Off,
        };
        self.native_sidecar
            .or_else(|| {
                environment
                    .non_empty("NATIVE_SIDECAR_ENABLED")
                    .map(of_environment)
            })
            .unwrap_or(NativeSidecar::Auto)
    }

    /// The configuration, with `native_sidecar` as decided. Every problem is told at once.
    pub(super) fn config(
        &self,
        environment: &Environment,
        native_sidecar: bool,
    ) -> anyhow::Result<Config> {
        let mut settings = Settings {
            environment,
            problems: Vec::new(),
        };
        let config = self.read(&mut settings, native_sidecar);
        if settings.problems.is_empty() {
            Ok(config)
        } else {
            Err(anyhow::anyhow!("{}", settings.problems.join("\nerror: ")))
        }
    }

    fn read(&self, settings: &mut Settings<'_>, native_sidecar: bool) -> Config {
        let default = Config::default();
        let image = settings.text(self.sidecar_image.as_deref(), "SIDECAR_IMAGE");
        let policy = self
            .sidecar_image_pull_policy
            .or_else(|| settings.parsed("SIDECAR_IMAGE_PULL_POLICY", parse_pull_policy));
        let user = self.sidecar_run_as_user;
        let group = self.sidecar_run_as_group;
        let folder = settings.text(
            self.component_sockets_folder.as_deref(),
            "DAPR_COMPONENT_SOCKETS_FOLDER",
        );
        let flag = |given: Option<bool>, name| given.unwrap_or_else(|| settings.truth(name, true));
        Config {
            sidecar_image: image.unwrap_or(default.sidecar_image),
            image_pull_policy: policy.unwrap_or_default(),
            native_sidecar,
            allow_weakened_security: self.allow_weakened_security.unwrap_or(false),
            secrets_default_access: self.sidecar_secrets_default_access.unwrap_or_default(),
            run_as_non_root: flag(self.sidecar_run_as_non_root, "SIDECAR_RUN_AS_NON_ROOT"),
            read_only_root_filesystem: flag(
                self.sidecar_read_only_root_filesystem,
                "SIDECAR_READ_ONLY_ROOT_FILESYSTEM",
            ),
            drop_all_capabilities: flag(
                self.sidecar_drop_all_capabilities,
                "SIDECAR_DROP_ALL_CAPABILITIES",
            ),
            run_as_user: user.or_else(|| settings.parsed("SIDECAR_RUN_AS_USER", parse_id)),
            run_as_group: group.or_else(|| settings.parsed("SIDECAR_RUN_AS_GROUP", parse_id)),
            downward_apis: self
                .enable_k8s_downward_apis
                .unwrap_or_else(|| settings.truth("ENABLE_K8S_DOWNWARD_APIS", false)),
            ignore_entrypoint_tolerations: self.tolerations(settings),
            component_sockets_folder: folder.unwrap_or(default.component_sockets_folder),
            control_plane: self.control_plane.control_plane(settings),
            placement_address: self.control_plane.placement(settings),
            scheduler_address: self.control_plane.scheduler_address.clone(),
        }
    }

    fn tolerations(&self, settings: &mut Settings<'_>) -> Vec<Toleration> {
        let given = self.ignore_entrypoint_tolerations.as_deref();
        let parse = |text: &str| {
            serde_json::from_str(text)
                .map_err(|error| format!("{text:?} is not a JSON array of tolerations: {error}"))
        };
        match settings.text(given, "IGNORE_ENTRYPOINT_TOLERATIONS") {
            None => Vec::new(),
            Some(text) => parse(&text).unwrap_or_else(|problem| {
                settings.problem("--ignore-entrypoint-tolerations", &problem);
                Vec::new()
            }),
        }
    }
}

impl ControlPlaneArgs {
    fn control_plane(&self, settings: &mut Settings<'_>) -> Option<ControlPlane> {
        let namespace = settings.text(self.control_plane_namespace.as_deref(), "NAMESPACE");
        let resources_address = self.control_plane_address.clone();
        let authority = self.authority(settings);
        let Some(namespace) = namespace else {
            if resources_address.is_some() || authority.is_some() {
                settings.problem(
                    "--control-plane-namespace",
                    "is needed with --control-plane-address and --sentry-address",
                );
            }
            return None;
        };
        let trust_domain = settings.text(
            self.control_plane_trust_domain.as_deref(),
            "DAPR_CONTROL_PLANE_TRUST_DOMAIN",
        );
        Some(ControlPlane {
            namespace,
            trust_domain: trust_domain.unwrap_or_else(|| "cluster.local".to_owned()),
            resources_address,
            authority,
        })
    }

    fn authority(&self, settings: &mut Settings<'_>) -> Option<Authority> {
        let address = self
            .sentry_address
            .clone()
            .or_else(|| settings.parsed("DAPR_SENTRY_ADDRESS", parse_address))?;
        let file = self.trust_anchors_file.clone();
        let file = file.or_else(|| {
            let file = settings.environment.non_empty("DAPR_TRUST_ANCHORS_FILE");
            file.map(PathBuf::from)
        });
        let Some(file) = file else {
            settings.problem("--trust-anchors-file", "is needed with --sentry-address");
            return None;
        };
        match std::fs::read_to_string(&file) {
            Ok(trust_anchors) => Some(Authority {
                address,
                trust_anchors,
                mtls: self.enable_mtls.unwrap_or(true),
            }),
            Err(error) => {
                let problem = format!("cannot read {}: {error}", file.display());
                settings.problem("--trust-anchors-file", &problem);
                None
            }
        }
    }

    /// The address of the placement service. A host of one label is a Service in the namespace of
    /// the control plane, as in Dapr.
    fn placement(&self, settings: &mut Settings<'_>) -> Option<String> {
        if !settings.truth("ACTORS_ENABLED", true) {
            return None;
        }
        let address = self
            .placement_address
            .clone()
            .or_else(|| settings.parsed("ACTORS_SERVICE_ADDRESS", parse_address))?;
        let namespace = settings.text(self.control_plane_namespace.as_deref(), "NAMESPACE");
        let domain = settings.text(self.cluster_domain.as_deref(), "KUBE_CLUSTER_DOMAIN");
        let domain = domain.unwrap_or_else(|| "cluster.local".to_owned());
        match (address.rsplit_once(':'), namespace) {
            (Some((host, port)), Some(namespace)) if !host.contains(['.', ':']) => {
                Some(format!("{host}.{namespace}.svc.{domain}:{port}"))
            }
            _ => Some(address),
        }
    }
}

/// Reads the environment, and keeps what is wrong with it.
struct Settings<'a> {
    environment: &'a Environment,
    problems: Vec<String>,
}

impl Settings<'_> {
    fn text(&self, given: Option<&str>, name: &str) -> Option<String> {
        let value = given.or_else(|| self.environment.non_empty(name));
        value.map(str::to_owned)
    }

    /// Whether a variable is true, in Dapr's sense; `default` where it is unset or empty.
    fn truth(&self, name: &str, default: bool) -> bool {
        self.environment.non_empty(name).map_or(default, is_truthy)
    }

    fn parsed<T>(&mut self, name: &str, parse: fn(&str) -> Result<T, String>) -> Option<T> {
        match parse(self.environment.non_empty(name)?) {
            Ok(value) => Some(value),
            Err(problem) => {
                self.problem(name, &problem);
                None
            }
        }
    }

    fn problem(&mut self, name: &str, problem: &str) {
        self.problems.push(format!("{name}: {problem}"));
    }
}

fn parse_access(text: &str) -> Result<DefaultAccess, String> {
    DefaultAccess::parse(text).ok_or_else(|| "accepted are allow and deny".to_owned())
}

fn parse_pull_policy(text: &str) -> Result<PullPolicy, String> {
    PullPolicy::parse(text).ok_or_else(|| {
        format!("{text:?} is no pull policy: accepted are Always, IfNotPresent and Never")
    })
}

/// A user or group id (Kubernetes: 0 to 2147483647).
fn parse_id(text: &str) -> Result<i64, String> {
    text.parse::<u32>()
        .ok()
        .map(i64::from)
        .filter(|id| *id <= i64::from(i32::MAX))
        .ok_or_else(|| format!("{text:?} is no user or group id: accepted are 0 to 2147483647"))
}

fn parse_address(text: &str) -> Result<String, String> {
    let error = || format!("{text:?} is not of the form HOST:PORT");
    let (host, port) = text.rsplit_once(':').ok_or_else(error)?;
    match port.parse::<u16>() {
        Ok(1..) if !host.is_empty() && !host.contains(char::is_whitespace) => Ok(text.to_owned()),
        _ => Err(error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(pairs: &[(&str, &str)]) -> anyhow::Result<Config> {
        let environment = pairs.iter().copied().collect();
        ConfigArgs::default().config(&environment, false)
    }

    #[test]
    fn reads_daprs_variables() {
        let config = config(&[
            ("SIDECAR_IMAGE", "registry/sidegate:1"),
            ("SIDECAR_IMAGE_PULL_POLICY", "Always"),
            ("SIDECAR_RUN_AS_NON_ROOT", "no"),
            ("SIDECAR_READ_ONLY_ROOT_FILESYSTEM", ""),
            ("SIDECAR_RUN_AS_USER", "1000"),
            ("ENABLE_K8S_DOWNWARD_APIS", "yes"),
            (
                "IGNORE_ENTRYPOINT_TOLERATIONS",
                r#"[{"key": "k", "effect": "NoSchedule"}]"#,
            ),
            ("NAMESPACE", "system"),
            ("ACTORS_SERVICE_ADDRESS", "placement:50005"),
        ])
        .unwrap();
        assert_eq!(config.sidecar_image, "registry/sidegate:1");
        assert_eq!(config.image_pull_policy, PullPolicy::Always);
        assert!(!config.run_as_non_root);
        assert!(config.read_only_root_filesystem);
        assert_eq!(
            (config.run_as_user, config.run_as_group),
            (Some(1000), None)
        );
        assert!(config.downward_apis);
        assert_eq!(
            config.ignore_entrypoint_tolerations[0].key.as_deref(),
            Some("k")
        );
        assert_eq!(
            config.placement_address.as_deref(),
            Some("placement.system.svc.cluster.local:50005")
        );
        let control_plane = config.control_plane.unwrap();
        assert_eq!(control_plane.namespace, "system");
        assert_eq!(control_plane.trust_domain, "cluster.local");
        assert_eq!(control_plane.resources_address, None);
    }

    #[test]
    fn an_empty_environment_names_no_services() {
        let config = config(&[]).unwrap();
        assert_eq!(config.control_plane, None);
        assert_eq!(config.placement_address, None);
        assert_eq!(config.scheduler_address, None);
    }

    #[test]
    fn tells_every_problem_at_once() {
        let error = config(&[
            ("SIDECAR_IMAGE_PULL_POLICY", "always"),
            ("SIDECAR_RUN_AS_USER", "-1"),
            ("IGNORE_ENTRYPOINT_TOLERATIONS", "hi"),
            ("ACTORS_SERVICE_ADDRESS", "name:"),
            ("DAPR_SENTRY_ADDRESS", "sentry:443"),
        ])
        .unwrap_err();
        assert_eq!(
            error.to_string(),
            "SIDECAR_IMAGE_PULL_POLICY: \"always\" is no pull policy: accepted are Always, \
             IfNotPresent and Never\n\
             error: SIDECAR_RUN_AS_USER: \"-1\" is no user or group id: accepted are 0 to \
             2147483647\n\
             error: --ignore-entrypoint-tolerations: \"hi\" is not a JSON array of tolerations: \
             expected value at line 1 column 1\n\
             error: --trust-anchors-file: is needed with --sentry-address\n\
             error: ACTORS_SERVICE_ADDRESS: \"name:\" is not of the form HOST:PORT"
        );
    }

    #[test]
    fn native_sidecars_are_auto_unless_said_otherwise() {
        for (value, wanted) in [
            ("", NativeSidecar::Auto),
            ("true", NativeSidecar::On),
            ("0", NativeSidecar::Off),
        ] {
            let environment = [("NATIVE_SIDECAR_ENABLED", value)].into_iter().collect();
            assert_eq!(ConfigArgs::default().native_sidecar(&environment), wanted);
        }
    }
}
