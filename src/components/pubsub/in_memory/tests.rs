use super::*;
use bytes::Bytes;

fn message(text: &str) -> Outgoing {
    Outgoing {
        data: Bytes::copy_from_slice(text.as_bytes()),
        content_type: Some("text/plain".to_owned()),
        metadata: [("key".to_owned(), text.to_owned())].into(),
    }
}

async fn subscribed(broker: &InMemory, topic: &str) -> Box<dyn Intake> {
    let interest = Interest {
        topic: topic.to_owned(),
        metadata: Default::default(),
    };
    broker.subscribe(&interest).await.unwrap()
}

async fn publish(broker: &InMemory, topic: &str, texts: &[&str]) {
    for text in texts {
        broker.publish(topic, message(text)).await.unwrap();
    }
}

async fn next(intake: &mut Box<dyn Intake>) -> (String, Delivery) {
    let delivery = intake.next().await.unwrap();
    let text = String::from_utf8(delivery.data.to_vec()).unwrap();
    (text, delivery)
}

async fn settle(delivery: Delivery, settlement: Settlement) {
    delivery.acknowledge.settle(settlement).await.unwrap();
}

fn failed() -> Settlement {
    Settlement::Failed("no".to_owned())
}

#[tokio::test]
async fn hands_out_what_was_published_in_order_and_as_it_was() {
    let broker = InMemory::default();
    publish(&broker, "t", &["before anybody asked"]).await;
    let mut intake = subscribed(&broker, "t").await;
    publish(&broker, "other", &["x"]).await;
    publish(&broker, "t", &["a", "b"]).await;
    for expected in ["a", "b"] {
        let (text, delivery) = next(&mut intake).await;
        assert_eq!((text.as_str(), delivery.topic.as_str()), (expected, "t"));
        assert_eq!(delivery.content_type.as_deref(), Some("text/plain"));
        assert_eq!(delivery.metadata["key"], expected);
        settle(delivery, Settlement::Done(None)).await;
    }
}

#[tokio::test]
async fn a_star_subscribes_to_many_topics_and_each_message_names_its_own() {
    let broker = InMemory::default();
    let mut all = subscribed(&broker, "orders*").await;
    let mut one = subscribed(&broker, "orders.new").await;
    publish(&broker, "orders.old", &["a"]).await;
    publish(&broker, "orders.new", &["b"]).await;
    let topics = [next(&mut all).await.1.topic, next(&mut all).await.1.topic];
    assert_eq!(topics, ["orders.old", "orders.new"]);
    assert_eq!(next(&mut one).await.0, "b");
}

#[tokio::test]
async fn what_failed_comes_again_after_a_pause_and_holds_nothing_up() {
    let broker = InMemory::default();
    let mut intake = subscribed(&broker, "t").await;
    publish(&broker, "t", &["a", "b", "c"]).await;
    let begin = Instant::now();
    settle(next(&mut intake).await.1, failed()).await;
    for expected in ["b", "c"] {
        let (text, delivery) = next(&mut intake).await;
        assert_eq!(text, expected);
        settle(delivery, Settlement::Done(None)).await;
    }
    let (text, _delivery) = next(&mut intake).await;
    assert_eq!(text, "a");
    assert!(begin.elapsed() >= REDELIVERY);
}

#[tokio::test]
async fn what_is_dropped_goes_back_to_its_place() {
    let broker = InMemory::default();
    let mut intake = subscribed(&broker, "t").await;
    publish(&broker, "t", &["a", "b", "c"]).await;
    let (a, b) = (next(&mut intake).await, next(&mut intake).await);
    drop((b, a));
    drop(intake);
    let mut intake = subscribed(&broker, "t").await;
    for expected in ["a", "b", "c"] {
        let (text, delivery) = next(&mut intake).await;
        assert_eq!(text, expected);
        settle(delivery, Settlement::Done(None)).await;
    }
}

#[tokio::test]
async fn a_full_queue_refuses_and_drops_nothing() {
    let broker = InMemory::default();
    let mut intake = subscribed(&broker, "t").await;
    let _other = subscribed(&broker, "*").await;
    for number in 0..CAPACITY {
        publish(&broker, "t", &[&number.to_string()]).await;
    }
    let refused = broker.publish("t", message("x")).await;
    assert!(matches!(refused, Err(BackendError::Unavailable(_))));
    // What is being dealt with takes its room until it is dealt with.
    let (_, delivery) = next(&mut intake).await;
    assert!(broker.publish("t", message("x")).await.is_err());
    settle(delivery, Settlement::Done(None)).await;
    let refused = broker.publish("t", message("x")).await;
    assert!(refused.is_err(), "the other queue is full still");
    for number in 1..CAPACITY {
        let (text, delivery) = next(&mut intake).await;
        assert_eq!(text, number.to_string());
        settle(delivery, Settlement::Done(None)).await;
    }
}

#[tokio::test]
async fn subscriptions_to_one_topic_share_its_messages() {
    let broker = InMemory::default();
    let mut first = subscribed(&broker, "t").await;
    let mut second = subscribed(&broker, "t").await;
    publish(&broker, "t", &["a", "b"]).await;
    let (a, b) = tokio::join!(next(&mut first), next(&mut second));
    let mut texts = [a.0, b.0];
    texts.sort();
    assert_eq!(texts, ["a", "b"]);
}

#[tokio::test]
async fn readers_that_wait_all_get_something() {
    let broker = InMemory::default();
    let mut first = subscribed(&broker, "t").await;
    let mut second = subscribed(&broker, "t").await;
    let (a, b, ()) = tokio::join!(
        next(&mut first),
        next(&mut second),
        publish(&broker, "t", &["a", "b"])
    );
    assert_ne!(a.0, b.0);
}

#[tokio::test]
async fn a_queue_is_kept_for_a_while_without_a_reader() {
    let broker = InMemory::default();
    let intake = subscribed(&broker, "t").await;
    let queue = Arc::clone(&broker.queues()[0]);
    publish(&broker, "t", &["a"]).await;
    assert_eq!(queue.given_up(Duration::ZERO), None, "it is read");
    drop(intake);
    assert_eq!(queue.given_up(KEPT), None, "it was read just now");
    assert_eq!(queue.given_up(Duration::ZERO), Some(1));
    let mut intake = subscribed(&broker, "t").await;
    let (text, delivery) = next(&mut intake).await;
    assert_eq!(text, "a");
    drop(intake);
    assert_eq!(
        queue.given_up(Duration::ZERO),
        None,
        "a message may come back"
    );
    drop(delivery);
    assert_eq!(queue.given_up(Duration::ZERO), Some(1));
}
