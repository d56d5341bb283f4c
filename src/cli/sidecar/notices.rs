//! What the log says once about the flags.

use super::flags::Args;
use crate::base::environment::Environment;
use crate::base::truthy::is_truthy;

/// Flags that daprd deprecated, with what replaced them.
const DEPRECATED: [(&str, &str); 4] = [
    ("components-path", "--resources-path"),
    ("dapr-http-max-request-size", "--max-body-size"),
    ("dapr-http-read-buffer-size", "--read-buffer-size"),
    ("app-ssl", "--app-protocol https or grpcs"),
];

impl Args {
    /// Lines about flags that are deprecated, and one about those without effect.
    pub(super) fn notices(&self, environment: &Environment) -> Vec<String> {
        let deprecated = [
            self.components_path.is_some(),
            self.dapr_http_max_request_size.is_some(),
            self.dapr_http_read_buffer_size.is_some(),
            self.app_ssl.is_some(),
        ];
        let mut notices: Vec<_> = DEPRECATED
            .iter()
            .zip(deprecated)
            .filter(|(_, is_given)| *is_given)
            .map(|((flag, instead), _)| format!("flag --{flag} is deprecated: use {instead}"))
            .collect();
        let mut idle: Vec<_> = self
            .without_effect()
            .into_iter()
            .filter(|(_, is_given)| *is_given)
            .map(|(name, _)| format!("--{name}"))
            .collect();
        if environment
            .value("DAPR_HTTP_DISABLE_H2C")
            .is_some_and(is_truthy)
        {
            idle.push("DAPR_HTTP_DISABLE_H2C".to_owned());
        }
        if !idle.is_empty() {
            let idle = idle.join(", ");
            notices.push(format!("accepted, without effect in this build: {idle}"));
        }
        notices
    }

    /// The flags that this build only accepts, and whether they are given. A switch that is given
    /// as off has the effect that it asks for.
    fn without_effect(&self) -> [(&'static str, bool); 9] {
        let on = |switch: Option<bool>| switch == Some(true);
        let given = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
        [
            (
                "actors-disseminate-timeout",
                given(&self.actors_disseminate_timeout),
            ),
            ("actors-service", given(&self.actors_service)),
            ("control-plane-address", given(&self.control_plane_address)),
            ("enable-profiling", on(self.enable_profiling)),
            (
                "placement-host-address",
                given(&self.placement_host_address),
            ),
            ("profile-port", given(&self.profile_port)),
            ("reminders-service", given(&self.reminders_service)),
            (
                "scheduler-host-address",
                given(&self.scheduler_host_address),
            ),
            (
                "scheduler-job-streams",
                self.scheduler_job_streams.is_some(),
            ),
        ]
    }
}
