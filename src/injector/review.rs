//! AdmissionReviews: decode, judge, encode. No I/O.
//!
//! The wire form is that of `admission.k8s.io/v1`, and of `v1beta1`, which has the same fields.
//! <https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/>

use std::borrow::Cow;

use k8s_openapi::ByteString;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::config::Config;
use super::inject::{self, SkipReason, Verdict};
use super::judgement::{Judgement, Outcome};
use super::others::{self, OtherInjector};
use super::requester::Requesters;
use super::warnings;
use crate::process::tasks::with_causes;

/// The API versions that are spoken; an answer has that of its question.
const API_VERSIONS: [&str; 2] = ["admission.k8s.io/v1", "admission.k8s.io/v1beta1"];

/// The annotation that asks for a sidecar.
const ENABLED: &str = "dapr.io/enabled";

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
    pub(super) request: AdmissionRequest,
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

/// Those fields of a request that decide. Others are not even kept.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct AdmissionRequest {
    uid: String,
    pub(super) kind: GroupVersionKind,
    pub(super) sub_resource: String,
    pub(super) namespace: String,
    pub(super) operation: String,
    user_info: UserInfo,
    pub(super) object: Value,
    /// As it was sent, since only advice looks at it.
    old_object: Option<Box<RawValue>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct GroupVersionKind {
    pub(super) group: String,
    version: String,
    pub(super) kind: String,
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
    pub fn judge(
        &self,
        config: &Config,
        requesters: &Requesters,
        others: &[OtherInjector],
    ) -> Judgement {
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
            Ok(verdict) => {
                let mut judgement = Judgement::of_verdict(verdict);
                if judgement.outcome == Outcome::Injected {
                    let pod = &request.object;
                    let other = others::warning(others, &request.namespace, pod);
                    judgement.warnings.extend(other);
                }
                judgement
            }
            Err(error) => Judgement::unreadable(shorten(&with_causes(&error)).into_owned()),
        }
    }

    /// What the author of a pod should know that asks for a sidecar in a way that is not taken.
    fn skip_warning(&self, reason: SkipReason) -> Option<String> {
        if reason != SkipReason::NotExactlyTrue {
            return None;
        }
        let value = &self.request.object["metadata"]["annotations"][ENABLED];
        let value = shorten(value.as_str().unwrap_or_default());
        Some(format!(
            "annotation {ENABLED:?}: {value:?} gives the pod no sidecar: only \"true\" does"
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

    /// The object as it was before; null where there was none.
    pub(super) fn old_object(&self) -> Value {
        let text = self.request.old_object.as_deref().map(RawValue::get);
        text.and_then(|text| serde_json::from_str(text).ok())
            .unwrap_or_default()
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn decode(review: &Value) -> Result<Review, ReviewError> {
        Review::decode(review.to_string().as_bytes())
    }

    fn review(request: &Value) -> Review {
        let review = json!({
            "apiVersion": API_VERSIONS[0],
            "kind": "AdmissionReview",
            "request": request,
        });
        decode(&review).unwrap()
    }

    fn judge(review: &Review) -> Judgement {
        review.judge(&Config::default(), &Requesters::default(), &[])
    }

    #[test]
    fn says_what_is_no_review() {
        for (body, wanted) in [
            (
                "{",
                "the body is no AdmissionReview: EOF while parsing an object at line 1 column 1",
            ),
            (
                "{}",
                "kind \"\" of \"\" is not accepted: send an AdmissionReview of \
                 admission.k8s.io/v1 or admission.k8s.io/v1beta1",
            ),
            (
                r#"{"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview"}"#,
                "the AdmissionReview has no request",
            ),
            (
                r#"{"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
                    "request": null}"#,
                "the AdmissionReview has no request",
            ),
        ] {
            let error = Review::decode(body.as_bytes()).unwrap_err();
            assert_eq!(error.to_string(), wanted);
        }
    }

    #[test]
    fn an_error_repeats_little_of_a_hostile_body() {
        let long = "x".repeat(100_000);
        for body in [
            json!({"apiVersion": long, "kind": long}),
            json!({"apiVersion": "", "kind": "", "request": {"userInfo": long}}),
        ] {
            let error = decode(&body).unwrap_err();
            assert!(error.to_string().len() < 1000);
        }
    }

    #[test]
    fn deep_nesting_is_an_error() {
        let deep = "[".repeat(100_000);
        let body =
            format!(r#"{{"apiVersion": "admission.k8s.io/v1", "request": {{"object": {deep}"#);
        let error = Review::decode(body.as_bytes()).unwrap_err().to_string();
        assert!(error.contains("recursion limit exceeded"), "{error}");
    }

    #[test]
    fn looks_at_the_creation_of_pods_only() {
        let pod = json!({"group": "", "version": "v1", "kind": "Pod"});
        let enabled = json!({"metadata": {"annotations": {"dapr.io/enabled": "true"}}});
        for (changes, reason) in [
            (json!({"operation": "UPDATE"}), "other_operation"),
            (
                json!({"operation": "DELETE", "object": null}),
                "other_operation",
            ),
            (json!({"operation": "CONNECT"}), "other_operation"),
            (json!({"subResource": "ephemeralcontainers"}), "subresource"),
            (
                json!({"kind": {"version": "v1", "kind": "Service"}}),
                "other_kind",
            ),
            (
                json!({"kind": {"group": "x", "version": "v1", "kind": "Pod"}}),
                "other_kind",
            ),
        ] {
            let mut request = json!({"kind": pod, "operation": "CREATE", "object": enabled});
            let map = request.as_object_mut().unwrap();
            map.extend(changes.as_object().unwrap().clone());
            let judgement = judge(&review(&request));
            assert_eq!(
                (judgement.outcome, judgement.reason),
                (Outcome::Passed, reason)
            );
            assert!(judgement.patch.is_none());
        }
    }

    #[test]
    fn a_request_without_a_pod_is_denied() {
        for object in [Value::Null, json!(1), json!([])] {
            let review = Review::of_new_pod("shop".to_owned(), object);
            let judgement = judge(&review);
            assert_eq!(
                judgement.denial.unwrap().message,
                "the request holds no pod"
            );
        }
    }

    #[test]
    fn the_answer_echoes_uid_and_version() {
        for version in API_VERSIONS {
            let body = json!({
                "apiVersion": version,
                "kind": "AdmissionReview",
                "request": {"uid": "a-b-c"},
            });
            let review = decode(&body).unwrap();
            let answer = review.encode(&judge(&review)).unwrap();
            let answer: Value = serde_json::from_slice(&answer).unwrap();
            let wanted = json!({
                "apiVersion": version,
                "kind": "AdmissionReview",
                "response": {"uid": "a-b-c", "allowed": true},
            });
            assert_eq!(answer, wanted);
        }
    }

    #[test]
    fn an_answer_carries_patch_denial_and_warnings() {
        let review = review(&json!({"uid": "u"}));
        let patch = json!([{"op": "add", "path": "/a", "value": 1}]);
        let judgement = Judgement {
            patch: Some(serde_json::from_value(patch.clone()).unwrap()),
            warnings: vec!["mind this".to_owned()],
            ..Judgement::passed("test")
        };
        let answer: Value = serde_json::from_slice(&review.encode(&judgement).unwrap()).unwrap();
        let response = &answer["response"];
        assert_eq!(response["patchType"], "JSONPatch");
        assert_eq!(response["warnings"], json!(["mind this"]));
        let ByteString(bytes) = serde_json::from_value(response["patch"].clone()).unwrap();
        assert_eq!(serde_json::from_slice::<Value>(&bytes).unwrap(), patch);

        let denied = Judgement::denied("requester", "no".to_owned());
        let answer: Value = serde_json::from_slice(&review.encode(&denied).unwrap()).unwrap();
        assert_eq!(
            answer["response"],
            json!({
                "uid": "u",
                "allowed": false,
                "status": {
                    "status": "Failure", "message": "no", "reason": "Forbidden", "code": 403,
                },
            })
        );
    }

    #[test]
    fn only_those_who_ask_for_a_sidecar_need_to_be_allowed() {
        let requesters = Requesters::parse("shop:deployer").unwrap();
        let of = |enabled: &str, user: &str| {
            let review = review(&json!({
                "kind": {"version": "v1", "kind": "Pod"},
                "operation": "CREATE",
                "userInfo": {"username": user, "groups": null},
                "object": {"metadata": {"annotations": {"dapr.io/enabled": enabled}}},
            }));
            review.judge(&Config::default(), &requesters, &[])
        };
        assert_eq!(of("false", "jane").outcome, Outcome::Passed);
        let denied = of("true", "jane");
        assert_eq!(denied.reason, "requester");
        assert_eq!(
            denied.denial.unwrap().message,
            "user \"jane\" may not create pods that get a sidecar: accepted are the service \
             accounts of --allowed-service-accounts, Kubernetes' own controllers and the group \
             system:masters"
        );
        let allowed = of("true", "system:serviceaccount:shop:deployer");
        assert_ne!(allowed.reason, "requester");
    }

    #[test]
    fn tells_who_spells_true_in_another_way() {
        let pod = json!({"metadata": {"annotations": {"dapr.io/enabled": "yes"}}});
        let judgement = judge(&Review::of_new_pod("shop".to_owned(), pod));
        assert_eq!(judgement.outcome, Outcome::Passed);
        assert_eq!(
            judgement.warnings,
            [
                "annotation \"dapr.io/enabled\": \"yes\" gives the pod no sidecar: only \"true\" \
                 does"
            ]
        );
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(body: Vec<u8>) {
            let _ = Review::decode(&body);
        }

        #[test]
        fn no_object_makes_it_panic(
            object in "[\\[{\"]{0,3}(metadata|annotations|spec|[a-z\"{}\\[\\]:,0]){0,30}",
        ) {
            let body = format!(
                r#"{{"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request":
                    {{"kind": {{"version": "v1", "kind": "Pod"}}, "operation": "CREATE",
                      "object": {object}}}}}"#
            );
            if let Ok(review) = Review::decode(body.as_bytes()) {
                let judgement = judge(&review);
                prop_assert!(review.encode(&judgement).is_ok());
            }
        }
    }
}
