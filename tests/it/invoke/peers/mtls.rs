//! Mutual TLS between two sidecars, with certificates of an authority in this process.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::Response;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use sidegate::app_channel::AppProtocol;
use sidegate::base::operation_pattern::OperationPattern;
use sidegate::base::spiffe_id::SpiffeId;
use sidegate::peers::access_control::AccessControl;
use sidegate::peers::identity::{IdentityError, Mtls, RETRY, Sentry, Token, obtain};
use sidegate::resources::configuration::access_control::{self as written, Action};
use sidegate::testing::certificates::{Authority, Issued};
use sidegate::testing::eventually::eventually;
use sidegate::testing::fake_app::FakeApp;
use sidegate::testing::fake_sentry::{FakeSentry, Grant, SENTRY_ID};
use sidegate::tls::spiffe::{Svid, TrustAnchors};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::Pair;
use super::proxy::{ECHO, Echo, connect, to};
use crate::app_channel::config;
use crate::invoke::{Setup, Sidecar, World};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn today() -> (SystemTime, SystemTime) {
    let now = SystemTime::now();
    (now - Duration::from_secs(60), now + DAY)
}

/// Mutual TLS with a certificate that does not change, and may have ended.
fn mtls(anchors: &Authority, issued: &Issued) -> Mtls {
    let key = PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).unwrap();
    let svid = Svid::unchecked(issued.certificate.as_bytes(), key).unwrap();
    let (_, own) = watch::channel(Arc::new(svid));
    Mtls::new(TrustAnchors::parse(&anchors.certificate()).unwrap(), own)
}

fn of(authority: &Authority, app_id: &str) -> Mtls {
    let id = format!("spiffe://td/ns/ns/{app_id}");
    mtls(authority, &authority.svid(&id, today()))
}

/// The sidecar of the app `callee`, and that of a caller, each with its own side of TLS.
async fn pair(
    app: SocketAddr,
    callee: Option<Mtls>,
    caller: Option<Mtls>,
    access_control: Option<AccessControl>,
) -> Pair {
    let world = World::default();
    let callee = Sidecar::set_up(Setup {
        app_id: Some("callee"),
        app: Some(config(AppProtocol::Http, app)),
        world: Some(&world),
        mtls: callee,
        access_control,
        ..Setup::default()
    });
    let callee = callee.await;
    let caller = Sidecar::set_up(Setup {
        app_id: Some("caller"),
        world: Some(&world),
        mtls: caller,
        ..Setup::default()
    });
    Pair {
        caller: caller.await,
        callee,
        world,
    }
}

async fn status(pair: &Pair) -> u16 {
    let answer = pair.caller.get("/v1.0/invoke/callee/method/x").await;
    answer.status().as_u16()
}

fn allow_only(trust_domain: &str, app_id: &str) -> AccessControl {
    AccessControl::new(&written::AccessControl {
        default_action: Action::Deny,
        trust_domain: None,
        policies: vec![written::Policy {
            caller: SpiffeId::new(trust_domain, "ns", app_id).unwrap(),
            default_action: None,
            operations: vec![written::Operation {
                name: OperationPattern::parse("/x").unwrap(),
                verbs: vec![written::Verb::Any],
                action: Action::Allow,
            }],
        }],
    })
}

#[tokio::test]
async fn two_sidecars_prove_to_each_other_who_they_are() {
    let app = FakeApp::answering(|_| Response::new("pong".into())).await;
    let authority = Authority::new();
    // What the caller's own sidecar says of itself does not count beside its certificate.
    let pair = pair(
        app.address(),
        Some(of(&authority, "callee")),
        Some(of(&authority, "proven")),
        Some(allow_only("td", "proven")),
    )
    .await;
    let answer = pair.caller.get("/v1.0/invoke/callee/method/x").await;
    assert_eq!(
        (answer.status().as_u16(), &answer.body()[..]),
        (200, &b"pong"[..])
    );
    let call = app.recorded().pop().unwrap();
    assert_eq!(call.header("dapr-caller-app-id"), ["proven"]);
    assert_eq!(call.header("dapr-caller-namespace"), ["ns"]);
    let answer = pair.caller.get("/v1.0/invoke/callee/method/y").await;
    assert_eq!(answer.status(), 403);
    assert_eq!(app.recorded().len(), 1);
}

#[tokio::test]
async fn a_policy_for_another_trust_domain_lets_nobody_in() {
    let app = FakeApp::start().await;
    let authority = Authority::new();
    let pair = pair(
        app.address(),
        Some(of(&authority, "callee")),
        Some(of(&authority, "caller")),
        Some(allow_only("other", "caller")),
    )
    .await;
    assert_eq!(status(&pair).await, 403);
    assert!(app.recorded().is_empty());
}

#[tokio::test]
async fn calls_that_pass_through_are_encrypted_too() {
    let app = Echo::start().await;
    let authority = Authority::new();
    let world = World::default();
    let set_up = |app_id: &'static str, app| {
        Sidecar::set_up(Setup {
            app_id: Some(app_id),
            app,
            world: Some(&world),
            mtls: Some(of(&authority, app_id)),
            ..Setup::default()
        })
    };
    let _callee = set_up("callee", Some(config(AppProtocol::Grpc, app.address))).await;
    let caller = set_up("caller", None).await;
    let client = connect(&caller).await;
    let answer = client.unary(to("callee", "a".to_owned()), ECHO).await;
    assert_eq!(answer.unwrap().into_inner(), "aa");
}

/// A sidecar that does not prove who it is gets nothing, on either side.
#[tokio::test]
async fn whoever_cannot_prove_the_right_identity_reaches_nothing() {
    let app = FakeApp::start().await;
    let (own, foreign) = (Authority::new(), Authority::new());
    let past = (SystemTime::now() - 2 * DAY, SystemTime::now() - DAY);
    let expired = |app_id: &str| {
        let id = format!("spiffe://td/ns/ns/{app_id}");
        mtls(&own, &own.svid(&id, past))
    };
    let nameless = |authority: &Authority| {
        let issued = authority.issue(&["callee", "caller"]);
        let key = PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).unwrap();
        Svid::new(issued.certificate.as_bytes(), key)
    };
    assert!(
        nameless(&own).is_err(),
        "a certificate without SPIFFE id is none of an app"
    );
    let foreign_but_trusting = |app_id: &str| {
        let id = format!("spiffe://td/ns/ns/{app_id}");
        mtls(&own, &foreign.svid(&id, today()))
    };
    let other_namespace = {
        let id = "spiffe://td/ns/other/callee";
        mtls(&own, &own.svid(id, today()))
    };
    let good = |app_id: &str| Some(of(&own, app_id));
    let cases = [
        (
            "caller of another authority",
            good("callee"),
            Some(foreign_but_trusting("caller")),
        ),
        (
            "callee of another authority",
            Some(foreign_but_trusting("callee")),
            good("caller"),
        ),
        ("callee of another app", good("other"), good("caller")),
        (
            "callee of another namespace",
            Some(other_namespace),
            good("caller"),
        ),
        ("caller without certificate", good("callee"), None),
        ("callee without certificate", None, good("caller")),
        (
            "caller whose certificate ended",
            good("callee"),
            Some(expired("caller")),
        ),
        (
            "callee whose certificate ended",
            Some(expired("callee")),
            good("caller"),
        ),
    ];
    let address = app.address();
    let tries = cases.map(|(what, callee, caller)| async move {
        let pair = pair(address, callee, caller, None).await;
        assert_eq!(status(&pair).await, 500, "{what}");
    });
    futures_util::future::join_all(tries).await;
    assert!(app.recorded().is_empty());
}

/// What `caller` asks the authority with.
fn sentry(address: SocketAddr, anchors: &Authority) -> Sentry {
    Sentry {
        address: address.to_string().parse().unwrap(),
        id: SpiffeId::parse(SENTRY_ID).unwrap(),
        anchors: TrustAnchors::parse(&anchors.certificate()).unwrap(),
        app_id: "caller".to_owned(),
        namespace: "ns".to_owned(),
        token: Token::None,
        audiences: vec!["aud".to_owned()],
        retry: RETRY,
    }
}

#[tokio::test]
async fn certificates_of_the_authority_count_and_are_renewed_at_half_their_life() {
    let app = FakeApp::start().await;
    let authority = Arc::new(Authority::new());
    let own = authority.svid(SENTRY_ID, today());
    let fake = FakeSentry::start(Arc::clone(&authority), &own, |request, before| {
        let grant = Grant::of(request);
        match before {
            // Half of it is over at once, and it lives for as long as the test.
            0 => Ok(Grant {
                age: DAY,
                left: DAY,
                ..grant
            }),
            1 => Err(Status::unavailable("as asked")),
            _ => Ok(Grant {
                id: "spiffe://second/ns/ns/caller".to_owned(),
                ..grant
            }),
        }
    })
    .await;
    let asked = Sentry {
        retry: Duration::ZERO,
        ..sentry(fake.address(), &authority)
    };
    let (mtls, renewal) = obtain(asked).await.unwrap();
    let only_second = Some(allow_only("second", "caller"));
    let callee = Some(of(&authority, "callee"));
    let before = pair(
        app.address(),
        callee.clone(),
        Some(mtls.clone()),
        only_second.clone(),
    )
    .await;
    assert_eq!(
        status(&before).await,
        403,
        "the first certificate has another trust domain"
    );
    let mut tasks = JoinSet::new();
    let shutdown = CancellationToken::new();
    tasks.spawn(renewal.run(shutdown.clone()));
    let answer = eventually("a renewed certificate", async || {
        // A new sidecar each time, since connections keep their certificate.
        let after = pair(
            app.address(),
            callee.clone(),
            Some(mtls.clone()),
            only_second.clone(),
        );
        let status = status(&after.await).await;
        (status == 200).then_some(status)
    })
    .await;
    assert_eq!(answer, 200);
    assert!(
        fake.requests().len() >= 3,
        "the refused renewal was tried again"
    );
    shutdown.cancel();
    tasks.join_next().await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn the_authority_learns_who_asks_and_the_log_no_token() {
    let authority = Arc::new(Authority::new());
    let own = authority.svid(SENTRY_ID, today());
    let rule = |request: &_, _| Ok(Grant::of(request));
    let fake = FakeSentry::start(Arc::clone(&authority), &own, rule).await;
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, "secret\n").unwrap();
    let missing = folder.path().join("missing");
    let asked = Sentry {
        token: Token::Kubernetes(vec![missing, token]),
        ..sentry(fake.address(), &authority)
    };
    obtain(asked).await.unwrap();
    let request = fake.requests().remove(0);
    assert_eq!(
        (&*request.id, &*request.namespace, &*request.token),
        ("caller", "ns", "secret")
    );
    assert_eq!(request.token_validator, 2);
    assert_eq!(request.jwt_audiences, ["aud"]);
    assert!(
        !format!("{request:?}").contains("secret"),
        "a token is never printed"
    );
}

#[tokio::test]
async fn an_authority_that_is_not_the_right_one_is_not_believed() {
    let (own, foreign) = (Arc::new(Authority::new()), Authority::new());
    let wrong_name = own.svid("spiffe://cp.local/ns/dapr-system/other", today());
    let wrong_root = foreign.svid(SENTRY_ID, today());
    for shown in [wrong_name, wrong_root] {
        let rule = |request: &_, _| Ok(Grant::of(request));
        let fake = FakeSentry::start(Arc::clone(&own), &shown, rule).await;
        let error = obtain(sentry(fake.address(), &own)).await.unwrap_err();
        assert!(matches!(error, IdentityError::Refused { .. }), "{error}");
        assert!(fake.requests().is_empty(), "nothing was told to it");
    }
}

#[tokio::test]
async fn a_certificate_for_somebody_else_is_not_used() {
    let own = Arc::new(Authority::new());
    let shown = own.svid(SENTRY_ID, today());
    let fake = FakeSentry::start(Arc::clone(&own), &shown, |request, _| {
        let id = "spiffe://td/ns/ns/other".to_owned();
        Ok(Grant {
            id,
            ..Grant::of(request)
        })
    })
    .await;
    let error = obtain(sentry(fake.address(), &own)).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the certificate that the authority gave is for spiffe://td/ns/ns/other, not for caller \
         in ns"
    );
}
