//! What is counted of the webhook configurations.

use metrics::{counter, describe_counter, describe_gauge, gauge};

const IN_PLACE: &str = "sidegate_injector_registration_in_place";
const GUARDED: &str = "sidegate_injector_registration_guarded";
const WRITES: &str = "sidegate_injector_registration_writes_total";
const FAILURES: &str = "sidegate_injector_registration_failures_total";

/// Says what each metric is, and begins with nothing in place.
pub(super) fn describe(kind: &'static str) {
    describe_gauge!(
        IN_PLACE,
        "1 where the webhook configuration trusts the CA of the webhook, by kind"
    );
    describe_gauge!(
        GUARDED,
        "1 where the mutating webhook lets pods pass that ask for no sidecar when it is down"
    );
    describe_counter!(WRITES, "Writes of a caBundle, by kind");
    describe_counter!(
        FAILURES,
        "Failed tries to read or write a webhook configuration, by kind"
    );
    in_place(kind, false);
    counter!(FAILURES, "kind" => kind).absolute(0);
}

/// Tells whether the caBundle is in place.
pub(super) fn in_place(kind: &'static str, is: bool) {
    gauge!(IN_PLACE, "kind" => kind).set(f64::from(u8::from(is)));
}

/// Tells whether the mutating webhook is guarded.
pub(super) fn guarded(is: bool) {
    gauge!(GUARDED).set(f64::from(u8::from(is)));
}

/// Counts a write.
pub(super) fn written(kind: &'static str) {
    counter!(WRITES, "kind" => kind).increment(1);
}

/// Counts a failure.
pub(super) fn failed(kind: &'static str) {
    counter!(FAILURES, "kind" => kind).increment(1);
}
