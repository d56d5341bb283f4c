//! Pub/sub: publishing, and messages that are handed out until they are dealt with.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use sidegate::components::BackendError;
use sidegate::components::catalog::Backend;
use sidegate::components::message::{Intake, Metadata};
use sidegate::components::pubsub::{Feature, Interest, Outgoing, PubSub};
use sidegate::testing::contract;
use sidegate::testing::eventually::eventually;
use tonic::Code;

use super::{World, done, failed};

async fn broker(world: &World, properties: &[(&str, &str)]) -> Arc<dyn PubSub> {
    let component = contract::component("pubsub.Own", properties);
    match world.build(&component).await {
        Ok(Backend::PubSub(pubsub)) => pubsub.broker,
        Ok(_) => panic!("it is no pub/sub"),
        Err(error) => panic!("{error}"),
    }
}

fn message(text: &'static str) -> Outgoing {
    Outgoing {
        data: text.into(),
        content_type: Some("text/plain".to_owned()),
        metadata: Metadata::new(),
    }
}

fn topic(name: &str) -> Interest {
    Interest {
        topic: name.to_owned(),
        metadata: Metadata::new(),
    }
}

fn published(texts: &[&str]) -> Vec<(String, String)> {
    let texts = texts.iter();
    texts
        .map(|text| ("t".to_owned(), (*text).to_owned()))
        .collect()
}

#[tokio::test]
async fn publishes_with_the_settings_and_the_name_of_its_component() {
    let world = World::new();
    let _component = world.start("own");
    let broker = broker(&world, &[("broker", "b:1"), ("allowedTopics", "t")]).await;
    broker.publish("t", message("hello")).await.unwrap();
    assert_eq!(world.behaviour.published(), published(&["hello"]));
    let settings = [
        ("allowedTopics", "t"),
        ("broker", "b:1"),
        ("consumerID", "app"),
    ];
    let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(world.behaviour.inits(), [BTreeMap::from(settings)]);
    for method in ["Init", "Features", "Publish"] {
        assert_eq!(world.behaviour.callers(method), ["store"], "{method}");
    }
    assert_eq!(broker.features(), [Feature::MessageTtl]);
}

#[tokio::test]
async fn a_consumer_id_of_ones_own_is_kept() {
    let world = World::new();
    let _component = world.start("own");
    broker(&world, &[("consumerId", "mine")]).await;
    let settings = world.behaviour.inits().remove(0);
    assert_eq!(settings["consumerId"], "mine");
    assert!(!settings.contains_key("consumerID"));
}

#[tokio::test]
async fn tells_of_each_of_several_messages_what_became_of_it() {
    let world = World::new();
    let _component = world.start("own");
    let broker = broker(&world, &[]).await;
    let outcomes = broker
        .publish_all("t", vec![message("1"), message("bad"), message("2")])
        .await;
    let bad = Err(BackendError::Unavailable("it is bad".to_owned()));
    assert_eq!(outcomes, [Ok(()), bad, Ok(())]);
    assert_eq!(world.behaviour.published(), published(&["1", "2"]));
    // Whoever names a message that is none of them is believed in nothing.
    let outcomes = broker
        .publish_all("t", vec![message("3"), message("worse")])
        .await;
    assert!(outcomes.iter().all(Result::is_err));
    world.behaviour.fails("BulkPublish", Code::Internal, "no");
    let outcomes = broker.publish_all("t", vec![message("4")]).await;
    let no = BackendError::Unavailable("no (Internal)".to_owned());
    assert_eq!(outcomes, [Err(no)]);
}

#[tokio::test]
async fn publishes_one_by_one_where_a_component_cannot_take_several() {
    let world = World::new();
    let _component = world.start("own");
    let broker = broker(&world, &[]).await;
    world
        .behaviour
        .fails("BulkPublish", Code::Unimplemented, "no");
    for _ in 0..2 {
        let outcomes = broker
            .publish_all("t", vec![message("1"), message("2")])
            .await;
        assert_eq!(outcomes, [Ok(()), Ok(())]);
    }
    let expected = published(&["1", "2", "1", "2"]);
    assert_eq!(world.behaviour.published(), expected);
    assert_eq!(world.behaviour.callers("BulkPublish").len(), 1);
}

#[tokio::test]
async fn what_is_not_dealt_with_comes_again() {
    let world = World::new();
    let _component = world.start("own");
    let broker = broker(&world, &[]).await;
    let mut intake = broker.subscribe(&topic("orders")).await.unwrap();
    assert_eq!(intake.concurrency(), 1);
    world.behaviour.topics.push("a");
    let delivery = intake.next().await.unwrap();
    assert_eq!(delivery.topic, "orders");
    assert_eq!(delivery.data, "a");
    assert_eq!(delivery.content_type.as_deref(), Some("text/plain"));
    assert_eq!(delivery.metadata["number"], "1");
    failed(delivery, "the app said no").await;
    done(intake.next().await.unwrap()).await;
    eventually("it is done", async || {
        (world.behaviour.topics.done().len() == 1).then_some(())
    })
    .await;
    assert_eq!(world.behaviour.topics.failures(), ["the app said no"]);
    // Without a word, it is handed out with the next stream.
    world.behaviour.topics.push("b");
    drop(intake.next().await.unwrap());
    drop(intake);
    let mut intake = broker.subscribe(&topic("orders")).await.unwrap();
    assert_eq!(intake.next().await.unwrap().data, "b");
}

#[tokio::test]
async fn what_was_handed_out_can_be_settled_after_the_end() {
    let world = World::new();
    let _component = world.start("own");
    let broker = broker(&world, &[("concurrencyMode", "Parallel")]).await;
    let mut intake = broker.subscribe(&topic("orders")).await.unwrap();
    assert!(intake.concurrency() > 1);
    for text in ["a", "b", "c"] {
        world.behaviour.topics.push(text);
    }
    let (first, second) = (intake.next().await.unwrap(), intake.next().await.unwrap());
    intake.close().await;
    drop(broker);
    done(first).await;
    failed(second, "no").await;
    eventually("both are settled", async || {
        let topics = &world.behaviour.topics;
        (topics.done().len() == 1 && topics.failures() == ["no"]).then_some(())
    })
    .await;
}

#[tokio::test]
async fn nothing_is_lost_when_a_component_starts_again() {
    const MESSAGES: usize = 500;
    let world = World::new();
    let mut component = Some(world.start("own"));
    let broker = broker(&world, &[("password", "hunter2")]).await;
    for number in 0..MESSAGES {
        world.behaviour.topics.push(number.to_string());
    }
    let mut taken = 0;
    let mut intake: Option<Box<dyn Intake>> = None;
    while world.behaviour.topics.done().len() < MESSAGES {
        let Some(open) = &mut intake else {
            intake = broker.subscribe(&topic("orders")).await.ok();
            continue;
        };
        // The last acknowledgements may be on their way.
        let next = tokio::time::timeout(std::time::Duration::from_millis(100), open.next()).await;
        match next {
            Ok(Ok(delivery)) => {
                taken += 1;
                if taken % 100 == 0 && taken <= 300 {
                    drop(component.take());
                    component = Some(world.start("own"));
                }
                let settlement = sidegate::components::message::Settlement::Done(None);
                // Where the stream broke, it comes again.
                let _ = delivery.acknowledge.settle(settlement).await;
            }
            Ok(Err(_)) => intake = None,
            Err(_) => {}
        }
    }
    let done = world.behaviour.topics.done();
    let numbers: BTreeSet<_> = done.iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers.len(), MESSAGES);
    println!("{MESSAGES} messages, {taken} taken, over three restarts");
    let inits = world.behaviour.inits();
    assert_eq!(inits.len(), 4);
    assert!(inits.iter().all(|settings| *settings == inits[0]));
}

#[tokio::test]
async fn a_stream_that_nobody_reads_holds_up_neither_memory_nor_others() {
    let world = World::new();
    let _component = world.start("own");
    let broker = broker(&world, &[]).await;
    for _ in 0..200 {
        world.behaviour.topics.push(vec![b'x'; 256 << 10]);
    }
    let mut intake = broker.subscribe(&topic("orders")).await.unwrap();
    let delivery = intake.next().await.unwrap();
    for _ in 0..20 {
        broker.publish("t", message("hello")).await.unwrap();
    }
    // What the component has taken from its queue and could not send.
    let handed_out = world.behaviour.topics.handed_out();
    assert!(handed_out < 40, "{handed_out}");
    done(delivery).await;
}
