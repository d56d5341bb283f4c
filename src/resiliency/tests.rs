//! Policies from documents, and calls that run under them, on a clock of the tests' own.

use std::cell::{Cell, RefCell};
use std::path::Path;
use std::time::Duration;

use super::clock::Manual;
use super::*;
use crate::process::metrics::Metrics;
use crate::resources::decode::Resources;

fn documents(specs: &[&str]) -> Vec<Document> {
    let mut resources = Resources::default();
    for (at, spec) in specs.iter().enumerate() {
        let text = format!(
            "apiVersion: dapr.io/v1alpha1\nkind: Resiliency\nmetadata: {{name: r{at}}}\n\
             spec: {spec}\n"
        );
        resources.add(Path::new(&format!("{at}.yaml")), &text);
    }
    assert!(resources.problems.is_empty(), "{:?}", resources.problems);
    resources.resiliencies
}

fn resiliency(specs: &[&str]) -> (Resiliency, Arc<Manual>) {
    let clock = Manual::new();
    let before = Resiliency::on(Clock::Manual(clock.clone()));
    let new = Resiliency::new(&documents(specs), &before);
    (new.unwrap_or_else(|problems| panic!("{problems:?}")), clock)
}

/// Runs a call whose tries end as `results` says, the last of them again and again; the answer are
/// the result and the number of tries.
async fn run(policy: &Policy, results: &[u16]) -> (Result<u16, Stopped>, u32) {
    let tries = Cell::new(0);
    let result = policy
        .run(
            |number| {
                tries.set(number);
                let at = (number as usize).min(results.len()) - 1;
                std::future::ready(results[at])
            },
            // 0 is a failure without a status, 1 one that is final.
            |status| match status {
                0 => Verdict::Failure(None),
                1 => Verdict::Final,
                status => Verdict::of_http(*status),
            },
        )
        .await;
    (result, tries.get())
}

const RETRIES: &str = "{policies: {retries: {
    all: {duration: 2s, maxRetries: 2},
    some: {duration: 2s, maxRetries: 2, matching: {httpStatusCodes: '500-502'}},
    never: {maxRetries: 0},
  }}, targets: {apps: {a: {retry: all}, s: {retry: some}, n: {retry: never}, none: {}}}}";

#[tokio::test]
async fn tries_again_what_the_policy_wants() {
    let (resiliency, clock) = resiliency(&[RETRIES]);
    for (app, results, expected) in [
        ("a", &[200][..], (Ok(200), 1)),
        ("a", &[404, 500, 201], (Ok(201), 3)),
        ("a", &[500], (Ok(500), 3)),
        ("a", &[1], (Ok(1), 1)),
        ("s", &[500, 404], (Ok(404), 2)),
        ("s", &[0, 503], (Ok(503), 2)),
        ("n", &[500], (Ok(500), 1)),
        ("none", &[0], (Ok(0), 1)),
    ] {
        let policy = resiliency.app(app, "m");
        assert_eq!(run(&policy, results).await, expected, "{app} {results:?}");
        let once = policy.without_retries();
        assert_eq!(run(&once, results).await.1, 1, "{app} {results:?}");
    }
    assert_eq!(clock.pauses(), [2.0; 6]);
    for (app, retries) in [("a", true), ("n", false), ("none", false), ("other", true)] {
        assert_eq!(resiliency.app(app, "m").retries(), retries, "{app}");
        assert!(!resiliency.app(app, "m").without_retries().retries());
    }
}

#[tokio::test]
async fn apps_for_which_nothing_is_said_are_tried_again_where_they_were_not_reached() {
    let (nothing, clock) = resiliency(&[]);
    assert_eq!(run(&nothing.app("x", "m"), &[0]).await, (Ok(0), 4));
    assert_eq!(clock.pauses(), [1.0; 3]);
    assert_eq!(run(&nothing.app("x", "m"), &[503]).await, (Ok(503), 1));
    assert_eq!(run(&nothing.own_app("x", "m"), &[0]).await, (Ok(0), 1));
    let (own, _) = resiliency(&[
        "{policies: {retries: {DaprBuiltInServiceRetries: {duration: 1s, maxRetries: 1}}}}",
    ]);
    assert_eq!(run(&own.app("x", "m"), &[0]).await, (Ok(0), 2));
    assert_eq!(run(&own.app("x", "m"), &[503]).await, (Ok(503), 1));
    let (off, _) =
        resiliency(&["{policies: {retries: {DaprBuiltInServiceRetries: {maxRetries: 0}}}}"]);
    assert_eq!(run(&off.app("x", "m"), &[0]).await, (Ok(0), 1));
}

#[tokio::test]
async fn a_timeout_is_for_each_try() {
    let (resiliency, clock) = resiliency(&[
        "{policies: {timeouts: {t: 3s}, retries: {r: {duration: 1s, maxRetries: 1}}},
          targets: {apps: {a: {timeout: t, retry: r}}}}",
    ]);
    let tries = Cell::new(0);
    let result: Result<(), _> = resiliency
        .app("a", "m")
        .run(
            |number| {
                tries.set(number);
                std::future::pending()
            },
            |()| Verdict::Success,
        )
        .await;
    let stopped = result.unwrap_err();
    assert_eq!(stopped.to_string(), "timed out after 3s");
    assert_eq!(tries.get(), 2);
    assert_eq!(clock.pauses(), [3.0, 1.0, 3.0]);
    // A call that is done in time does not wait.
    assert_eq!(run(&resiliency.app("a", "m"), &[200]).await, (Ok(200), 1));
    assert_eq!(clock.pauses().len(), 3);
}

#[tokio::test]
async fn dropping_a_call_gives_up_its_try() {
    struct Given<'a>(&'a Cell<bool>);
    impl Drop for Given<'_> {
        fn drop(&mut self) {
            self.0.set(true);
        }
    }
    let (resiliency, _) = resiliency(&[RETRIES]);
    let policy = resiliency.app("a", "m");
    let given_up = Cell::new(false);
    {
        let call = policy.run(
            |_| async {
                let _given = Given(&given_up);
                std::future::pending::<u16>().await
            },
            |status| Verdict::of_http(*status),
        );
        tokio::select! {
            biased;
            _ = call => unreachable!("it never ends"),
            () = std::future::ready(()) => {}
        }
    }
    assert!(given_up.get());
}

const BREAKERS: &str = "{policies: {
    retries: {r: {duration: 1s, maxRetries: 5}},
    circuitBreakers: {b: {trip: consecutiveFailures >= 2, timeout: 30s}},
  }, targets: {apps: {a: {circuitBreaker: b}, r: {circuitBreaker: b, retry: r}}}}";

#[tokio::test]
async fn an_open_breaker_lets_nothing_through_and_is_not_tried_again() {
    let (resiliency, clock) = resiliency(&[BREAKERS]);
    let policy = resiliency.app("a", "m");
    for _ in 0..2 {
        assert_eq!(run(&policy, &[500]).await, (Ok(500), 1));
    }
    let (result, tries) = run(&policy, &[200]).await;
    assert_eq!(result.unwrap_err().to_string(), "circuit breaker is open");
    assert_eq!(tries, 0);
    // Each method has its own; those of one target share it, whoever asks for it.
    assert_eq!(
        run(&resiliency.app("a", "other"), &[200]).await,
        (Ok(200), 1)
    );
    assert_eq!(
        run(&resiliency.app("a", "m"), &[200]).await,
        (Err(Stopped::Open), 0)
    );
    clock.pass(Duration::from_secs(30));
    assert_eq!(run(&policy, &[200]).await, (Ok(200), 1));
    // Within one call: the second failure opens it, and the third try is not made.
    let policy = resiliency.app("r", "m");
    assert_eq!(run(&policy, &[500]).await, (Err(Stopped::Open), 2));
}

#[tokio::test]
async fn breakers_outlive_a_reload_that_does_not_change_them() {
    let (first, _) = resiliency(&[BREAKERS]);
    let policy = first.app("a", "m");
    for _ in 0..2 {
        let _ = run(&policy, &[500]).await;
    }
    let with_more = BREAKERS.replace("{apps: {", "{apps: {more: {retry: r}, ");
    let second = Resiliency::new(&documents(&[&with_more]), &first);
    let second = second.unwrap_or_else(|problems| panic!("{problems:?}"));
    assert_eq!(
        run(&second.app("a", "m"), &[200]).await.0,
        Err(Stopped::Open)
    );
    let changed = BREAKERS.replace("30s", "40s");
    let third = Resiliency::new(&documents(&[&changed]), &second);
    let third = third.unwrap_or_else(|problems| panic!("{problems:?}"));
    assert_eq!(run(&third.app("a", "m"), &[200]).await.0, Ok(200));
}

#[tokio::test]
async fn components_have_policies_by_name_else_by_kind_and_direction() {
    let (resiliency, _) = resiliency(&["{policies: {retries: {
        named: {duration: 1s, maxRetries: 1},
        DefaultSecretstoreComponentOutboundRetryPolicy: {duration: 1s, maxRetries: 2},
        DefaultComponentInboundRetryPolicy: {duration: 1s, maxRetries: 3},
        DefaultComponentRetryPolicy: {duration: 1s, maxRetries: 4},
        DefaultRetryPolicy: {duration: 1s, maxRetries: 5},
      }}, targets: {components: {vault: {outbound: {retry: named}}}}}"]);
    use ComponentType::{Secretstore, Statestore};
    use Direction::{Inbound, Outbound};
    for (name, kind, direction, tries) in [
        ("vault", Secretstore, Outbound, 2),
        // A target that is named has what it names, and nothing else.
        ("vault", Secretstore, Inbound, 1),
        ("other", Secretstore, Outbound, 3),
        ("other", Secretstore, Inbound, 4),
        ("redis", Statestore, Outbound, 5),
    ] {
        let policy = resiliency.component(name, kind, direction);
        let made = run(&policy, &[0]).await.1;
        assert_eq!(made, tries, "{name} {kind:?} {direction:?}");
    }
    assert_eq!(run(&resiliency.app("x", "m"), &[500]).await.1, 6);
    assert_eq!(run(&resiliency.own_app("x", "m"), &[500]).await.1, 6);
}

#[tokio::test]
async fn components_and_apps_by_default_have_breakers_of_their_own() {
    let (first, _) = resiliency(&["{policies: {circuitBreakers: {
        DefaultCircuitBreakerPolicy: {trip: consecutiveFailures >= 1}}}}"]);
    let store = |resiliency: &Resiliency, name: &str| {
        resiliency.component(name, ComponentType::Secretstore, Direction::Outbound)
    };
    let _ = run(&store(&first, "a"), &[1]).await;
    let _ = run(&first.app("a", "m"), &[500]).await;
    assert_eq!(run(&store(&first, "a"), &[200]).await.0, Err(Stopped::Open));
    assert_eq!(run(&store(&first, "b"), &[200]).await.0, Ok(200));
    assert_eq!(
        run(&first.app("a", "m"), &[200]).await.0,
        Err(Stopped::Open)
    );
    assert_eq!(run(&first.app("b", "m"), &[200]).await.0, Ok(200));
    // What is built in stays beside a default without retries.
    assert_eq!(
        run(&first.app("c", "m"), &[0]).await,
        (Err(Stopped::Open), 1)
    );
    let same = documents(&["{policies: {circuitBreakers: {
        DefaultCircuitBreakerPolicy: {trip: consecutiveFailures >= 1}}}}"]);
    let second = Resiliency::new(&same, &first);
    let second = second.unwrap_or_else(|problems| panic!("{problems:?}"));
    assert_eq!(
        run(&store(&second, "a"), &[200]).await.0,
        Err(Stopped::Open)
    );
    assert_eq!(
        run(&second.app("a", "m"), &[200]).await.0,
        Err(Stopped::Open)
    );
}

#[tokio::test]
async fn later_documents_win_by_name() {
    let (resiliency, _) = resiliency(&[
        RETRIES,
        "{policies: {retries: {all: {duration: 1s, maxRetries: 4}}},
          targets: {apps: {s: {retry: never}}}}",
    ]);
    assert_eq!(resiliency.names(), ["r0", "r1"]);
    assert_eq!(run(&resiliency.app("a", "m"), &[500]).await.1, 5);
    assert_eq!(run(&resiliency.app("s", "m"), &[500]).await.1, 1);
}

#[test]
fn policies_that_are_not_there_are_told_with_the_field_that_names_them() {
    let written = documents(&[
        RETRIES,
        "{policies: {timeouts: {quick: 1s}}, targets: {
          apps: {a: {timeout: quik, circuitBreaker: b}},
          components: {c: {outbound: {retry: al}, inbound: {retry: all}}},
          actors: {T: {timeout: x}}}}",
    ]);
    let problems = Resiliency::new(&written, &Resiliency::default());
    let problems = problems.err().unwrap_or_default();
    let problems: Vec<_> = problems.iter().map(ToString::to_string).collect();
    let prefix = "file \"1.yaml\", document 1: field \"spec.targets.";
    assert_eq!(
        problems,
        [
            "apps.a.timeout\": no Resiliency of this app has a timeout \"quik\"; did you mean \
             \"quick\"?",
            "apps.a.circuitBreaker\": no Resiliency of this app has a circuit breaker \"b\"",
            "components.c.outbound.retry\": no Resiliency of this app has a retry \"al\"; did \
             you mean \"all\"?",
            "actors.T.timeout\": no Resiliency of this app has a timeout \"x\"",
        ]
        .map(|problem| format!("{prefix}{problem}"))
    );
}

#[test]
fn what_has_no_effect_is_told() {
    let (resiliency, _) = resiliency(&["{policies: {retries: {
        DaprBuiltInActorRetries: {}, DaprBuiltInServiceRetries: {}}}, targets: {
        components: {c: {inbound: {retry: DaprBuiltInServiceRetries}}, d: {inbound: {}}},
        actors: {T: {}}}}"]);
    let origin = "file \"0.yaml\", document 1";
    assert_eq!(
        resiliency.warnings(),
        [
            format!("{origin}: spec.targets.actors has no effect in this build"),
            format!(
                "{origin}: spec.policies.retries.DaprBuiltInActorRetries has no effect in this \
                 build"
            ),
        ]
    );
}

#[test]
fn counts_what_policies_do() {
    let metrics = Metrics::new(None);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    metrics::with_local_recorder(&metrics, || {
        let (first, _) = resiliency(&["{policies: {timeouts: {t: 1s},
            retries: {r: {duration: 1s, maxRetries: 3}},
            circuitBreakers: {b: {trip: consecutiveFailures >= 2}}},
            targets: {apps: {a: {timeout: t, retry: r}, b: {circuitBreaker: b}}}}"]);
        runtime.block_on(async {
            let _ = run(&first.app("a", "m"), &[500, 500, 200]).await;
            let hang = |_| std::future::pending::<u16>();
            let policy = first.app("a", "m").without_retries();
            let _ = policy.run(hang, |_| Verdict::Success).await;
            for _ in 0..3 {
                let _ = run(&first.app("b", "m"), &[500]).await;
            }
            // Apps that nobody names have no series of their own.
            let _ = run(&first.app("made-up", "m"), &[0]).await;
        });
        let _ = Resiliency::new(&[], &first);
    });
    let text = metrics.render();
    let line = |metric: &str, policy: &str, target: &str, status: &str, value: u32| {
        format!(
            "{metric}{{name=\"r0\",policy=\"{policy}\",namespace=\"\",\
             flow_direction=\"outbound\",target=\"{target}\",status=\"{status}\"}} {value}"
        )
    };
    let (count, activated) = ("dapr_resiliency_count", "dapr_resiliency_activations_total");
    let state = "dapr_resiliency_cb_state";
    for expected in [
        "dapr_resiliency_loaded{name=\"r0\",namespace=\"\"} 0".to_owned(),
        line(count, "timeout", "app_a", "", 2),
        line(activated, "timeout", "app_a", "", 1),
        line(count, "retry", "app_a", "", 1),
        line(activated, "retry", "app_a", "", 1),
        line(count, "circuitbreaker", "app_b", "closed", 2),
        line(count, "circuitbreaker", "app_b", "open", 1),
        line(activated, "circuitbreaker", "app_b", "open", 1),
        line(state, "circuitbreaker", "app_b", "closed", 0),
        line(state, "circuitbreaker", "app_b", "open", 1),
    ] {
        assert!(
            text.lines().any(|line| line == expected),
            "{expected}\n{text}"
        );
    }
    assert!(!text.contains("made-up"), "{text}");
}

#[tokio::test]
async fn a_result_is_not_kept_while_the_next_try_waits() {
    let (resiliency, _) = resiliency(&[RETRIES]);
    let alive = RefCell::new(Vec::new());
    let _ = resiliency
        .app("a", "m")
        .run(
            |_| {
                let shared = Arc::new(());
                let mut alive = alive.borrow_mut();
                alive.retain(|held: &std::sync::Weak<()>| held.strong_count() > 0);
                assert!(alive.is_empty());
                alive.push(Arc::downgrade(&shared));
                std::future::ready(shared)
            },
            |_| Verdict::Failure(None),
        )
        .await;
    assert_eq!(alive.borrow().len(), 1);
}
