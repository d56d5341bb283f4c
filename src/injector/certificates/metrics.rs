//! What is counted of the webhook's own certificates.

use std::time::{SystemTime, UNIX_EPOCH};

use metrics::{Unit, counter, describe_counter, describe_gauge, gauge};

use super::plan::Step;

const CA_END: &str = "sidegate_injector_ca_end_timestamp_seconds";
const STEPS: &str = "sidegate_injector_certificate_steps_total";
const FAILURES: &str = "sidegate_injector_certificate_failures_total";

/// Says what each metric is.
pub(super) fn describe() {
    describe_gauge!(
        CA_END,
        Unit::Seconds,
        "End of the CA of the webhook, in Unix time"
    );
    describe_counter!(
        STEPS,
        "Steps that this replica took in the renewal of certificates, by kind"
    );
    describe_counter!(
        FAILURES,
        "Failed tries to read or write the Secret of the certificates"
    );
    counter!(FAILURES).absolute(0);
}

/// Tells the end of the CA.
pub(super) fn ca_ends(at: SystemTime) {
    let seconds = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    gauge!(CA_END).set(seconds.as_secs_f64());
}

/// Counts a step that was written.
pub(super) fn stepped(step: Step) {
    counter!(STEPS, "step" => step.as_str()).increment(1);
}

/// Counts a failure.
pub(super) fn failed() {
    counter!(FAILURES).increment(1);
}
