//! Tokens and identities on the way between two sidecars.

use http::Request;
use http_body_util::Full;
use sidegate::app_channel::{AppChannelConfig, AppProtocol};
use sidegate::proto::internals::{
    CALL_LOCAL, InternalInvokeRequest, InternalInvokeResponse, ListStringValue,
};
use sidegate::testing::fake_app::FakeApp;
use sidegate::testing::fake_grpc_app::FakeGrpcApp;
use sidegate::testing::http_client::send;
use tonic::metadata::MetadataValue;

use super::Pair;
use crate::app_channel::{config, token};
use crate::invoke::{Setup, Sidecar, TOKEN_HEADER, World, message};
use dapr::dapr::proto::common::v1::http_extension::Verb;
use dapr::dapr::proto::common::v1::{HttpExtension, InvokeRequest};

/// A caller's sidecar with an app token and an API token of its own, and one of the app.
async fn pair(app: AppChannelConfig, api_token: Option<&str>) -> (Sidecar, Sidecar) {
    let world = World::default();
    let own_app = FakeApp::start().await;
    let callee = Sidecar::set_up(Setup {
        app_id: Some("callee"),
        app: Some(app),
        world: Some(&world),
        ..Setup::default()
    });
    let callee = callee.await;
    let caller = Sidecar::set_up(Setup {
        app_id: Some("caller"),
        app: Some(AppChannelConfig {
            token: Some(token("callers")),
            ..config(AppProtocol::Http, own_app.address())
        }),
        api_token,
        world: Some(&world),
        ..Setup::default()
    });
    (caller.await, callee)
}

#[tokio::test]
async fn the_app_gets_the_token_of_its_own_sidecar_and_no_other() {
    for own in [Some("callees"), None] {
        for (api_token, sent) in [
            (Some("api"), Some("api")),
            (None, Some("spoof")),
            (None, None),
        ] {
            let app = FakeApp::start().await;
            let channel = AppChannelConfig {
                token: own.map(token),
                ..config(AppProtocol::Http, app.address())
            };
            let (caller, _callee) = pair(channel, api_token).await;
            let mut request = Request::get("/v1.0/invoke/callee/method/x");
            if let Some(sent) = sent {
                request = request.header(TOKEN_HEADER, sent);
            }
            let answer = send(caller.http, request.body(Full::default()).unwrap()).await;
            assert_eq!(answer.status(), 200);
            let mut ping = tonic::Request::new(message("callee", "x", Verb::Get));
            if let Some(sent) = sent {
                let value = MetadataValue::try_from(sent).unwrap();
                ping.metadata_mut().insert(TOKEN_HEADER, value);
            }
            caller.invoke_service(ping).await.unwrap();
            let calls = app.recorded();
            assert_eq!(calls.len(), 2);
            for call in calls {
                let expected: Vec<&str> = own.into_iter().collect();
                assert_eq!(call.header(TOKEN_HEADER), expected, "{own:?} {sent:?}");
                for value in call.headers.values() {
                    assert!(!value.as_bytes().windows(7).any(|part| part == b"callers"));
                }
            }
        }
    }
}

#[tokio::test]
async fn a_grpc_app_gets_the_token_of_its_own_sidecar_and_no_other() {
    for own in [Some("callees"), None] {
        let app = FakeGrpcApp::answering(|_| Ok(tonic::Response::new(Default::default()))).await;
        let channel = AppChannelConfig {
            token: own.map(token),
            ..config(AppProtocol::Grpc, app.address())
        };
        let (caller, _callee) = pair(channel, None).await;
        let request = Request::get("/v1.0/invoke/callee/method/x").header(TOKEN_HEADER, "spoof");
        send(caller.http, request.body(Full::default()).unwrap()).await;
        let mut ping = tonic::Request::new(message("callee", "x", Verb::Get));
        ping.metadata_mut()
            .insert(TOKEN_HEADER, "spoof".parse().unwrap());
        caller.invoke_service(ping).await.unwrap();
        let calls = app.recorded();
        assert_eq!(calls.len(), 2);
        for call in calls {
            let expected: Vec<&str> = own.into_iter().collect();
            assert_eq!(call.values(TOKEN_HEADER), expected);
        }
    }
}

#[tokio::test]
async fn an_identity_that_a_client_sends_never_reaches_the_app() {
    let app = FakeApp::start().await;
    let pair = Pair::of(AppProtocol::Http, app.address()).await;
    let forged = [
        "Dapr-Caller-App-Id",
        "dapr-caller-namespace",
        "dapr-callee-app-id",
        "dapr-caller-trust-domain",
    ];
    let mut request = Request::get("/v1.0/invoke/callee/method/x");
    let mut ping = tonic::Request::new(message("callee", "x", Verb::Get));
    for name in forged {
        request = request.header(name, "forged");
        let name = tonic::metadata::MetadataKey::from_bytes(name.to_lowercase().as_bytes());
        ping.metadata_mut()
            .insert(name.unwrap(), "forged".parse().unwrap());
    }
    send(pair.caller.http, request.body(Full::default()).unwrap()).await;
    pair.caller.invoke_service(ping).await.unwrap();
    let calls = app.recorded();
    assert_eq!(calls.len(), 2);
    for call in calls {
        assert_eq!(call.header("dapr-caller-app-id"), ["caller"]);
        assert_eq!(call.header("dapr-caller-namespace"), ["ns"]);
        assert_eq!(call.header("dapr-callee-app-id"), ["callee"]);
        assert!(call.header("dapr-caller-trust-domain").is_empty());
    }
}

/// What a sidecar sends that does not look at what its clients send: both the client's header, in
/// the form that HTTP gives it, and its own.
#[tokio::test]
async fn of_two_identities_in_a_message_the_sidecars_own_counts() {
    let app = FakeApp::start().await;
    let pair = Pair::of(AppProtocol::Http, app.address()).await;
    let mut client = tonic::client::Grpc::new(
        tonic::transport::Endpoint::from_shared(format!("http://{}", pair.callee.internal))
            .unwrap()
            .connect()
            .await
            .unwrap(),
    );
    client.ready().await.unwrap();
    let list = |value: &str| ListStringValue {
        values: vec![value.to_owned()],
    };
    let call = InternalInvokeRequest {
        ver: 1,
        metadata: [
            ("Dapr-Caller-App-Id".to_owned(), list("forged")),
            ("dapr-caller-app-id".to_owned(), list("true")),
            ("Dapr-Api-Token".to_owned(), list("forged")),
            ("X-Kept".to_owned(), list("1")),
        ]
        .into(),
        message: Some(InvokeRequest {
            method: "x".to_owned(),
            http_extension: Some(HttpExtension {
                verb: Verb::Get.into(),
                querystring: String::new(),
            }),
            ..InvokeRequest::default()
        }),
    };
    let codec = tonic_prost::ProstCodec::<InternalInvokeRequest, InternalInvokeResponse>::default();
    let path = http::uri::PathAndQuery::from_static(CALL_LOCAL);
    let answer = client
        .unary(tonic::Request::new(call), path, codec)
        .await
        .unwrap();
    assert_eq!(answer.into_inner().status.unwrap().code, 200);
    let call = app.recorded().pop().unwrap();
    assert_eq!(call.header("dapr-caller-app-id"), ["true"]);
    assert_eq!(call.header("x-kept"), ["1"]);
    assert!(call.header(TOKEN_HEADER).is_empty());
}
