//! Messages together.

use std::time::Duration;

use super::*;

fn together(spec: &mut Spec) {
    spec.bulk = Some(Bulk {
        most: 100,
        wait: Duration::ZERO,
    });
}

fn events(count: usize) -> Vec<String> {
    let event = |number| format!(r#"{{"id":"{number}","data":{number}}}"#);
    (0..count).map(event).collect()
}

async fn handle(world: &World, events: &[String]) {
    let events: Vec<_> = events.iter().map(String::as_str).collect();
    world.handle(&events).await;
}

fn ids(ids: &[usize]) -> Vec<String> {
    ids.iter().map(ToString::to_string).collect()
}

#[tokio::test]
async fn each_message_is_settled_by_its_own_status() {
    let answer = |message: &Message, _| match message.event.id() {
        "0" | "3" => Outcome::Success,
        "1" => retry(),
        _ => Outcome::Drop("no".to_owned()),
    };
    let world = World::new(together, "", answer);
    let events = events(4);
    handle(&world, &events).await;
    let expected = [done(), failed("later"), done(), done()];
    let expected: Vec<_> = events.iter().cloned().zip(expected).collect();
    assert_eq!(world.settled(), expected);
    assert_eq!(world.calls(), [("orders".to_owned(), ids(&[0, 1, 2, 3]))]);

    let both = |spec: &mut Spec| {
        together(spec);
        dead_letter_topic(spec);
    };
    let world = World::new(both, "", answer);
    handle(&world, &events).await;
    assert!(world.settled().iter().all(|(_, told)| *told == done()));
    let letters: Vec<_> = world
        .dead_letters()
        .into_iter()
        .map(|(_, data)| data)
        .collect();
    assert_eq!(letters, events[1..3]);
}

#[tokio::test]
async fn a_path_has_its_own_call_and_messages_without_one_have_none() {
    let rules = |spec: &mut Spec| {
        together(spec);
        let rule = |expression: &str, path: &str| Rule {
            expression: expression.to_owned(),
            path: path.to_owned(),
        };
        spec.routes = Routes {
            rules: vec![
                rule("event.data == 1", "one"),
                rule("event.data < 4", "few"),
            ],
            default: None,
        };
    };
    let world = World::new(rules, "", |_, _| Outcome::Success);
    handle(&world, &events(6)).await;
    let few = ("few".to_owned(), ids(&[0, 2, 3]));
    assert_eq!(world.calls(), [few, ("one".to_owned(), ids(&[1]))]);
    assert_eq!(world.settled().len(), 6);
}

#[tokio::test]
async fn only_what_is_wanted_again_is_sent_again() {
    let retries = "retries: {p: {duration: 1ms, maxRetries: 3}}";
    let world = World::new(together, retries, |message, call| {
        match (message.event.id(), call) {
            ("0", _) | ("1", 2) => Outcome::Success,
            ("3", _) => Outcome::Drop("no".to_owned()),
            _ => retry(),
        }
    });
    let events = events(4);
    handle(&world, &events).await;
    let calls: Vec<_> = world.calls().into_iter().map(|(_, ids)| ids).collect();
    assert_eq!(
        calls,
        [ids(&[0, 1, 2, 3]), ids(&[1, 2]), ids(&[2]), ids(&[2])]
    );
    let told: Vec<_> = world.settled().into_iter().map(|(_, told)| told).collect();
    assert_eq!(told, [done(), done(), failed("later"), done()]);
}

#[tokio::test]
async fn large_messages_are_spread_over_several_calls() {
    let world = World::new(together, "", |_, _| Outcome::Success);
    let padding = "x".repeat(1024 * 1024);
    let large = |number| format!(r#"{{"id":"{number}","data":"{padding}"}}"#);
    let events: Vec<_> = (0..5).map(large).collect();
    handle(&world, &events).await;
    let calls: Vec<_> = world.calls().into_iter().map(|(_, ids)| ids).collect();
    assert_eq!(calls, [ids(&[0, 1]), ids(&[2, 3]), ids(&[4])]);
    let order: Vec<_> = world
        .settled()
        .into_iter()
        .map(|(event, _)| event)
        .collect();
    assert_eq!(order, events);
}

#[tokio::test]
async fn a_breaker_that_is_open_gives_all_back() {
    let breaker = "circuitBreakers: {p: {trip: consecutiveFailures >= 1, timeout: 1h}}";
    let world = World::new(together, breaker, |_, _| retry());
    handle(&world, &events(2)).await;
    handle(&world, &events(2)).await;
    let told: Vec<_> = world.settled().into_iter().map(|(_, told)| told).collect();
    let open = failed("circuit breaker is open");
    assert_eq!(told, [failed("later"), failed("later"), open.clone(), open]);
    assert_eq!(world.calls().len(), 1);
}

#[test]
fn calls_and_messages_are_counted() {
    let recorder = Metrics::new(None);
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.enable_all().build().unwrap();
    metrics::with_local_recorder(&recorder, || {
        runtime.block_on(async {
            let world = World::new(together, "", |message, _| match message.event.id() {
                "0" => retry(),
                _ => Outcome::Success,
            });
            handle(&world, &events(3)).await;
        });
    });
    let text = recorder.render();
    let labels = r#"component="pubsub",namespace="ns",topic="t""#;
    for line in [
        format!("dapr_component_pubsub_ingress_bulk_count{{{labels},process_status=\"retry\"}} 1"),
        format!(
            "dapr_component_pubsub_ingress_bulk_event_count{{{labels},\
             process_status=\"success\",status=\"done\"}} 2"
        ),
        format!(
            "dapr_component_pubsub_ingress_bulk_event_count{{{labels},process_status=\"retry\",\
             status=\"failed\"}} 1"
        ),
    ] {
        assert!(text.contains(&line), "{line}\n{text}");
    }
    assert!(
        text.contains("dapr_component_pubsub_ingress_bulk_latencies"),
        "{text}"
    );
}
