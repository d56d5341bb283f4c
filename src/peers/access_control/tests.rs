//! Decisions of access policies.

use super::*;
use proptest::prelude::*;

type Rules<'a> = [(&'a str, &'a [&'a str], &'a str)];

fn action(text: &str) -> Action {
    match text {
        "allow" => Action::Allow,
        "deny" => Action::Deny,
        other => panic!("{other}"),
    }
}

fn verb(text: &str) -> Verb {
    match text {
        "*" => Verb::Any,
        "GET" => Verb::One("GET"),
        "POST" => Verb::One("POST"),
        other => panic!("{other}"),
    }
}

/// The policy of `spiffe://td/ns/ns/app`.
fn access(global: &str, own: Option<&str>, rules: &Rules<'_>) -> AccessControl {
    let operation = |(name, verbs, does): &(&str, &[&str], &str)| written::Operation {
        name: OperationPattern::parse(name).unwrap(),
        verbs: verbs.iter().copied().map(verb).collect(),
        action: action(does),
    };
    AccessControl::new(&written::AccessControl {
        default_action: action(global),
        trust_domain: None,
        policies: vec![written::Policy {
            caller: caller(),
            default_action: own.map(action),
            operations: rules.iter().map(operation).collect(),
        }],
    })
}

fn caller() -> SpiffeId {
    SpiffeId::new("td", "ns", "app").unwrap()
}

fn http<'a>(path: &'a MethodPath, verb: &'a Method) -> Operation<'a> {
    let verb = Some(verb);
    Operation::Http { path, verb }
}

fn allows(access: &AccessControl, verb: &str, path: &str) -> bool {
    let path = MethodPath::from_encoded(path).unwrap();
    let verb: Method = verb.parse().unwrap();
    let caller = caller();
    access.decide(Some(&caller), http(&path, &verb)).is_allowed
}

#[test]
fn callers_without_a_policy_get_the_global_default() {
    let path = MethodPath::from_decoded("x").unwrap();
    let call = http(&path, &Method::GET);
    for (global, own) in [("deny", "allow"), ("allow", "deny")] {
        let access = access(global, Some(own), &[("/**", &["*"], own)]);
        let is_open = global == "allow";
        let of_global = Decision {
            is_allowed: is_open,
            policy: None,
        };
        assert_eq!(access.decide(None, call), of_global);
        for (trust_domain, namespace, app_id) in [
            ("other", "ns", "app"),
            ("td", "other", "app"),
            ("td", "ns", "other"),
            ("td", "ns", "App"),
        ] {
            let other = SpiffeId::new(trust_domain, namespace, app_id).unwrap();
            assert_eq!(access.decide(Some(&other), call), of_global, "{other}");
        }
        let caller = caller();
        let of_policy = Decision {
            is_allowed: !is_open,
            policy: Some(&caller),
        };
        assert_eq!(access.decide(Some(&caller), call), of_policy);
    }
}

#[test]
fn without_a_rule_the_default_of_the_caller_counts_and_then_the_global_one() {
    let rules: &Rules<'_> = &[("/x", &["GET"], "allow")];
    for (global, own, expected) in [
        ("allow", Some("deny"), false),
        ("deny", Some("allow"), true),
        ("allow", None, true),
        ("deny", None, false),
    ] {
        let access = access(global, own, rules);
        for (verb, path) in [("GET", "/y"), ("POST", "/x")] {
            assert_eq!(
                allows(&access, verb, path),
                expected,
                "{global} {own:?} {verb} {path}"
            );
        }
        assert!(allows(&access, "GET", "/x"));
    }
}

#[test]
fn the_closest_rule_decides_in_any_order() {
    let rules: [(&str, &[&str], &str); 4] = [
        ("/**", &["*"], "deny"),
        ("/public/**", &["*"], "allow"),
        ("/public/keys/*", &["*"], "deny"),
        ("/public/keys/own", &["GET"], "allow"),
    ];
    let mut reversed = rules;
    reversed.reverse();
    for rules in [rules, reversed] {
        let access = access("allow", Some("deny"), &rules);
        for (verb, path, expected) in [
            ("GET", "/other", false),
            ("GET", "/public", true),
            ("GET", "/public/a/b", true),
            ("GET", "/public/keys/x", false),
            ("GET", "/public/keys/own", true),
            // The closest rule has other verbs: what is less close does not count in its place.
            ("POST", "/public/keys/own", false),
        ] {
            assert_eq!(allows(&access, verb, path), expected, "{verb} {path}");
        }
    }
}

#[test]
fn verbs_and_ties() {
    let own = access(
        "deny",
        Some("deny"),
        &[
            ("/a", &["*"], "deny"),
            ("/a", &["GET"], "allow"),
            ("/b", &["*"], "allow"),
            ("/b", &["POST"], "deny"),
            ("/c", &["*"], "allow"),
            ("/C", &["*"], "deny"),
        ],
    );
    for (verb, path, expected) in [
        ("GET", "/a", true),
        ("POST", "/a", false),
        ("GET", "/b", true),
        ("PROPFIND", "/b", true),
        ("POST", "/b", false),
        ("GET", "/c", false),
    ] {
        assert_eq!(allows(&own, verb, path), expected, "{verb} {path}");
    }
}

/// Where Dapr passes over what was written, a rule counts only if it denies.
#[test]
fn a_rule_that_denies_reaches_further_than_one_that_allows() {
    let open = access(
        "allow",
        None,
        &[("/a", &["*"], "deny"), ("/b", &[], "deny")],
    );
    for path in ["/a", "/a/b", "/a/b/c", "/b"] {
        assert!(!allows(&open, "GET", path), "{path}");
    }
    let closed = access(
        "deny",
        None,
        &[("/a", &["*"], "allow"), ("/b", &[], "allow")],
    );
    assert!(allows(&closed, "GET", "/a"));
    for path in ["/a/b", "/b"] {
        assert!(!allows(&closed, "GET", path), "{path}");
    }
}

#[test]
fn apps_that_speak_grpc_have_no_verbs_and_two_cases() {
    let access = access(
        "deny",
        None,
        &[("/own.v1.Echo/*", &[], "allow"), ("Say", &["GET"], "allow")],
    );
    let caller = caller();
    let decide = |call: Operation<'_>| access.decide(Some(&caller), call).is_allowed;
    for (path, expected) in [
        ("/own.v1.Echo/Say", true),
        ("/own.v1.echo/Say", false),
        ("/own.v1.Echo2/Say", false),
    ] {
        let method = GrpcMethod::parse(path).unwrap();
        assert_eq!(decide(Operation::Grpc(&method)), expected, "{path}");
    }
    for (path, expected) in [("Say", true), ("say", false)] {
        let path = MethodPath::from_decoded(path).unwrap();
        assert_eq!(decide(Operation::Invoke(&path)), expected, "{path:?}");
    }
}

#[test]
fn is_told_in_the_words_of_dapr() {
    let path = MethodPath::from_encoded("/a%20b/../x").unwrap();
    assert_eq!(
        http(&path, &Method::PUT).to_string(),
        "operation: x verb: PUT"
    );
    let no_verb = Operation::Http {
        path: &path,
        verb: None,
    };
    assert_eq!(no_verb.to_string(), "operation: x verb: NONE");
    let method = GrpcMethod::parse("/a.B/C").unwrap();
    assert_eq!(
        Operation::Grpc(&method).to_string(),
        "operation: /a.B/C verb: NONE"
    );
}

/// The requests that got past Dapr's policies (CVE-2026-41491, DAP-02-013): each is judged by what
/// the app would get.
#[test]
fn old_ways_past_a_policy_lead_nowhere() {
    let access = access(
        "deny",
        Some("allow"),
        &[
            ("/admin/**", &["*"], "deny"),
            ("/neworder", &["*"], "deny"),
            ("/a b", &["*"], "deny"),
        ],
    );
    for (path, delivered, expected) in [
        ("admin", "admin", false),
        ("admin/x", "admin/x", false),
        ("ADMIN/x", "ADMIN/x", false),
        ("admin%2Fx", "admin/x", false),
        ("%61dmin/x", "admin/x", false),
        ("/admin/x/", "admin/x", false),
        ("//admin//x", "admin/x", false),
        ("./admin/x", "admin/x", false),
        ("public/../admin/x", "admin/x", false),
        ("public%2F..%2Fadmin", "admin", false),
        ("../../admin", "admin", false),
        ("admin%2F..%2Fpublic", "public", true),
        ("admin/../public", "public", true),
        // Decoded once, these are other paths, and the app gets just those.
        ("neworde%2572", "neworde%2572", true),
        ("admin%252Fx", "admin%252Fx", true),
        ("neworder", "neworder", false),
        ("NewOrder", "NewOrder", false),
        ("neworder/", "neworder", false),
        ("neworde%72", "neworder", false),
        ("a%20b", "a%20b", false),
    ] {
        let method = MethodPath::from_encoded(path).unwrap();
        assert_eq!(method.encoded(), delivered, "{path}");
        assert_eq!(allows(&access, "GET", path), expected, "{path}");
    }
    for path in ["admin%23/../public", "admin%3Fx", "admin%00", "admin%0A"] {
        assert!(MethodPath::from_encoded(path).is_err(), "{path}");
    }
}

/// Texts that are full of what normalisation is about.
fn hostile() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("/"),
        Just(".."),
        Just("."),
        Just("%2F"),
        Just("%2e"),
        Just("%25"),
        Just("admin"),
        Just("ADMIN"),
        Just("%61dmin"),
        Just("public"),
        Just(";"),
        Just("\\"),
        Just("ä"),
    ];
    proptest::collection::vec(piece, 0..10).prop_map(|pieces| pieces.concat())
}

proptest! {
    /// Whatever a client writes: the decision is that on the path which the app receives, and an
    /// app that reads that path as the RFC says sees none that is denied.
    #[test]
    fn the_decision_is_on_what_the_app_receives(text in hostile()) {
        let access = access("deny", Some("allow"), &[("/admin/**", &["*"], "deny")]);
        for method in [MethodPath::from_encoded(&text), MethodPath::from_decoded(&text)]
            .into_iter()
            .flatten()
        {
            let caller = caller();
            let decision = access.decide(Some(&caller), http(&method, &Method::GET));
            let delivered = format!("/{}", method.encoded());
            prop_assert_eq!(decision.is_allowed, allows(&access, "GET", &delivered));
            let uri = http::uri::PathAndQuery::try_from(&delivered).unwrap();
            let first = uri.path().split('/').nth(1).unwrap_or_default();
            let first = percent_encoding::percent_decode_str(first).decode_utf8_lossy();
            let is_admin = first.eq_ignore_ascii_case("admin");
            prop_assert_eq!(decision.is_allowed, !is_admin, "{}", delivered);
        }
    }

    /// Turning rules around changes nothing.
    #[test]
    fn the_order_of_rules_does_not_count(
        names in proptest::collection::vec("(/[ab*]{1,2}){1,3}|/\\*\\*|/a/\\*\\*", 1..6),
        denies in proptest::collection::vec(any::<bool>(), 6),
        path in "(/[ab]{1,2}){0,3}",
    ) {
        let verbs: &[&str] = &["*"];
        let rules: Vec<_> = names
            .iter()
            .zip(&denies)
            .filter(|(name, _)| OperationPattern::parse(name).is_ok())
            .map(|(name, denies)| (&**name, verbs, if *denies { "deny" } else { "allow" }))
            .collect();
        let reversed: Vec<_> = rules.iter().rev().copied().collect();
        let (one, other) = (access("deny", None, &rules), access("deny", None, &reversed));
        prop_assert_eq!(allows(&one, "GET", &path), allows(&other, "GET", &path));
    }
}
