//! What the injector counts. Every label value is a word of the program: nothing that a pod or a
//! request says becomes a label, so that nobody can make the number of series grow.

use std::time::{Duration, SystemTime};

use metrics::{
    Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};

use super::judgement::{Judgement, Outcome};

const REVIEWS: &str = "sidegate_injector_reviews_total";
const DURATION: &str = "sidegate_injector_review_duration_seconds";
const ADVICE: &str = "sidegate_injector_advice_total";
const ADVICE_DURATION: &str = "sidegate_injector_advice_duration_seconds";
const CERTIFICATE: &str = "sidegate_injector_certificate_remaining_seconds";

// Dapr's names, for its dashboards and alerts; without its label `app_id`, which pods choose.
const DAPR_REQUESTS: &str = "dapr_injector_sidecar_injection_requests_total";
const DAPR_SUCCEEDED: &str = "dapr_injector_sidecar_injection_succeeded_total";
const DAPR_FAILED: &str = "dapr_injector_sidecar_injection_failed_total";

/// Says what each metric is.
pub(super) fn describe() {
    describe_counter!(
        REVIEWS,
        "Admission reviews, by outcome (injected, passed, denied, refused) and reason"
    );
    describe_histogram!(
        DURATION,
        Unit::Seconds,
        "From the head of a request to the end of its answer"
    );
    describe_counter!(
        ADVICE,
        "Reviews of workloads, by outcome (warned, silent, refused) and reason"
    );
    describe_histogram!(
        ADVICE_DURATION,
        Unit::Seconds,
        "From the head of a request to the end of its answer"
    );
    describe_gauge!(
        CERTIFICATE,
        Unit::Seconds,
        "Until the certificate of the webhook ends; negative after its end"
    );
    describe_counter!(DAPR_REQUESTS, "Requests to inject a sidecar");
    describe_counter!(DAPR_SUCCEEDED, "Pods that got a sidecar");
    describe_counter!(DAPR_FAILED, "Requests that failed, by reason");
}

/// Counts a review that was answered.
pub(super) fn judged(judgement: &Judgement, took: Duration) {
    counted(judgement.outcome.as_str(), judgement.reason, took);
    match judgement.outcome {
        Outcome::Injected => counter!(DAPR_SUCCEEDED).increment(1),
        Outcome::Denied => counter!(DAPR_FAILED, "reason" => "patch").increment(1),
        Outcome::Passed => {}
    }
}

/// Counts a request that is no review, or cannot be answered.
pub(super) fn refused(reason: &'static str, took: Duration) {
    counted("refused", reason, took);
    counter!(DAPR_FAILED, "reason" => "patch").increment(1);
}

/// Counts a review of a workload that was answered.
pub(super) fn advised(judgement: &Judgement, took: Duration) {
    let outcome = if judgement.warnings.is_empty() {
        "silent"
    } else {
        "warned"
    };
    advice_counted(outcome, judgement.reason, took);
}

/// Counts a request for advice that is no review, or cannot be answered.
pub(super) fn advice_refused(reason: &'static str, took: Duration) {
    advice_counted("refused", reason, took);
}

fn advice_counted(outcome: &'static str, reason: &'static str, took: Duration) {
    counter!(ADVICE, "outcome" => outcome, "reason" => reason).increment(1);
    histogram!(ADVICE_DURATION, "outcome" => outcome).record(took);
}

fn counted(outcome: &'static str, reason: &'static str, took: Duration) {
    counter!(DAPR_REQUESTS).increment(1);
    counter!(REVIEWS, "outcome" => outcome, "reason" => reason).increment(1);
    histogram!(DURATION, "outcome" => outcome).record(took);
}

/// Tells how long the certificate still lives.
pub(super) fn certificate_ends(at: SystemTime) {
    let remaining = match at.duration_since(SystemTime::now()) {
        Ok(remaining) => remaining.as_secs_f64(),
        Err(ended) => -ended.duration().as_secs_f64(),
    };
    gauge!(CERTIFICATE).set(remaining);
}
