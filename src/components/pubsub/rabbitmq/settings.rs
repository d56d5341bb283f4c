//! What the component says.

use std::collections::BTreeMap;
use std::time::Duration;

use lapin::ExchangeKind;
use lapin::types::AMQPValue;

use super::PERSISTENT;
use crate::base::truthy::is_truthy;
use crate::components::metadata::{Error, Reader};
use crate::components::rabbitmq::declarations::Lifetime;

/// How many messages are dealt with at once where nothing else is said. Dapr sets no limit.
const PARALLEL: u16 = 100;

/// Arguments of a queue by name.
pub(super) type Arguments = BTreeMap<&'static str, AMQPValue>;

#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) consumer_id: String,
    pub(super) exchange_kind: ExchangeKind,
    pub(super) lifetime: Lifetime,
    pub(super) has_dead_letters: bool,
    pub(super) requeues: bool,
    pub(super) settles_at_once: bool,
    pub(super) delivery_mode: u8,
    pub(super) concurrency: u16,
    pub(super) prefetch: u16,
    pub(super) ttl: Option<Duration>,
    max_len: Option<u32>,
    max_len_bytes: Option<u32>,
}

impl Settings {
    pub(super) fn read(reader: &mut Reader<'_>, app_id: &str) -> Result<Self, Error> {
        let consumer_id = reader.text(&["consumerID"])?.filter(|id| !id.is_empty());
        let durable = flag(reader.text(&["durable"])?);
        let auto_deleted = flag(reader.text(&["deletedWhenUnused"])?);
        let has_dead_letters = reader.truthy(&["enableDeadLetter"])?;
        let requeues = flag(reader.text(&["requeueInFailure"])?);
        // Always on: a publish is not accepted before the broker has it.
        reader.text(&["publisherConfirm"])?;
        let mode = reader.number(&["deliveryMode"], 0..=2)?;
        let mode = mode.and_then(|mode| u8::try_from(mode).ok());
        let (concurrency, prefetch) = concurrency(reader)?;
        let ttl = reader.number(&["ttlInSeconds"], 1..=u32::MAX)?;
        Ok(Self {
            consumer_id: consumer_id.unwrap_or(app_id).to_owned(),
            exchange_kind: exchange_kind(reader.text(&["exchangeKind"])?)?,
            lifetime: Lifetime {
                is_durable: durable.unwrap_or(true),
                is_auto_deleted: auto_deleted.unwrap_or(false),
                is_chosen: durable.is_some() || auto_deleted.is_some(),
            },
            has_dead_letters,
            requeues: requeues.unwrap_or(!has_dead_letters),
            settles_at_once: reader.truthy(&["autoAck"])?,
            delivery_mode: mode.unwrap_or(PERSISTENT),
            concurrency,
            prefetch,
            ttl: ttl.map(|seconds| Duration::from_secs(seconds.into())),
            max_len: reader.number(&["maxLen"], 0..=u32::MAX)?,
            max_len_bytes: reader.number(&["maxLenBytes"], 0..=u32::MAX)?,
        })
    }

    /// Whether messages that the app does not deal with are lost.
    pub(super) fn drops_failed(&self) -> bool {
        !self.requeues && !self.has_dead_letters
    }

    /// How long queues may get.
    pub(super) fn length_limits(&self) -> Arguments {
        let limits = [
            ("x-max-length", self.max_len),
            ("x-max-length-bytes", self.max_len_bytes),
        ];
        let given = limits.into_iter().filter_map(|(name, limit)| {
            let limit = limit.filter(|limit| *limit > 0)?;
            Some((name, AMQPValue::LongLongInt(limit.into())))
        });
        given.collect()
    }
}

fn flag(text: Option<&str>) -> Option<bool> {
    text.filter(|text| !text.is_empty()).map(is_truthy)
}

/// How many messages are dealt with at once, and how many the broker hands out.
fn concurrency(reader: &mut Reader<'_>) -> Result<(u16, u16), Error> {
    let prefetch = reader.number(&["prefetchCount"], 0..=u16::MAX.into())?;
    let prefetch = prefetch.and_then(|count| u16::try_from(count).ok());
    let prefetch = prefetch.filter(|count| *count > 0);
    match reader.text(&["concurrencyMode", "concurrency"])? {
        None | Some("" | "parallel") => {
            let count = prefetch.unwrap_or(PARALLEL);
            Ok((count, count))
        }
        // With more than one handed out, one that failed would come after its successors.
        Some("single") => Ok((1, prefetch.unwrap_or(1))),
        Some(_) => Err(Error::Invalid {
            name: "concurrencyMode",
            accepted: "\"parallel\" or \"single\"",
        }),
    }
}

fn exchange_kind(text: Option<&str>) -> Result<ExchangeKind, Error> {
    match text {
        None | Some("" | "fanout") => Ok(ExchangeKind::Fanout),
        Some("topic") => Ok(ExchangeKind::Topic),
        Some("direct") => Ok(ExchangeKind::Direct),
        Some(_) => Err(Error::Invalid {
            name: "exchangeKind",
            accepted: "\"fanout\", \"topic\" or \"direct\"",
        }),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::testing::contract;

    pub(in super::super) fn read(properties: &[(&str, &str)]) -> Result<Settings, String> {
        let component = contract::component("pubsub.rabbitmq", properties);
        let mut reader = Reader::new(&component).unwrap();
        Settings::read(&mut reader, "app").map_err(|error| error.to_string())
    }

    #[test]
    fn nothing_is_lost_where_nothing_is_said() {
        let settings = read(&[]).unwrap();
        assert_eq!(settings.consumer_id, "app");
        assert_eq!(settings.delivery_mode, PERSISTENT);
        assert!(settings.lifetime.is_durable && !settings.lifetime.is_auto_deleted);
        assert!(!settings.lifetime.is_chosen);
        assert!(settings.requeues && !settings.settles_at_once && !settings.drops_failed());
        assert_eq!((settings.concurrency, settings.prefetch), (100, 100));
        assert!(settings.length_limits().is_empty());
    }

    #[test]
    fn failed_messages_go_to_the_dead_letters_where_there_are_some() {
        assert!(!read(&[("enableDeadLetter", "true")]).unwrap().requeues);
        let both = [("enableDeadLetter", "true"), ("requeueInFailure", "true")];
        assert!(read(&both).unwrap().requeues);
        let dropped = read(&[("requeueInFailure", "false")]).unwrap();
        assert!(dropped.drops_failed());
    }

    #[test]
    fn one_at_a_time_is_one_in_hand() {
        for (properties, expected) in [
            (vec![("concurrencyMode", "single")], (1, 1)),
            (
                vec![("concurrencyMode", "single"), ("prefetchCount", "9")],
                (1, 9),
            ),
            (
                vec![("concurrency", "parallel"), ("prefetchCount", "9")],
                (9, 9),
            ),
            (vec![("prefetchCount", "0")], (100, 100)),
        ] {
            let settings = read(&properties).unwrap();
            let read = (settings.concurrency, settings.prefetch);
            assert_eq!(read, expected, "{properties:?}");
        }
    }

    #[test]
    fn says_what_is_accepted() {
        for (property, expected) in [
            (
                ("concurrencyMode", "many"),
                "the value of \"concurrencyMode\" is not \"parallel\" or \"single\"",
            ),
            (
                ("exchangeKind", "headers"),
                "the value of \"exchangeKind\" is not \"fanout\", \"topic\" or \"direct\"",
            ),
            (
                ("deliveryMode", "3"),
                "the value of \"deliveryMode\" is not a whole number from 0 to 2",
            ),
        ] {
            assert_eq!(read(&[property]).err().unwrap(), expected);
        }
    }
}
