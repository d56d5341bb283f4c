//! The one entry: a pod and the configuration in, a verdict out.

use std::collections::BTreeMap;

use json_patch::Patch;
use k8s_openapi::api::core::v1::{Container, Pod};
use serde::Deserialize as _;
use serde::de::Error as _;
use serde_json::Value;

use super::annotations::{Annotations, table as key};
use super::config::Config;
use super::container::sidecar;
use super::denial::Denial;
pub use super::denial::DenyReason;
use super::neighbours::{self, additions, first_place};
use super::patch::{Operations, Place};
use super::pod::{self, INJECTED_LABEL, Present, SIDECAR, present};
use super::settings::{Position, Settings};
use super::volumes::{Volumes, volumes};
use super::warnings::limit;
use crate::base::truthy::is_truthy;

/// The annotation that asks for a sidecar.
pub const ENABLED: &str = key::ENABLED.key;

/// The most bytes of all annotations that Kubernetes takes
/// (`k8s.io/apimachinery/pkg/api/validation`, `TotalAnnotationSizeLimitB`).
const ANNOTATION_BYTES: usize = 256 * 1024;

/// What is asked for one pod.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The namespace of the admission request: the pod itself may not carry one yet.
    pub namespace: &'a str,
    /// The whole Pod object, as it was sent.
    pub pod: &'a Value,
}

/// What becomes of a pod.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// Not for us: allow it unchanged.
    Skipped(SkipReason),
    /// Allow it with this patch.
    Injected {
        /// The app id that was chosen, a DNS label.
        app_id: String,
        /// `add` operations only, never empty.
        patch: Patch,
        /// For whoever created the pod.
        warnings: Vec<String>,
    },
    /// It has our sidecar already (a re-invocation): allow it with a patch that gives containers
    /// which came since their environment.
    AlreadyInjected {
        /// For whoever created the pod.
        warnings: Vec<String>,
        /// `add` operations only; empty where nothing is missing.
        patch: Patch,
    },
    /// It has a container `daprd` that is not ours: allow it unchanged, and say so.
    ForeignSidecar {
        /// Never empty.
        warnings: Vec<String>,
    },
    /// Refuse the pod.
    Denied {
        /// Names the annotation or field, its value, and what is accepted.
        message: String,
        /// For metrics.
        reason: DenyReason,
        /// What else was found.
        warnings: Vec<String>,
    },
}

/// Why a pod is left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SkipReason {
    /// `dapr.io/enabled` is absent, or no spelling of true.
    NotEnabled,
    /// `dapr.io/enabled` is a spelling of true (`1`, `yes`, …) that is not exactly `true`: neither
    /// Dapr's webhook nor ours takes it.
    NotExactlyTrue,
    /// The pod mirrors a static pod of a kubelet, which runs it from a file without us.
    MirrorPod,
}

impl SkipReason {
    /// A stable name, for metric labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotEnabled => "not_enabled",
            Self::NotExactlyTrue => "not_exactly_true",
            Self::MirrorPod => "mirror_pod",
        }
    }
}

/// A request that no verdict can be given for: the server answers 400.
#[derive(Debug, thiserror::Error)]
pub enum InjectError {
    /// The object does not decode as a Pod.
    #[error("object is not a pod")]
    NotAPod(#[source] serde_json::Error),
}

/// Whether the pod asks for a sidecar: the annotation `dapr.io/enabled` is `true` in any case, not
/// trimmed (Dapr 1.18; also the condition of the chart's webhook).
pub fn wants_sidecar(pod: &Value) -> bool {
    pod["metadata"]["annotations"][ENABLED]
        .as_str()
        .is_some_and(|text| text.eq_ignore_ascii_case("true"))
}

/// Decides what becomes of one pod.
///
/// # Errors
/// Only where the object is no Pod; everything that a Pod can say gives a verdict.
pub fn inject(request: &Request<'_>, config: &Config) -> Result<Verdict, InjectError> {
    if request.pod.is_object()
        && let Some(reason) = skip_reason(request.pod)
    {
        return Ok(Verdict::Skipped(reason));
    }
    let pod = Pod::deserialize(request.pod).map_err(InjectError::NotAPod)?;
    if pod.spec.is_none() {
        let error = serde_json::Error::missing_field("spec");
        return Err(InjectError::NotAPod(error));
    }
    let present = present(&pod);
    if present == Some(Present::Foreign) {
        return Ok(Verdict::ForeignSidecar {
            warnings: vec![format!(
                "container {SIDECAR:?} was not written by this injector: it stays as it is, and \
                 no annotation has an effect"
            )],
        });
    }
    let none = BTreeMap::new();
    let values = pod.metadata.annotations.as_ref().unwrap_or(&none);
    let mut annotations = Annotations::new(values);
    let checked = check(&pod, &mut annotations, config);
    let mut warnings = annotations.into_warnings();
    let (settings, volumes) = match checked {
        Ok(checked) => checked,
        Err(Denial { reason, message }) => {
            return Ok(Verdict::Denied {
                message,
                reason,
                warnings,
            });
        }
    };
    warnings.extend(pod::warnings(&pod, &settings));
    warnings.extend(neighbours::warnings(&pod, &settings));
    if present.is_some() {
        let patch = complete(&pod, &settings);
        return Ok(Verdict::AlreadyInjected { warnings, patch });
    }
    let mounts = volumes.mounts.clone();
    let namespace = namespace(request, &pod);
    let sidecar = sidecar(namespace, &pod, &settings, config, mounts);
    Ok(Verdict::Injected {
        app_id: settings.app.id.to_string(),
        patch: full(&pod, &settings, &volumes, &sidecar, &warnings),
        warnings,
    })
}

/// Why a pod is left alone, if it is. Decided on the annotations only, so that pods which are not
/// for us are let through whatever else they are.
fn skip_reason(pod: &Value) -> Option<SkipReason> {
    let annotations = &pod["metadata"]["annotations"];
    if !(annotations.is_object() || annotations.is_null()) {
        return None;
    }
    let enabled = annotations[ENABLED].as_str().unwrap_or_default();
    if !annotations["kubernetes.io/config.mirror"].is_null() {
        Some(SkipReason::MirrorPod)
    } else if wants_sidecar(pod) {
        None
    } else if is_truthy(enabled) {
        Some(SkipReason::NotExactlyTrue)
    } else {
        Some(SkipReason::NotEnabled)
    }
}

fn check(
    pod: &Pod,
    annotations: &mut Annotations<'_>,
    config: &Config,
) -> Result<(Settings, Volumes), Denial> {
    if let Some(field) = pod::windows_field(pod) {
        return Err(Denial {
            reason: DenyReason::Windows,
            message: format!(
                "{field}: the sidecar runs on Linux nodes only; remove the annotation {:?} from \
                 pods for Windows nodes",
                ENABLED
            ),
        });
    }
    if annotations.bytes() > ANNOTATION_BYTES {
        return Err(Denial::cannot_run(format!(
            "annotations: {} bytes; accepted are {ANNOTATION_BYTES} at most",
            annotations.bytes()
        )));
    }
    let settings = Settings::check(pod, annotations, config)?;
    let volumes = volumes(pod, &settings, config)?;
    Ok((settings, volumes))
}

/// The namespace of the pod, which it may not carry itself yet.
fn namespace<'a>(request: &Request<'a>, pod: &'a Pod) -> &'a str {
    let own = pod.metadata.namespace.as_deref().unwrap_or("default");
    Some(request.namespace)
        .filter(|namespace| !namespace.is_empty())
        .unwrap_or(own)
}

/// The patch of a pod without a sidecar.
fn full(
    pod: &Pod,
    settings: &Settings,
    volumes: &Volumes,
    sidecar: &Container,
    warnings: &[String],
) -> Patch {
    let place = match settings.position {
        Position::Container => Place::Container,
        Position::NativeLast => Place::InitContainer(pod::init_containers(pod).len()),
        Position::NativeFirst => Place::InitContainer(first_place(pod)),
    };
    let mut volume_names = pod::volume_names(pod);
    volume_names.extend(volumes.added_names());
    let additions = additions(pod, settings, &volume_names);
    let metrics = settings.ports.metrics.is_some();
    let labels = [
        (INJECTED_LABEL, "true"),
        (key::APP_ID.key, settings.app.id.as_str()),
        (
            "dapr.io/metrics-enabled",
            if metrics { "true" } else { "false" },
        ),
    ];
    let version = (key::INJECTED.key, env!("CARGO_PKG_VERSION").to_owned());
    let noted = (!warnings.is_empty()).then(|| (key::WARNINGS.key, limit(warnings).join("\n")));
    let annotations: Vec<_> = [version].into_iter().chain(noted).collect();
    let mut operations = Operations::default();
    operations.set_labels(pod, &labels);
    operations.set_annotations(&annotations);
    operations.add_volumes(pod, &volumes.missing);
    operations.add_sidecar(pod, place, sidecar);
    operations.add_to_containers(&additions, Some(place));
    operations.finish()
}

/// The patch of a pod that has our sidecar: what containers lack that came since.
fn complete(pod: &Pod, settings: &Settings) -> Patch {
    let additions = additions(pod, settings, &pod::volume_names(pod));
    let mut operations = Operations::default();
    operations.add_to_containers(&additions, None);
    operations.finish()
}
