//! What nobody but an attacker, or a broken client, sends.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Empty, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ClientConfig;
use serde_json::{Value, json};
use sidegate::process::metrics::Metrics;
use std::sync::Arc;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

use super::{Setup, Webhook, connect, patch_of, pod, response_of, review_of};

#[tokio::test]
async fn what_is_no_review_is_refused_with_its_reason() {
    let webhook = Webhook::start().await;
    let deep = "[".repeat(200_000);
    let in_request = |what: &str| {
        format!(
            r#"{{"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
                "request": {what}}}"#
        )
    };
    for (body, wanted) in [
        (
            String::new(),
            "the body is empty: send an AdmissionReview\n",
        ),
        (
            "{}".to_owned(),
            "kind \"\" of \"\" is not accepted: send an AdmissionReview of",
        ),
        (
            r#"{"apiVersion": "v1", "kind": "AdmissionReview"}"#.to_owned(),
            "kind \"AdmissionReview\" of \"v1\" is not accepted",
        ),
        (in_request("null"), "the AdmissionReview has no request\n"),
        (in_request("1"), "the body is no AdmissionReview: "),
        (
            in_request(r#"{"uid": "a", "uid": "b"}"#),
            "the body is no AdmissionReview: duplicate",
        ),
        (
            in_request(&format!(r#"{{"object": {deep}"#)),
            "the body is no AdmissionReview: recursi",
        ),
        (
            in_request(&format!(r#"{{"options": {deep}"#)),
            "the body is no AdmissionReview: ",
        ),
        (deep.clone(), "the body is no AdmissionReview: "),
        (
            "kind: AdmissionReview".to_owned(),
            "the body is no AdmissionReview: ",
        ),
        ("\u{0}\u{0}".to_owned(), "the body is no AdmissionReview: "),
    ] {
        let answer = webhook.post(body).await;
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
        let text = std::str::from_utf8(answer.body()).unwrap();
        assert!(text.starts_with(wanted), "{text:?}");
        assert!(text.len() < 1000);
    }
}

#[tokio::test]
async fn an_object_that_is_no_pod_is_denied() {
    let webhook = Webhook::start().await;
    let mut broken = pod(&json!({}));
    broken["spec"]["containers"] = "none".into();
    for object in [Value::Null, json!([]), json!("pod"), broken] {
        let response = webhook.create(&object).await;
        assert_eq!(response["allowed"], false, "{object}");
        assert_eq!(response["status"]["code"], 400);
        assert_eq!(response.get("patch"), None);
    }
}

#[tokio::test]
async fn of_duplicate_annotations_the_last_counts() {
    let webhook = Webhook::start().await;
    let review = review_of(&pod(&json!({}))).to_string();
    let twice = review.replace(
        r#""dapr.io/enabled":"true""#,
        r#""dapr.io/enabled":"false","dapr.io/enabled":"true""#,
    );
    assert_ne!(review, twice);
    patch_of(&response_of(&webhook.post(twice).await));
}

#[tokio::test]
async fn many_warnings_become_few() {
    let webhook = Webhook::start().await;
    let pod = pod(&json!({"dapr.io/volume-mounts": "no-such-volume:/a,".repeat(1000)}));
    let response = webhook.create(&pod).await;
    let warnings = response["warnings"].as_array().unwrap();
    let lengths = warnings
        .iter()
        .map(|text| text.as_str().unwrap().chars().count());
    assert!((2000..=4096_usize).contains(&lengths.sum::<usize>()));
    let last = warnings.last().unwrap().as_str().unwrap();
    assert!(last.ends_with("more warnings are not shown"), "{last}");
}

#[tokio::test]
async fn more_annotations_than_kubernetes_takes_are_denied() {
    let webhook = Webhook::start().await;
    let response = webhook
        .create(&pod(&json!({"dapr.io/env": "A=1,".repeat(100_000)})))
        .await;
    assert_eq!(response["allowed"], false);
    let message = response["status"]["message"].as_str().unwrap();
    assert!(
        message.ends_with("accepted are 262144 at most"),
        "{message}"
    );
}

#[tokio::test]
async fn bodies_over_the_limit_are_refused() {
    let webhook = Webhook::set_up(Setup {
        body_bytes: 4096,
        ..Setup::default()
    })
    .await;
    let padded = |length: usize| {
        let mut review = review_of(&pod(&json!({}))).to_string();
        review.push_str(&" ".repeat(length - review.len()));
        review
    };
    patch_of(&response_of(&webhook.post(padded(4096)).await));
    let answer = webhook.post(padded(4097)).await;
    assert_eq!(answer.status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(answer.body(), "the body is larger than 4096 bytes\n");
}

#[tokio::test]
async fn a_body_that_never_ends_is_given_up() {
    let webhook = Webhook::set_up(Setup {
        body_time: Duration::from_millis(50),
        ..Setup::default()
    })
    .await;
    let mut stream = connect(webhook.address, webhook.authority.client())
        .await
        .unwrap();
    let head = "POST /mutate HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n\
                content-length: 100\r\nconnection: close\r\n\r\n{";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // The server may close without TLS' goodbye, since the request was not read to its end.
    let _ = stream.read_to_end(&mut answer).await;
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(
        answer.ends_with("the body did not arrive within 50ms\n"),
        "{answer}"
    );
}

#[tokio::test]
async fn bytes_that_arrive_slowly_leave_room_for_others() {
    let webhook = Webhook::set_up(Setup {
        body_bytes: 8192,
        ..Setup::default()
    })
    .await;
    let mut slow = Vec::new();
    let mut busy = 0;
    for _ in 0..12 {
        let mut stream = connect(webhook.address, webhook.authority.client())
            .await
            .unwrap();
        let head = format!(
            "POST /mutate HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n\
             content-length: 8192\r\n\r\n{}",
            " ".repeat(8000)
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        slow.push(stream);
    }
    // Eight bodies of the largest size are held at once; whoever comes then is told at once.
    while busy == 0 {
        let answer = webhook.post(" ".repeat(8192)).await;
        match answer.status() {
            StatusCode::SERVICE_UNAVAILABLE => busy += 1,
            status => assert_eq!(status, StatusCode::BAD_REQUEST),
        }
    }
    drop(slow);
    let room = async || {
        let answer = webhook.post(review_of(&pod(&json!({}))).to_string()).await;
        (answer.status() == StatusCode::OK).then_some(())
    };
    sidegate::testing::eventually::eventually("room again", room).await;
}

#[tokio::test]
async fn connections_that_say_nothing_stop_nobody() {
    let webhook = Webhook::start().await;
    let mut silent = Vec::new();
    for _ in 0..100 {
        silent.push(TcpStream::connect(webhook.address).await.unwrap());
        let mut half = TcpStream::connect(webhook.address).await.unwrap();
        half.write_all(&[22, 3, 1, 2, 0]).await.unwrap();
        silent.push(half);
    }
    patch_of(&webhook.create(&pod(&json!({}))).await);
}

#[tokio::test]
async fn five_hundred_reviews_at_once_are_all_answered() {
    let webhook = Webhook::start().await;
    let body = Bytes::from(review_of(&pod(&json!({}))).to_string());
    let mut client: ClientConfig = Arc::unwrap_or_clone(webhook.authority.client());
    client.alpn_protocols = vec![b"h2".to_vec()];
    let connector = TlsConnector::from(Arc::new(client));
    let mut drivers = JoinSet::new();
    let mut requests = JoinSet::new();
    for _ in 0..20 {
        let stream = TcpStream::connect(webhook.address).await.unwrap();
        let name = "localhost".try_into().unwrap();
        let stream = connector.connect(name, stream).await.unwrap();
        let (sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
                .await
                .unwrap();
        drivers.spawn(connection);
        for _ in 0..25 {
            let mut sender = sender.clone();
            let request = Request::post("https://localhost/mutate")
                .header("content-type", "application/json")
                .body(Full::new(body.clone()))
                .unwrap();
            requests.spawn(async move {
                let answer = sender.send_request(request).await.unwrap();
                let (head, body) = answer.into_parts();
                let body = body.collect().await.unwrap().to_bytes();
                http::Response::from_parts(head, body)
            });
        }
    }
    let answers = requests.join_all().await;
    assert_eq!(answers.len(), 500);
    for answer in answers {
        patch_of(&response_of(&answer));
    }
}

#[tokio::test]
async fn clear_text_is_not_served() {
    let webhook = Webhook::start().await;
    let stream = TcpStream::connect(webhook.address).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .unwrap();
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    let request = Request::post("/mutate").header("host", "a");
    let request = request.body(Empty::<Bytes>::new()).unwrap();
    assert!(sender.send_request(request).await.is_err());
}

#[tokio::test]
async fn what_pods_say_becomes_no_label() {
    let metrics = Metrics::install(None);
    let webhook = Webhook::start().await;
    for index in 0..20 {
        let name = format!("label-of-a-pod-{index}");
        let mut review = review_of(&pod(&json!({"dapr.io/app-id": name})));
        review["request"]["namespace"] = name.as_str().into();
        review["request"]["object"]["metadata"]["name"] = name.as_str().into();
        patch_of(&webhook.review(&review).await);
        webhook.post(name).await;
    }
    let text = crate::counted(&metrics);
    assert!(!text.contains("label-of-a-pod"), "{text}");
    for wanted in [
        "sidegate_injector_reviews_total{outcome=\"injected\",reason=\"new_sidecar\"}",
        "sidegate_injector_reviews_total{outcome=\"refused\",reason=\"undecodable\"}",
        "sidegate_injector_review_duration_seconds_bucket{outcome=\"injected\",le=",
        "dapr_injector_sidecar_injection_requests_total ",
        "dapr_injector_sidecar_injection_succeeded_total ",
        "dapr_injector_sidecar_injection_failed_total{reason=\"patch\"} ",
    ] {
        assert!(text.contains(wanted), "{wanted} in {text}");
    }
}
