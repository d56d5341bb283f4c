//! What the component says.

use std::time::Duration;

use async_nats::datetime::{self, DateTime};
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use ring::digest::{SHA256, digest};
use tracing::warn;

use crate::base::duration::parse_go_duration;
use crate::components::metadata::{Error, Reader};

/// How many messages are dealt with at once, where they are not dealt with one by one. Dapr sets
/// no limit.
const PARALLEL: usize = 100;
/// How many messages are in hand, where they are dealt with one by one.
const SINGLE_WINDOW: usize = 10;
/// After how long without a word the server gives a message to somebody else: the server's own
/// value.
const ACK_WAIT: Duration = Duration::from_secs(30);
/// The least of it that leaves time to tell the server that a message is being dealt with.
const LEAST_ACK_WAIT: Duration = Duration::from_millis(100);

#[derive(Clone, Debug)]
pub(super) struct Settings {
    /// What the names of consumers begin with.
    pub(super) consumer: String,
    pub(super) stream: Option<String>,
    pub(super) concurrency: usize,
    pub(super) settles_at_once: bool,
    pub(super) ack_wait: Duration,
    pub(super) back_off: Vec<Duration>,
    deliver_policy: DeliverPolicy,
    max_deliver: Option<u32>,
    max_ack_pending: Option<u32>,
    replicas: Option<u32>,
    is_in_memory: bool,
}

impl Settings {
    pub(super) fn read(reader: &mut Reader<'_>, app_id: &str) -> Result<Self, Error> {
        let mut given = |names| -> Result<Option<String>, Error> {
            let text = reader.text(names)?.filter(|text| !text.is_empty());
            Ok(text.map(str::to_owned))
        };
        let (durable, group) = (given(&["durableName"])?, given(&["queueGroupName"])?);
        let consumer = durable.or(group).or(given(&["consumerID"])?);
        let stream = given(&["streamName"])?;
        // They belong to consumers that the server pushes messages to.
        for name in ["flowControl", "heartbeat", "rateLimit"] {
            if reader.text(&[name])?.is_some() {
                warn!(name, "Ignored: messages are asked for, and never pushed");
            }
        }
        let ack_wait = reader
            .duration(&["ackWait"])?
            .filter(|wait| !wait.is_zero());
        Ok(Self {
            consumer: consumer.unwrap_or_else(|| app_id.to_owned()),
            stream,
            concurrency: concurrency(reader.text(&["concurrencyMode", "concurrency"])?)?,
            settles_at_once: settles_at_once(reader.text(&["ackPolicy"])?)?,
            ack_wait: ack_wait.unwrap_or(ACK_WAIT).max(LEAST_ACK_WAIT),
            back_off: back_off(reader.text(&["backOff"])?)?,
            deliver_policy: deliver_policy(reader)?,
            max_deliver: reader.number(&["maxDeliver"], 1..=u32::MAX)?,
            max_ack_pending: reader.number(&["maxAckPending"], 1..=u32::MAX)?,
            replicas: reader.number(&["replicas"], 0..=5)?,
            is_in_memory: reader.truthy(&["memoryStorage"])?,
        })
    }

    /// How many messages of a subscription are in hand at most.
    pub(super) fn window(&self) -> usize {
        let window = match self.concurrency {
            1 => SINGLE_WINDOW,
            many => many,
        };
        let most = self.max_ack_pending.map_or(usize::MAX, |most| {
            usize::try_from(most).unwrap_or(usize::MAX)
        });
        window.min(most)
    }

    /// The consumer of a topic.
    pub(super) fn consumer(&self, topic: &str) -> pull::Config {
        pull::Config {
            durable_name: Some(consumer_name(&self.consumer, topic)),
            deliver_policy: self.deliver_policy,
            ack_policy: AckPolicy::Explicit,
            ack_wait: self.ack_wait,
            max_deliver: self.max_deliver.map_or(-1, i64::from),
            filter_subject: topic.to_owned(),
            max_ack_pending: self.max_ack_pending.map_or(0, i64::from),
            num_replicas: usize::try_from(self.replicas.unwrap_or(0)).unwrap_or_default(),
            memory_storage: self.is_in_memory,
            ..pull::Config::default()
        }
    }
}

/// A name of what is allowed in names of consumers. Where that loses something, a digest keeps
/// topics apart.
fn consumer_name(consumer: &str, topic: &str) -> String {
    let whole = format!("{consumer}-{topic}");
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if whole.chars().all(is_plain) {
        return whole;
    }
    let plain: String = whole
        .chars()
        .map(|c| if is_plain(c) { c } else { '_' })
        .collect();
    let digest = digest(&SHA256, whole.as_bytes());
    let digest: String = digest.as_ref()[..4]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("{plain}-{digest}")
}

fn concurrency(text: Option<&str>) -> Result<usize, Error> {
    match text {
        // As in Dapr 1.18.
        None | Some("" | "single") => Ok(1),
        Some("parallel") => Ok(PARALLEL),
        Some(_) => Err(Error::Invalid {
            name: "concurrency",
            accepted: "\"single\" or \"parallel\"",
        }),
    }
}

fn settles_at_once(text: Option<&str>) -> Result<bool, Error> {
    match text {
        None | Some("" | "explicit") => Ok(false),
        Some("none") => Ok(true),
        // It would settle messages that others are still dealing with.
        Some("all") => {
            warn!("ackPolicy \"all\" settles each message by itself, as \"explicit\" does");
            Ok(false)
        }
        Some(_) => Err(Error::Invalid {
            name: "ackPolicy",
            accepted: "\"explicit\", \"all\" or \"none\"",
        }),
    }
}

fn back_off(text: Option<&str>) -> Result<Vec<Duration>, Error> {
    let pauses = text.unwrap_or_default().split(',').map(str::trim);
    let pauses = pauses.filter(|pause| !pause.is_empty());
    let pauses = pauses.map(parse_go_duration).collect::<Result<_, _>>();
    pauses.map_err(|_| Error::Invalid {
        name: "backOff",
        accepted: "durations with commas, such as \"100ms, 2s, 1m\"",
    })
}

fn deliver_policy(reader: &mut Reader<'_>) -> Result<DeliverPolicy, Error> {
    let start_sequence = reader.number(&["startSequence"], 1..=u32::MAX)?;
    let start_time = reader.number(&["startTime"], 0..=u32::MAX)?;
    Ok(match reader.text(&["deliverPolicy"])? {
        None | Some("" | "all") => DeliverPolicy::All,
        Some("last") => DeliverPolicy::Last,
        Some("new") => DeliverPolicy::New,
        Some("sequence") => DeliverPolicy::ByStartSequence {
            start_sequence: start_sequence
                .ok_or(Error::Missing(
                    "deliverPolicy \"sequence\" needs \"startSequence\"",
                ))?
                .into(),
        },
        Some("time") => {
            let seconds =
                start_time.ok_or(Error::Missing("deliverPolicy \"time\" needs \"startTime\""))?;
            DeliverPolicy::ByStartTime {
                start_time: from_unix(seconds)?,
            }
        }
        Some(_) => {
            return Err(Error::Invalid {
                name: "deliverPolicy",
                accepted: "\"all\", \"last\", \"new\", \"sequence\" or \"time\"",
            });
        }
    })
}

fn from_unix(seconds: u32) -> Result<DateTime, Error> {
    let start_time = datetime::from_nanos(i128::from(seconds) * 1_000_000_000);
    start_time.map_err(|_| Error::Invalid {
        name: "startTime",
        accepted: "a time in seconds since 1970",
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::contract;

    fn read(properties: &[(&str, &str)]) -> Result<Settings, String> {
        let component = contract::component("pubsub.jetstream", properties);
        let mut reader = Reader::new(&component).unwrap();
        Settings::read(&mut reader, "app").map_err(|error| error.to_string())
    }

    #[test]
    fn consumers_last_and_are_one_a_topic() {
        let config = read(&[]).unwrap().consumer("orders");
        assert_eq!(config.durable_name.as_deref(), Some("app-orders"));
        assert_eq!(config.filter_subject, "orders");
        assert_eq!((config.max_deliver, config.ack_wait), (-1, ACK_WAIT));
        let named = read(&[("durableName", "d"), ("queueGroupName", "g")]).unwrap();
        assert_eq!(named.consumer, "d");
        assert_eq!(read(&[("queueGroupName", "g")]).unwrap().consumer, "g");
        assert_ne!(consumer_name("a", "b.c"), consumer_name("a", "b_c"));
        let name = consumer_name("a", "b.>");
        assert!(name.starts_with("a-b__-") && name.len() == 14, "{name}");
    }

    #[test]
    fn room_is_what_the_server_grants() {
        for (properties, expected) in [
            (vec![], (1, SINGLE_WINDOW)),
            (vec![("maxAckPending", "1")], (1, 1)),
            (vec![("concurrency", "parallel")], (PARALLEL, PARALLEL)),
            (
                vec![("concurrencyMode", "parallel"), ("maxAckPending", "7")],
                (PARALLEL, 7),
            ),
        ] {
            let settings = read(&properties).unwrap();
            let read = (settings.concurrency, settings.window());
            assert_eq!(read, expected, "{properties:?}");
        }
    }

    #[test]
    fn reads_policies_and_pauses() {
        let settings = read(&[
            ("deliverPolicy", "sequence"),
            ("startSequence", "7"),
            ("backOff", "100ms, 2s"),
            ("ackPolicy", "none"),
            ("ackWait", "5s"),
        ])
        .unwrap();
        let expected = DeliverPolicy::ByStartSequence { start_sequence: 7 };
        assert_eq!(settings.deliver_policy, expected);
        let pauses = [Duration::from_millis(100), Duration::from_secs(2)];
        assert_eq!(settings.back_off, pauses);
        assert!(settings.settles_at_once);
        assert_eq!(settings.ack_wait, Duration::from_secs(5));
        for (property, expected) in [
            (
                ("deliverPolicy", "time"),
                "deliverPolicy \"time\" needs \"startTime\"",
            ),
            (
                ("backOff", "soon"),
                "the value of \"backOff\" is not durations with commas, such as \"100ms, 2s, 1m\"",
            ),
            (
                ("concurrency", "both"),
                "the value of \"concurrency\" is not \"single\" or \"parallel\"",
            ),
        ] {
            assert_eq!(read(&[property]).err().unwrap(), expected);
        }
    }
}
