//! What is read of a `Resiliency`, and what is refused.

use std::path::Path;

use super::trip::Counts;
use super::*;
use crate::resources::decode::Resources;

fn read(spec: &str) -> Resources {
    let text = format!(
        "apiVersion: dapr.io/v1alpha1\nkind: Resiliency\nmetadata: {{name: r, namespace: ns}}\n\
         scopes: [app, 1]\nspec:\n{spec}"
    );
    let mut resources = Resources::default();
    resources.add(Path::new("f.yaml"), &text);
    resources
}

fn decoded(spec: &str) -> Resiliency {
    let mut resources = read(spec);
    assert!(resources.problems.is_empty(), "{:?}", resources.problems);
    resources.resiliencies.remove(0)
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn reads_every_field() {
    let read = decoded(
        r#"
  policies:
    timeouts: {short: 1500ms, bare: "250", none: 0s}
    retries:
      often: {policy: constant, duration: 2s, maxRetries: 10}
      slowly:
        policy: Exponential
        maxInterval: 15s
        maxRetries: -1
        matching: {httpStatusCodes: "429,500-599", gRPCStatusCodes: "14"}
    circuitBreakers:
      fuse: {maxRequests: 2, interval: 8s, timeout: 45s, trip: consecutiveFailures >= 2}
  targets:
    apps:
      shop: {timeout: short, retry: often, circuitBreaker: fuse, circuitBreakerCacheSize: 7}
    components:
      vault: {outbound: {timeout: short}, inbound: {retry: ""}}
    actors:
      Cart: {timeout: short, circuitBreakerScope: type, circuitBreakerCacheSize: 5}
"#,
    );
    assert_eq!(
        (read.name.as_str(), read.namespace.as_deref()),
        ("r", Some("ns"))
    );
    assert_eq!(read.scopes, ["app", "1"]);
    assert_eq!(read.timeouts["short"], Duration::from_millis(1500));
    assert_eq!(read.timeouts["bare"], Duration::from_millis(250));
    assert!(read.timeouts["none"].is_zero());
    let often = &read.retries["often"];
    assert_eq!(often.pauses, Pauses::Constant(seconds(2)));
    assert_eq!((often.max_retries, often.max_duration), (Some(10), None));
    assert!(often.matching.http.contains(404));
    let slowly = &read.retries["slowly"];
    let Pauses::Exponential { first, longest, .. } = slowly.pauses else {
        panic!("{slowly:?}");
    };
    assert_eq!((first, longest), (Duration::from_millis(500), seconds(15)));
    assert_eq!(
        (slowly.max_retries, slowly.max_duration),
        (None, Some(seconds(900)))
    );
    assert!(slowly.matching.http.contains(429) && !slowly.matching.http.contains(404));
    assert!(slowly.matching.grpc.contains(14) && !slowly.matching.grpc.contains(4));
    let fuse = &read.circuit_breakers["fuse"];
    assert_eq!((fuse.max_requests, fuse.interval), (2, Some(seconds(8))));
    assert_eq!(fuse.timeout, seconds(45));
    let twice = Counts {
        consecutive_failures: 2,
        ..Counts::default()
    };
    assert!(fuse.trip.is_met(twice) && !Trip::default().is_met(twice));
    let shop = &read.apps["shop"];
    assert_eq!(shop.breakers, 7);
    assert_eq!(shop.names.circuit_breaker.as_deref(), Some("fuse"));
    let vault = &read.components["vault"];
    assert_eq!(vault.outbound.timeout.as_deref(), Some("short"));
    assert!(vault.inbound.is_empty());
    assert_eq!(read.actors["Cart"].timeout.as_deref(), Some("short"));
}

#[test]
fn what_is_not_said_is_as_in_dapr() {
    let read = decoded(
        "  policies: {retries: {r: {}, e: {policy: exponential}}, circuitBreakers: {c: {}}}\n  \
         targets: {apps: {a: }}\n",
    );
    let retry = &read.retries["r"];
    assert_eq!(retry.pauses, Pauses::Constant(seconds(5)));
    assert_eq!(retry.max_retries, None);
    let expected = Pauses::Exponential {
        first: Duration::from_millis(500),
        longest: seconds(60),
        growth: 1.5,
        jitter: 0.5,
    };
    assert_eq!(read.retries["e"].pauses, expected);
    let expected = CircuitBreaker {
        max_requests: 1,
        interval: None,
        timeout: seconds(60),
        trip: Trip::default(),
    };
    assert_eq!(read.circuit_breakers["c"], expected);
    assert!(decoded("").apps.is_empty());
}

#[test]
fn refuses_what_would_be_lost_with_the_path_of_the_field() {
    let retry = |fields: &str| format!("  policies: {{retries: {{r: {{{fields}}}}}}}");
    let breaker = |fields: &str| format!("  policies: {{circuitBreakers: {{c: {{{fields}}}}}}}");
    for (spec, expected) in [
        (
            "  policy: {}".to_owned(),
            "field \"spec.policy\": is not known; accepted are \"policies\", \"targets\"; \
             did you mean \"policies\"?",
        ),
        (
            retry("maxRetry: 3"),
            "field \"spec.policies.retries.r.maxRetry\": is not known; accepted are \"policy\", \
             \"duration\", \"maxInterval\", \"maxRetries\", \"matching\"; did you mean \
             \"maxRetries\"?",
        ),
        (
            "  targets: {components: {c: {output: {}}}}".to_owned(),
            "field \"spec.targets.components.c.output\": is not known; accepted are \
             \"outbound\", \"inbound\"",
        ),
        (
            "  policies: {timeouts: {t: soon}}".to_owned(),
            "field \"spec.policies.timeouts.t\": \"soon\" is not a duration: accepted are \
             numbers with the units ns, us, ms, s, m, h, such as \"1m30s\"",
        ),
        (
            "  policies: {timeouts: {t: 5}}".to_owned(),
            "field \"spec.policies.timeouts.t\": invalid type: integer \"5\", expected a string",
        ),
        (
            retry("policy: linear"),
            "field \"spec.policies.retries.r.policy\": \"linear\" is no policy; accepted are \
             \"constant\" and \"exponential\"",
        ),
        (
            retry("maxRetries: -2"),
            "field \"spec.policies.retries.r.maxRetries\": -2 is no number of retries; accepted \
             are -1 and above",
        ),
        (
            retry("duration: 0s"),
            "field \"spec.policies.retries.r.maxRetries\": without a pause it needs a limit on \
             the number of retries",
        ),
        (
            retry("matching: {httpStatusCodes: '42'}"),
            "field \"spec.policies.retries.r.matching.httpStatusCodes\": \"42\" is no status code \
             and no range of them: accepted are 100 to 599, such as \"429,500-599\"",
        ),
        (
            breaker("trip: requests"),
            "field \"spec.policies.circuitBreakers.c.trip\": \"requests\" is of type int, not \
             true or false",
        ),
        (
            breaker("maxRequests: -1"),
            "field \"spec.policies.circuitBreakers.c.maxRequests\": -1 is no number of calls; \
             accepted are 1 and above",
        ),
        (
            "  targets: {apps: {a: {circuitBreakerCacheSize: 10001}}}".to_owned(),
            "field \"spec.targets.apps.a.circuitBreakerCacheSize\": 10001 is out of range; \
             accepted are 1 to 10000",
        ),
    ] {
        let problem = read(&spec).problems.remove(0).to_string();
        assert_eq!(problem, format!("file \"f.yaml\", document 1: {expected}"));
    }
}

#[test]
fn a_retry_without_pauses_may_have_a_limit() {
    let read = decoded("  policies: {retries: {r: {duration: 0s, maxRetries: 2}}}");
    assert_eq!(read.retries["r"].pauses, Pauses::Constant(Duration::ZERO));
}
