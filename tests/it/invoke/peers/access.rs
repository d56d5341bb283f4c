//! Access policies between two sidecars.

use dapr::dapr::proto::common::v1::InvokeResponse;
use dapr::dapr::proto::common::v1::http_extension::Verb;
use http::Request;
use http_body_util::Full;
use sidegate::app_channel::AppProtocol;
use sidegate::base::operation_pattern::OperationPattern;
use sidegate::base::spiffe_id::SpiffeId;
use sidegate::peers::access_control::AccessControl;
use sidegate::resources::configuration::access_control::{self as written, Action, Operation};
use sidegate::testing::fake_app::FakeApp;
use sidegate::testing::fake_grpc_app::FakeGrpcApp;
use sidegate::testing::http_client::send;
use std::net::SocketAddr;
use tonic::Code;

use super::Pair;
use super::proxy::{ECHO, Echo, connect, to};
use crate::app_channel::config;
use crate::invoke::{Setup, Sidecar, World, error_body, message};

/// An app that `spiffe://td/ns/ns/caller` may call as `operations` say, and nobody else.
fn policy(operations: &[(&str, Action)]) -> AccessControl {
    let operation = |&(name, action)| Operation {
        name: OperationPattern::parse(name).unwrap(),
        verbs: vec![written::Verb::Any],
        action,
    };
    AccessControl::new(&written::AccessControl {
        default_action: Action::Deny,
        trust_domain: None,
        policies: vec![written::Policy {
            caller: id("caller"),
            default_action: None,
            operations: operations.iter().map(operation).collect(),
        }],
    })
}

fn id(app_id: &str) -> SpiffeId {
    SpiffeId::new("td", "ns", app_id).unwrap()
}

async fn pair(
    (protocol, app): (AppProtocol, SocketAddr),
    access_control: AccessControl,
    caller: Option<SpiffeId>,
) -> Pair {
    let world = World::default();
    let callee = Sidecar::set_up(Setup {
        app_id: Some("callee"),
        app: Some(config(protocol, app)),
        world: Some(&world),
        access_control: Some(access_control),
        caller,
        ..Setup::default()
    });
    let callee = callee.await;
    let caller = Sidecar::set_up(Setup {
        app_id: Some("caller"),
        world: Some(&world),
        ..Setup::default()
    });
    Pair {
        caller: caller.await,
        callee,
        world,
    }
}

fn denied(operation: &str, id: &str) -> String {
    format!(
        "failed to invoke, id: callee, err: rpc error: code = PermissionDenied desc = access \
         control policy has denied access to id: {id} operation: {operation}"
    )
}

#[tokio::test]
async fn of_an_http_app_a_caller_reaches_what_its_policy_allows() {
    let app = FakeApp::start().await;
    let rules = [
        ("/orders/**", Action::Allow),
        ("/orders/secret", Action::Deny),
    ];
    let road = (AppProtocol::Http, app.address());
    let pair = pair(road, policy(&rules), Some(id("caller"))).await;
    let spiffe = "spiffe://td/ns/ns/caller";
    for (path, operation) in [
        ("orders/1", None),
        ("ORDERS/1", None),
        ("x/../orders", None),
        ("orders/secret", Some("orders/secret")),
        ("orders%2Fsecret", Some("orders/secret")),
        ("orders//secret/", Some("orders/secret")),
        ("orders/secret/deeper", Some("orders/secret/deeper")),
        ("orders/../admin", Some("admin")),
        ("orders%2F..%2Fadmin", Some("admin")),
        ("", Some("")),
    ] {
        let answer = pair
            .caller
            .get(&format!("/v1.0/invoke/callee/method/{path}"))
            .await;
        match operation {
            None => assert_eq!(answer.status(), 200, "{path}"),
            Some(operation) => {
                let text = error_body(&denied(&format!("{operation} verb: GET"), spiffe));
                assert_eq!(
                    (answer.status().as_u16(), answer.body()),
                    (403, &text.into())
                );
            }
        }
    }
    let seen: Vec<_> = app
        .recorded()
        .iter()
        .map(|call| call.uri.to_string())
        .collect();
    assert_eq!(seen, ["/orders/1", "/ORDERS/1", "/orders"]);
    let status = pair
        .caller
        .invoke_service(message("callee", "orders/secret", Verb::Post))
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);
    assert_eq!(status.message(), denied("orders/secret verb: POST", spiffe));
    assert_eq!(
        app.recorded().len(),
        3,
        "a call that is denied does not reach the app"
    );
}

#[tokio::test]
async fn a_caller_who_proves_nothing_gets_the_global_default() {
    let app = FakeApp::start().await;
    let road = (AppProtocol::Http, app.address());
    let access_control = policy(&[("/**", Action::Allow)]);
    for (caller, shown) in [(None, ""), (Some(id("other")), "spiffe://td/ns/ns/other")] {
        let pair = pair(road, access_control.clone(), caller).await;
        // Names in headers are no proof.
        let request = Request::get("/v1.0/invoke/callee/method/x")
            .header("dapr-caller-app-id", "caller")
            .body(Full::default())
            .unwrap();
        let answer = send(pair.caller.http, request).await;
        let text = error_body(&denied("x verb: GET", shown));
        assert_eq!(
            (answer.status().as_u16(), answer.body()),
            (403, &text.into())
        );
    }
    assert!(app.recorded().is_empty());
}

#[tokio::test]
async fn of_two_names_the_one_that_is_proven_reaches_the_app() {
    let app = FakeApp::start().await;
    let proven = SpiffeId::new("td", "far", "proven").unwrap();
    let open = AccessControl::new(&written::AccessControl {
        default_action: Action::Allow,
        trust_domain: None,
        policies: Vec::new(),
    });
    let pair = pair((AppProtocol::Http, app.address()), open, Some(proven)).await;
    let answer = pair.caller.get("/v1.0/invoke/callee/method/x").await;
    assert_eq!(answer.status(), 200);
    let call = app.recorded().pop().unwrap();
    assert_eq!(call.header("dapr-caller-app-id"), ["proven"]);
    assert_eq!(call.header("dapr-caller-namespace"), ["far"]);
}

#[tokio::test]
async fn calls_of_the_own_app_are_not_judged() {
    let app = FakeApp::start().await;
    let road = (AppProtocol::Http, app.address());
    let pair = pair(road, policy(&[]), None).await;
    let answer = pair.callee.get("/v1.0/invoke/callee/method/x").await;
    assert_eq!(answer.status(), 200);
    assert_eq!(
        pair.caller
            .get("/v1.0/invoke/callee/method/x")
            .await
            .status(),
        403
    );
    assert_eq!(app.recorded().len(), 1);
}

#[tokio::test]
async fn of_a_grpc_app_methods_are_judged_without_verb() {
    let app = FakeGrpcApp::answering(|_| Ok(tonic::Response::new(InvokeResponse::default()))).await;
    let road = (AppProtocol::Grpc, app.address());
    let pair = pair(road, policy(&[("Say", Action::Allow)]), Some(id("caller"))).await;
    for (method, is_allowed) in [("Say", true), ("say", false), ("Say/more", false)] {
        let call = message("callee", method, Verb::Get);
        match pair.caller.invoke_service(call).await {
            Ok(_) => assert!(is_allowed, "{method}"),
            Err(status) => {
                let text = denied(&format!("{method} verb: NONE"), "spiffe://td/ns/ns/caller");
                assert_eq!(
                    (status.code(), status.message(), is_allowed),
                    (Code::PermissionDenied, &*text, false)
                );
            }
        }
    }
    assert_eq!(app.recorded().len(), 1);
}

#[tokio::test]
async fn calls_that_pass_through_are_judged_by_service_and_method() {
    let app = Echo::start().await;
    let road = (AppProtocol::Grpc, app.address);
    for (pattern, is_allowed) in [
        (ECHO, true),
        ("/own.v1.Echo/*", true),
        ("/own.v1.echo/Say", false),
        ("/own.v1.Echo/Listen", false),
    ] {
        let pair = pair(
            road,
            policy(&[(pattern, Action::Allow)]),
            Some(id("caller")),
        )
        .await;
        let client = connect(&pair.caller).await;
        let answer = client.unary(to("callee", "a".to_owned()), ECHO).await;
        match answer {
            Ok(answer) => assert_eq!((answer.into_inner().as_str(), is_allowed), ("aa", true)),
            Err(status) => {
                let text = format!(
                    "access control policy has denied access to id: spiffe://td/ns/ns/caller \
                     operation: {ECHO} verb: NONE"
                );
                assert_eq!(
                    (status.code(), status.message(), is_allowed),
                    (Code::PermissionDenied, &*text, false)
                );
            }
        }
    }
    assert_eq!(app.calls(), 2);
}
