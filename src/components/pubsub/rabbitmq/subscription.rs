//! What a subscription says.

use lapin::types::AMQPValue;

use super::Interest;
use super::settings::{Arguments, Settings};
use crate::base::truthy::is_truthy;
use crate::components::BackendError;
use crate::components::rabbitmq::properties::property;

#[derive(Debug)]
pub(super) struct Subscription {
    pub(super) queue: String,
    pub(super) routing_keys: Vec<String>,
    pub(super) arguments: Arguments,
}

impl Subscription {
    pub(super) fn read(interest: &Interest, settings: &Settings) -> Result<Self, BackendError> {
        let said = |name| property(&interest.metadata, name);
        let mut arguments = settings.length_limits();
        let queue_type = match said("queueType") {
            None | Some("classic") => "classic",
            Some("quorum") => "quorum",
            Some(_) => return Err(refused("queueType", "\"classic\" or \"quorum\"")),
        };
        arguments.insert("x-queue-type", AMQPValue::LongString(queue_type.into()));
        if let Some(text) = said("maxPriority") {
            let most: u32 = number("maxPriority", text)?;
            let most = u8::try_from(most).unwrap_or(u8::MAX);
            arguments.insert("x-max-priority", AMQPValue::ShortShortUInt(most));
        }
        if said("singleActiveConsumer").is_some_and(is_truthy) {
            arguments.insert("x-single-active-consumer", AMQPValue::Boolean(true));
        }
        for (name, argument) in [
            ("maxLen", "x-max-length"),
            ("maxLenBytes", "x-max-length-bytes"),
        ] {
            if let Some(text) = said(name) {
                let limit = number(name, text)?;
                arguments.insert(argument, AMQPValue::LongLongInt(limit.into()));
            }
        }
        let keys = said("routingKey").unwrap_or_default().split(',');
        let default = || format!("{}-{}", settings.consumer_id, interest.topic);
        Ok(Self {
            queue: said("queueName").map_or_else(default, str::to_owned),
            routing_keys: keys.map(|key| key.trim().to_owned()).collect(),
            arguments,
        })
    }
}

fn number(name: &str, text: &str) -> Result<u32, BackendError> {
    let number = text.parse();
    number.map_err(|_| refused(name, "a whole number from 0 to 4294967295"))
}

fn refused(name: &str, accepted: &str) -> BackendError {
    BackendError::Refused(format!(
        "{name:?} in the metadata of the subscription is not {accepted}"
    ))
}

#[cfg(test)]
mod tests {
    use super::super::settings::tests::read as settings;
    use super::*;

    fn read(metadata: &[(&str, &str)]) -> Result<Subscription, BackendError> {
        let settings = settings(&[("maxLen", "10"), ("consumerID", "c")]).unwrap();
        let metadata = metadata.iter();
        let interest = Interest {
            topic: "t".to_owned(),
            metadata: metadata
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
        };
        Subscription::read(&interest, &settings)
    }

    #[test]
    fn lays_queues_out_as_dapr_does() {
        let plain = read(&[]).unwrap();
        assert_eq!(
            (&*plain.queue, plain.routing_keys),
            ("c-t", vec![String::new()])
        );
        let names: Vec<_> = plain.arguments.keys().copied().collect();
        assert_eq!(names, ["x-max-length", "x-queue-type"]);

        let rich = read(&[
            ("queueName", "q"),
            ("queueType", "quorum"),
            ("routingKey", "a, b"),
            ("maxPriority", "300"),
            ("singleActiveConsumer", "true"),
            ("maxLen", "5"),
        ])
        .unwrap();
        assert_eq!(rich.queue, "q");
        assert_eq!(rich.routing_keys, ["a", "b"]);
        let argument = |name| rich.arguments.get(name).cloned();
        assert_eq!(argument("x-max-length"), Some(AMQPValue::LongLongInt(5)));
        assert_eq!(
            argument("x-max-priority"),
            Some(AMQPValue::ShortShortUInt(255))
        );
        assert_eq!(
            argument("x-queue-type"),
            Some(AMQPValue::LongString("quorum".into()))
        );
    }

    #[test]
    fn refuses_what_it_cannot_do() {
        for (name, value) in [
            ("queueType", "stream"),
            ("maxPriority", "high"),
            ("maxLen", "-1"),
        ] {
            let refused = read(&[(name, value)]);
            assert!(matches!(refused, Err(BackendError::Refused(_))), "{name}");
        }
    }
}
