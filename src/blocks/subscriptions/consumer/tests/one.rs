//! Messages one by one.

use super::*;

const EVENT: &str = r#"{"id":"1","data":1.0}"#;

#[tokio::test]
async fn each_outcome_settles_its_message() {
    let refused = failed("no dead letter in topic \"dead\": no connection");
    for (outcome, alone, is_put_aside) in [
        (Outcome::Success, done(), false),
        (Outcome::Drop("no".to_owned()), done(), true),
        (retry(), failed("later"), true),
    ] {
        let answer = outcome.clone();
        let world = World::new(|_| {}, "", move |_, _| answer.clone());
        world.handle(&[EVENT]).await;
        assert_eq!(world.settled(), [(EVENT.to_owned(), alone)], "{outcome:?}");
        assert_eq!(world.dead_letters(), []);

        let answer = outcome.clone();
        let world = World::new(dead_letter_topic, "", move |_, _| answer.clone());
        world.handle(&[EVENT]).await;
        assert_eq!(world.settled(), [(EVENT.to_owned(), done())], "{outcome:?}");
        let letter = ("nsdead".to_owned(), EVENT.to_owned());
        let letters = if is_put_aside {
            vec![letter]
        } else {
            Vec::new()
        };
        assert_eq!(world.dead_letters(), letters, "{outcome:?}");

        // Where it cannot be put aside, the broker has to keep it.
        let answer = outcome.clone();
        let world = World::new(dead_letter_topic, "", move |_, _| answer.clone());
        world.broker.refuses.store(true, Ordering::Relaxed);
        world.handle(&[EVENT]).await;
        let expected = if is_put_aside {
            refused.clone()
        } else {
            done()
        };
        assert_eq!(
            world.settled(),
            [(EVENT.to_owned(), expected)],
            "{outcome:?}"
        );
    }
}

#[tokio::test]
async fn messages_that_cannot_be_delivered_never_reach_the_app() {
    let with_rule = |spec: &mut Spec| {
        spec.routes = Routes {
            rules: vec![Rule {
                expression: "event.data > 5".to_owned(),
                path: "large".to_owned(),
            }],
            default: None,
        };
    };
    let unroutable = "the rule of path \"large\" cannot be evaluated: No such key: data";
    let expired = r#"{"data":9,"expiration":"2020-01-01T00:00:00Z","id":"1"}"#;
    for (data, alone, letter) in [
        (r#"{"id":"1","data":1}"#, Some(done()), None),
        (r#"{"id":"1"}"#, Some(failed(unroutable)), None),
        (expired, Some(done()), Some(r#"{"data":9,"id":"1"}"#)),
        ("no JSON", None, None),
        ("[]", None, None),
    ] {
        let world = World::new(with_rule, "", |_, _| Outcome::Success);
        world.handle(&[data]).await;
        let settled = world.settled();
        match alone {
            Some(alone) => assert_eq!(settled, [(data.to_owned(), alone)], "{data}"),
            None => assert!(matches!(&settled[0].1, Settlement::Failed(reason)
                if reason.starts_with("the message is no CloudEvent"))),
        }
        assert_eq!(world.calls(), []);

        let both = |spec: &mut Spec| {
            with_rule(spec);
            dead_letter_topic(spec);
        };
        let world = World::new(both, "", |_, _| Outcome::Success);
        world.handle(&[data]).await;
        assert_eq!(world.settled(), [(data.to_owned(), done())], "{data}");
        let letter = ("nsdead".to_owned(), letter.unwrap_or(data).to_owned());
        assert_eq!(world.dead_letters(), [letter], "{data}");
        assert_eq!(world.calls(), []);
    }
}

#[tokio::test]
async fn a_dead_letter_is_an_event_without_the_metadata_of_its_message() {
    let world = World::new(dead_letter_topic, "", |_, _| retry());
    world.handle(&[EVENT]).await;
    let published = lock(&world.broker.published);
    let (_, letter) = &published[0];
    assert_eq!(letter.content_type.as_deref(), Some(CLOUD_EVENT));
    assert_eq!(letter.metadata, Metadata::new());
}

#[tokio::test]
async fn dead_letters_need_the_right_to_publish() {
    let mut world = World::new(dead_letter_topic, "", |_, _| retry());
    let settings = [("protectedTopics", "dead")];
    let pubsub = LoadedPubSub {
        name: "pubsub".to_owned(),
        component: PubSubComponent {
            broker: Arc::clone(&world.broker) as _,
            scopes: Arc::new(scopes(&settings)),
        },
        topic_prefix: String::new(),
    };
    let dead_letters = DeadLetters::new(Arc::new(pubsub), "dead", Registry::empty(), "app");
    world.consumer.dead_letters = Some(dead_letters);
    world.handle(&[EVENT]).await;
    let reason = "no dead letter in topic \"dead\": the scopes of the component do not let the app \
                  publish to it";
    assert_eq!(world.settled(), [(EVENT.to_owned(), failed(reason))]);
    assert_eq!(world.dead_letters(), []);
}

#[tokio::test]
async fn the_inbound_policy_decides_how_often_a_message_is_tried() {
    let retries = "retries: {p: {duration: 1ms, maxRetries: 2}}";
    for (taken_at, settlement, calls) in [(1, done(), 1), (3, done(), 3), (9, failed("later"), 3)] {
        let world = World::new(
            |_| {},
            retries,
            move |_, call| {
                if call >= taken_at {
                    Outcome::Success
                } else {
                    retry()
                }
            },
        );
        world.handle(&[EVENT]).await;
        assert_eq!(world.settled(), [(EVENT.to_owned(), settlement)]);
        assert_eq!(world.calls().len(), calls);
        assert_eq!(world.dead_letters(), []);
    }
    // What the app does not want is not tried again.
    let world = World::new(dead_letter_topic, retries, |_, _| {
        Outcome::Drop("no".to_owned())
    });
    world.handle(&[EVENT]).await;
    assert_eq!(world.calls().len(), 1);
    assert_eq!(world.dead_letters().len(), 1);
}

#[tokio::test]
async fn an_open_breaker_gives_messages_back_without_a_call() {
    let breaker = "circuitBreakers: {p: {trip: consecutiveFailures >= 2, timeout: 1h}}";
    let world = World::new(|_| {}, breaker, |_, _| retry());
    world.handle(&[EVENT, EVENT, EVENT]).await;
    let reasons: Vec<_> = world.settled().into_iter().map(|(_, told)| told).collect();
    let open = failed("circuit breaker is open");
    assert_eq!(reasons, [failed("later"), failed("later"), open]);
    assert_eq!(world.calls().len(), 2);
}

#[tokio::test]
async fn a_panic_settles_nothing_and_neither_does_a_task_that_is_dropped() {
    let world = World::new(dead_letter_topic, "", |_, _| panic!("on purpose"));
    let world = Arc::new(world);
    let mut tasks = JoinSet::new();
    let handled = Arc::clone(&world);
    tasks.spawn(async move { handled.handle(&[EVENT]).await });
    assert!(tasks.join_next().await.unwrap().unwrap_err().is_panic());
    assert_eq!(world.settled(), []);

    let hours = "retries: {p: {duration: 1h}}";
    let world = World::new(dead_letter_topic, hours, |_, _| retry());
    {
        let mut handling = std::pin::pin!(world.handle(&[EVENT]));
        assert!(futures_util::poll!(&mut handling).is_pending());
    }
    assert_eq!(world.calls().len(), 1);
    assert_eq!(world.settled(), []);
    assert_eq!(world.dead_letters(), []);
}

#[tokio::test]
async fn a_raw_subscription_puts_data_into_an_envelope() {
    let raw = |spec: &mut Spec| {
        dead_letter_topic(spec);
        spec.metadata
            .insert("RawPayload".to_owned(), "true".to_owned());
    };
    let world = World::new(raw, "", |message, _| {
        let fields = message.event.fields();
        assert_eq!(fields["data_base64"], "bm8gSlNPTg==");
        assert_eq!(fields["datacontenttype"], "application/octet-stream");
        assert_eq!(fields["topic"], "t");
        retry()
    });
    world.handle(&["no JSON"]).await;
    // The dead letter is what the app saw, with the id under which it saw it.
    let (_, letter) = world.dead_letters().remove(0);
    let letter: Value = serde_json::from_str(&letter).unwrap();
    assert_eq!(
        world.calls(),
        [(
            "orders".to_owned(),
            vec![letter["id"].as_str().unwrap().into()]
        )]
    );
}

#[tokio::test]
async fn the_trace_of_an_event_goes_on_to_the_app() {
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    for (said, expected) in [
        (parent, Some(parent)),
        ("", None),
        (
            "00-00000000000000000000000000000000-0000000000000000-00",
            None,
        ),
        ("nonsense", None),
    ] {
        let world = World::new(|_| {}, "", |_, _| Outcome::Success);
        let event = format!(r#"{{"id":"1","traceparent":"{said}","tracestate":""}}"#);
        world.handle(&[&event]).await;
        assert_eq!(
            *lock(&world.script.traces),
            [expected.map(str::to_owned)],
            "{said}"
        );
    }
}

#[test]
fn messages_are_counted_by_what_became_of_them() {
    let recorder = Metrics::new(None);
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.enable_all().build().unwrap();
    metrics::with_local_recorder(&recorder, || {
        runtime.block_on(async {
            let world = World::new(dead_letter_topic, "", |_, call| match call {
                1 => Outcome::Success,
                2 => Outcome::Drop("no".to_owned()),
                _ => retry(),
            });
            world.handle(&[EVENT, EVENT]).await;
            world.broker.refuses.store(true, Ordering::Relaxed);
            world.handle(&[EVENT]).await;
        });
    });
    let text = recorder.render();
    let labels = r#"component="pubsub",namespace="ns",topic="t""#;
    for (process_status, status) in [
        ("success", "done"),
        ("drop", "dead_letter"),
        ("retry", "failed"),
    ] {
        let line = format!(
            "dapr_component_pubsub_ingress_count{{{labels},process_status=\"{process_status}\",\
             status=\"{status}\"}} 1"
        );
        assert!(text.contains(&line), "{line}\n{text}");
    }
    assert!(
        text.contains("dapr_component_pubsub_ingress_latencies"),
        "{text}"
    );
}
