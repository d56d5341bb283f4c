//! AdmissionReviews: decode, judge, encode. No I/O.
//!
//! The wire form is that of `admission.k8s.io/v1`, and of `v1beta1`, which has the same fields.
//! <https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/>

use std::borrow::Cow;

use k8s_openapi::ByteString;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::config::Config;
use super::inject::{self, SkipReason, Verdict};
use super::requester::Requesters;
use super::warnings;
use crate::process::tasks::with_causes;

/// The API versions that are spoken; an answer has that of its question.
const API_VERSIONS: [&str; 2] = ["admission.k8s.io/v1", "admission.k8s.io/v1beta1"];

/// How many characters of somebody else's text an error repeats.
const QUOTED_CHARACTERS: usize = 200;

/// Why a body is no review.
#[derive(Debug, thiserror::Error)]
pub enum ReviewError {
    /// It is no JSON of this form. Holds the decoder's words.
    #[error("the body is no AdmissionReview: {0}")]
    Decode(String),
    /// It is of another kind, or of a version that is not spoken.
    #[error(
        "kind {kind:?} of {api_version:?} is not accepted: send an AdmissionReview of \
         admission.k8s.io/v1 or admission.k8s.io/v1beta1"
    )]
    Kind {
        /// The kind.
        kind: String,
        /// The API version.
        api_version: String,
    },
    /// It has no request.
    #[error("the AdmissionReview has no request")]
    NoRequest,
}

/// An AdmissionReview with a request.
#[derive(Debug)]
pub struct Review {
    api_version: String,
    request: AdmissionRequest,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    #[serde(default)]
    api_version: String,
    #[serde(default)]
    kind: String,
    request: Option<AdmissionRequest>,
}

/// Those fields of a request that decide. Others, such as `oldObject`, are not even kept.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct AdmissionRequest {
    uid: String,
    kind: GroupVersionKind,
    sub_resource: String,
    namespace: String,
    operation: String,
    user_info: UserInfo,
    object: Value,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct GroupVersionKind {
    group: String,
    version: String,
    kind: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct UserInfo {
    username: String,
    groups: Option<Vec<String>>,
}

impl Review {
    /// Decodes a body. JSON that is nested deeper than 128 levels is an error (serde_json's limit).
    pub fn decode(body: &[u8]) -> Result<Self, ReviewError> {
        let envelope: Envelope = serde_json::from_slice(body)
            .map_err(|error| ReviewError::Decode(shorten(&error.to_string()).into_owned()))?;
        if envelope.kind != "AdmissionReview"
            || !API_VERSIONS.contains(&envelope.api_version.as_str())
        {
            return Err(ReviewError::Kind {
                kind: shorten(&envelope.kind).into_owned(),
                api_version: shorten(&envelope.api_version).into_owned(),
            });
        }
        Ok(Self {
            api_version: envelope.api_version,
            request: envelope.request.ok_or(ReviewError::NoRequest)?,
        })
    }

    /// The review of a pod that somebody is about to create.
    pub fn of_new_pod(namespace: String, pod: Value) -> Self {
        Self {
            api_version: API_VERSIONS[0].to_owned(),
            request: AdmissionRequest {
                kind: GroupVersionKind {
                    version: "v1".to_owned(),
                    kind: "Pod".to_owned(),
                    ..GroupVersionKind::default()
                },
                operation: "CREATE".to_owned(),
                namespace,
                object: pod,
                ..AdmissionRequest::default()
            },
        }
    }

    /// What is to be done with the object. Only the creation of a core/v1 Pod is looked at:
    /// whatever else the webhook is called for passes unchanged.
    pub fn judge(&self, config: &Config, requesters: &Requesters) -> Judgement {
        let request = &self.request;
        let kind = &request.kind;
        if (
            kind.group.as_str(),
            kind.version.as_str(),
            kind.kind.as_str(),
        ) != ("", "v1", "Pod")
        {
            return Judgement::passed("other_kind");
        }
        if !request.sub_resource.is_empty() {
            return Judgement::passed("subresource");
        }
        if request.operation != "CREATE" {
            return Judgement::passed("other_operation");
        }
        if !request.object.is_object() {
            return Judgement::unreadable("the request holds no pod".to_owned());
        }
        if inject::wants_sidecar(&request.object) && !self.requester_is_allowed(requesters) {
            return Judgement::denied("requester", self.requester_message());
        }
        let asked = inject::Request {
            namespace: &request.namespace,
            pod: &request.object,
        };
        match inject::inject(&asked, config) {
            Ok(Verdict::Skipped(reason)) => Judgement {
                warnings: self.skip_warning(reason).into_iter().collect(),
                ..Judgement::passed(reason.as_str())
            },
            Ok(verdict) => Judgement::of_verdict(verdict),
            Err(error) => Judgement::unreadable(shorten(&with_causes(&error)).into_owned()),
        }
    }

    /// What the author of a pod should know that asks for a sidecar in a way that is not taken.
    fn skip_warning(&self, reason: SkipReason) -> Option<String> {
        if reason != SkipReason::NotExactlyTrue {
            return None;
        }
        let value = &self.request.object["metadata"]["annotations"][inject::ENABLED];
        let value = shorten(value.as_str().unwrap_or_default());
        let key = inject::ENABLED;
        Some(format!(
            "annotation {key:?}: {value:?} gives the pod no sidecar: only \"true\" does"
        ))
    }

    fn requester_is_allowed(&self, requesters: &Requesters) -> bool {
        let user = &self.request.user_info;
        requesters.allow(&user.username, user.groups.as_deref().unwrap_or_default())
    }

    fn requester_message(&self) -> String {
        format!(
            "user {:?} may not create pods that get a sidecar: accepted are the service accounts \
             of --allowed-service-accounts, Kubernetes' own controllers and the group \
             system:masters",
            shorten(&self.request.user_info.username)
        )
    }

    /// Encodes the answer to this review.
    pub fn encode(&self, judgement: &Judgement) -> serde_json::Result<Vec<u8>> {
        let patch = match &judgement.patch {
            Some(patch) => Some(ByteString(serde_json::to_vec(patch)?)),
            None => None,
        };
        let status = judgement.denial.as_ref().map(|denial| Status {
            status: "Failure",
            message: &denial.message,
            reason: denial.reason,
            code: denial.code,
        });
        serde_json::to_vec(&Answer {
            api_version: &self.api_version,
            kind: "AdmissionReview",
            response: Response {
                uid: &self.request.uid,
                allowed: status.is_none(),
                status,
                patch_type: patch.is_some().then_some("JSONPatch"),
                patch,
                warnings: warnings::limit(&judgement.warnings),
            },
        })
    }

    /// The namespace that the object goes to.
    pub fn namespace(&self) -> Cow<'_, str> {
        shorten(&self.request.namespace)
    }

    /// The name of the object, or what its name will begin with.
    pub fn object_name(&self) -> Cow<'_, str> {
        let of = |key| self.request.object.pointer(key).and_then(Value::as_str);
        let name = of("/metadata/name").or_else(|| of("/metadata/generateName"));
        shorten(name.unwrap_or_default())
    }
}

/// What is to be done with an object.
#[derive(Debug)]
pub struct Judgement {
    /// In one word, for metrics.
    pub outcome: Outcome,
    /// Why, as one of few fixed words, for metrics.
    pub reason: &'static str,
    /// The app id of the sidecar, where one was injected.
    pub app_id: Option<String>,
    /// Why the object is denied, where it is.
    pub denial: Option<Denial>,
    /// What the user should know.
    pub warnings: Vec<String>,
    /// What changes the object, where something does. Never empty.
    pub patch: Option<json_patch::Patch>,
}

/// Why an object is denied, in the words of Kubernetes' `Status`.
#[derive(Debug)]
pub struct Denial {
    /// What was wrong with which field, and what is accepted.
    pub message: String,
    reason: &'static str,
    code: u16,
}

/// What came of a review.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The pod gets a sidecar.
    Injected,
    /// The object passes unchanged, or had its sidecar already.
    Passed,
    /// The object is denied.
    Denied,
}

impl Outcome {
    /// The word for metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Injected => "injected",
            Self::Passed => "passed",
            Self::Denied => "denied",
        }
    }
}

impl Judgement {
    fn new(outcome: Outcome, reason: &'static str) -> Self {
        Self {
            outcome,
            reason,
            app_id: None,
            denial: None,
            warnings: Vec::new(),
            patch: None,
        }
    }

    fn passed(reason: &'static str) -> Self {
        Self::new(Outcome::Passed, reason)
    }

    fn denied(reason: &'static str, message: String) -> Self {
        let denial = Denial {
            message,
            reason: "Forbidden",
            code: 403,
        };
        Self {
            denial: Some(denial),
            ..Self::new(Outcome::Denied, reason)
        }
    }

    fn unreadable(message: String) -> Self {
        let denial = Denial {
            message,
            reason: "BadRequest",
            code: 400,
        };
        Self {
            denial: Some(denial),
            ..Self::new(Outcome::Denied, "not_a_pod")
        }
    }

    fn of_verdict(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Skipped(reason) => Self::passed(reason.as_str()),
            Verdict::Injected {
                app_id,
                patch,
                warnings,
            } => Self {
                app_id: Some(app_id),
                patch: Some(patch),
                warnings,
                ..Self::new(Outcome::Injected, "new_sidecar")
            },
            Verdict::AlreadyInjected { warnings, patch } => Self {
                patch: Some(patch).filter(|patch| !patch.is_empty()),
                warnings,
                ..Self::passed("already_injected")
            },
            Verdict::ForeignSidecar { warnings } => Self {
                warnings,
                ..Self::passed("foreign_sidecar")
            },
            Verdict::Denied {
                message,
                reason,
                warnings,
            } => Self {
                warnings,
                ..Self::denied(reason.as_str(), message)
            },
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer<'a> {
    api_version: &'a str,
    kind: &'a str,
    response: Response<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Response<'a> {
    uid: &'a str,
    allowed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<Status<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch_type: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch: Option<ByteString>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
}

#[derive(Serialize)]
struct Status<'a> {
    status: &'a str,
    message: &'a str,
    reason: &'a str,
    code: u16,
}

/// Keeps somebody else's text short enough for a log line or an error.
fn shorten(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(QUOTED_CHARACTERS) {
        None => Cow::Borrowed(text),
        Some((end, _)) => Cow::Owned(format!("{}…", &text[..end])),
    }
}
