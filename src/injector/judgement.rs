//! What becomes of an object, in the terms of an admission review.

use super::inject::Verdict;

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
    pub(super) reason: &'static str,
    pub(super) code: u16,
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

    pub(super) fn passed(reason: &'static str) -> Self {
        Self::new(Outcome::Passed, reason)
    }

    pub(super) fn denied(reason: &'static str, message: String) -> Self {
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

    pub(super) fn unreadable(message: String) -> Self {
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

    pub(super) fn of_verdict(verdict: Verdict) -> Self {
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
