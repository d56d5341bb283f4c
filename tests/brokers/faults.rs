//! What goes wrong between a publisher and an app, over any broker: nothing that was accepted is
//! lost.

use std::net::SocketAddr;
use std::ops::Range;
use std::time::Duration;

use sidegate::testing::eventually::eventually;

use crate::counting::{CountingApp, Mood};
use crate::proxy::{Proxy, Weather};
use crate::servers::Server;
use crate::sidecar::Sidecar;

/// How many messages each fault is tried with.
const MESSAGES: u64 = 10_000;
/// How many are published with one call.
const TOGETHER: usize = 100;

/// A broker.
pub(crate) struct Broker {
    /// Its name, for what is printed.
    pub(crate) name: &'static str,
    /// The server.
    pub(crate) server: Server,
    /// The component `pubsub`, as YAML, at an address: dealing with many messages at once, or with
    /// one.
    pub(crate) component: fn(SocketAddr, Pace) -> String,
}

/// How many messages are dealt with at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// Many.
    Parallel,
    /// One.
    Single,
}

/// The parts of a test: publisher, broker, consumer, app.
struct Line {
    what: String,
    /// Of each fault its own, so that no message of another one comes.
    topic: String,
    app: CountingApp,
    proxy: Proxy,
    resources: String,
    publisher: Sidecar,
    consumer: Sidecar,
}

impl Line {
    async fn to(broker: &Broker, fault: &str, pace: Pace) -> Self {
        let app = CountingApp::start().await;
        let proxy = Proxy::to(broker.server.address()).await;
        let component = (broker.component)(proxy.address(), pace);
        let topic = format!("orders.{}", fault.replace([',', ' '], "-"));
        let resources = format!("{component}\n---\n{}", subscription(&topic));
        let consumer = Sidecar::start(Some(app.address()), &resources).await;
        // What is published before somebody subscribed is nobody's.
        let publisher = Sidecar::start(None, &component).await;
        let line = Self {
            what: format!("{}, {fault}", broker.name),
            topic,
            app,
            proxy,
            resources,
            publisher,
            consumer,
        };
        line.is_joined().await;
        line
    }

    /// Waits until the first message arrives, which is none of those that count.
    async fn is_joined(&self) {
        let mut first = MESSAGES;
        eventually("the first message comes", async || {
            first += 1;
            self.publisher.publish(&self.topic, first).await;
            (self.app.count() > 0).then_some(())
        })
        .await;
    }

    /// Publishes messages, each again until it is accepted.
    async fn publish(&self, ids: Range<u64>) {
        for start in ids.clone().step_by(TOGETHER) {
            let end = ids.end.min(start + TOGETHER as u64);
            eventually("messages are accepted", async || {
                let accepted = self.publisher.publish_bulk(&self.topic, start..end).await;
                accepted.then_some(())
            })
            .await;
        }
    }

    /// Waits until the app has so many messages.
    async fn has(&self, count: u64) {
        let mut most = 0;
        loop {
            let came = eventually("more messages come", async || {
                let count = self.app.count() as u64;
                (count > most).then_some(count)
            })
            .await;
            if came >= count {
                return;
            }
            most = came;
        }
    }

    async fn has_all(&self) {
        self.app.has_all(&self.what, 0..MESSAGES).await;
    }
}

fn subscription(topic: &str) -> String {
    format!(
        "apiVersion: dapr.io/v2alpha1
kind: Subscription
metadata:
  name: orders
spec:
  pubsubname: pubsub
  topic: {topic}
  routes:
    default: /orders"
    )
}

/// The broker is stopped and started again, and killed twice: while nobody publishes and amid it.
pub(crate) async fn the_broker_is_killed(broker: &mut Broker) {
    let line = Line::to(broker, "broker killed", Pace::Parallel).await;
    // RabbitMQ that is killed may lose a queue which it declared a moment ago.
    broker.server.stop().await;
    broker.server.start_again().await;
    line.publish(0..3_000).await;
    broker.server.kill();
    broker.server.start_again().await;
    tokio::join!(line.publish(3_000..MESSAGES), async {
        line.has(4_000).await;
        broker.server.kill();
        broker.server.start_again().await;
    });
    line.has_all().await;
}

/// The network is cut amid publishing and heals, and is slow from then on.
pub(crate) async fn the_network_fails(broker: &Broker) {
    let line = Line::to(broker, "network cut and slow", Pace::Parallel).await;
    tokio::join!(line.publish(0..MESSAGES), async {
        line.has(2_000).await;
        line.proxy.turn(Weather::Cut);
        eventually("a message is refused", async || {
            let accepted = line.publisher.publish(&line.topic, MESSAGES).await;
            (!accepted).then_some(())
        })
        .await;
        line.proxy.turn(Weather::Fair);
        line.has(5_000).await;
        line.proxy.turn(Weather::Slow(16 << 10));
        line.has(8_000).await;
        line.proxy.turn(Weather::Fair);
    });
    line.has_all().await;
}

/// The app is slow, then down, and then answers one call in ten with 500.
pub(crate) async fn the_app_fails(broker: &Broker) {
    let line = Line::to(broker, "app slow, down and moody", Pace::Parallel).await;
    line.app.turn(Mood::Slow(Duration::from_millis(20)));
    line.publish(0..3_000).await;
    line.has(1_000).await;
    line.app.turn(Mood::Down);
    line.publish(3_000..MESSAGES).await;
    let before = line.app.asked();
    eventually("the app that is down is asked again", async || {
        (line.app.asked() > before + 200).then_some(())
    })
    .await;
    line.app.turn(Mood::Moody);
    line.has_all().await;
}

/// A sidecar is killed between delivery and acknowledgement; then one of two replicas is.
pub(crate) async fn sidecars_are_killed(broker: &Broker) {
    let mut line = Line::to(broker, "sidecars killed", Pace::Parallel).await;
    line.app.turn(Mood::Stuck);
    let before = line.app.asked();
    line.publish(0..3_000).await;
    eventually("messages are on their way", async || {
        (line.app.asked() > before).then_some(())
    })
    .await;
    line.consumer.kill();
    line.app.turn(Mood::Well);
    let second = Sidecar::start(Some(line.app.address()), &line.resources).await;
    line.consumer.start_again().await;
    let mut second = Some(second);
    tokio::join!(line.publish(3_000..MESSAGES), async {
        line.has(6_000).await;
        second.take();
    });
    line.has_all().await;
}

/// With one message at a time the order is kept, also where the app refuses some.
pub(crate) async fn the_order_is_kept(broker: &Broker) {
    let line = Line::to(broker, "one at a time, app moody", Pace::Single).await;
    line.app.turn(Mood::Moody);
    line.publish(0..MESSAGES).await;
    line.has_all().await;
    let order = line.app.order();
    let order: Vec<_> = order.into_iter().filter(|id| *id < MESSAGES).collect();
    let sorted = order.windows(2).all(|pair| pair[0] < pair[1]);
    assert!(sorted, "{}: messages came out of order", line.what);
}

/// A component with more fields than its first.
pub(crate) fn with_fields(mut component: String, fields: &[(&str, &str)]) -> String {
    for (name, value) in fields {
        component += &format!("\n  - name: {name}\n    value: \"{value}\"");
    }
    component
}
