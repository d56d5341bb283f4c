//! How streams are written and read, in the fields of Dapr 1.18.

use std::time::Duration;

use tracing::warn;

use crate::components::metadata::Reader;
use crate::components::{Error, ResolvedComponent};

/// The most messages that are held at once.
const MAX_DEPTH: u32 = 1_000_000;

/// What is thrown away when a message is added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trim {
    /// Nothing.
    Never,
    /// About what is over this length.
    Length(u32),
    /// About what is older.
    Age(Duration),
}

/// When messages are handed out again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Redelivery {
    /// `processingTimeout`: after it a message that nobody settled is somebody else's.
    pub(super) timeout: Duration,
    /// `redeliverInterval`: how long one waits that failed, and how often others are looked for.
    pub(super) interval: Duration,
}

impl Redelivery {
    /// How idle a message has to look that failed now, so that it is claimed after the interval.
    pub(super) fn idle_of_failed(&self) -> Duration {
        self.timeout.saturating_sub(self.interval)
    }
}

/// How streams are written and read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StreamSettings {
    /// The name of the group.
    pub(super) group: String,
    /// The most messages that are held: waiting here, with the app, or failed a moment ago.
    pub(super) depth: usize,
    /// The most messages that the app deals with at once.
    pub(super) concurrency: usize,
    /// `None` where failed messages stay with the group until the next start.
    pub(super) redelivery: Option<Redelivery>,
    pub(super) trim: Trim,
}

impl StreamSettings {
    pub(super) fn read(
        component: &ResolvedComponent,
        reader: &mut Reader<'_>,
        app_id: &str,
    ) -> Result<Self, Error> {
        let group = reader.text(&["consumerID"])?.filter(|id| !id.is_empty());
        let timeout = reader.duration_or_millis(&["processingTimeout"])?;
        let interval = reader.duration_or_millis(&["redeliverInterval"])?;
        let timeout = timeout.unwrap_or(Duration::from_secs(60));
        let interval = interval.unwrap_or(Duration::from_secs(15));
        let is_off = timeout.is_zero() || interval.is_zero();
        if is_off {
            warn!(
                component = component.name,
                "Redelivery is off: a message that fails stays with its consumer group until this \
                 sidecar subscribes again"
            );
        }
        let count = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
        let depth = reader.number(&["queueDepth"], 0..=MAX_DEPTH)?;
        let concurrency = reader.number(&["concurrency"], 0..=MAX_DEPTH)?;
        Ok(Self {
            group: group.unwrap_or(app_id).to_owned(),
            depth: depth.filter(|depth| *depth > 0).map_or(100, count),
            concurrency: concurrency.filter(|most| *most > 0).map_or(10, count),
            redelivery: (!is_off).then_some(Redelivery { timeout, interval }),
            trim: trim(reader)?,
        })
    }

    /// Whether messages keep their order also where one fails.
    pub(super) fn is_ordered(&self) -> bool {
        self.concurrency == 1
    }
}

fn trim(reader: &mut Reader<'_>) -> Result<Trim, Error> {
    let length = reader.number(&["maxLenApprox"], 0..=u32::MAX)?;
    let age = reader.duration_or_millis(&["streamTTL"])?;
    match (
        length.filter(|length| *length > 0),
        age.filter(|age| !age.is_zero()),
    ) {
        (Some(_), Some(_)) => Err(Error::Init(
            "\"maxLenApprox\" and \"streamTTL\" exclude each other; give one of them".to_owned(),
        )),
        (Some(length), None) => Ok(Trim::Length(length)),
        (None, Some(age)) => Ok(Trim::Age(age)),
        (None, None) => Ok(Trim::Never),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::contract;

    fn read(properties: &[(&str, &str)]) -> Result<StreamSettings, String> {
        let component = contract::component("pubsub.redis", properties);
        let mut reader = Reader::new(&component).unwrap();
        let settings = StreamSettings::read(&component, &mut reader, "app");
        settings.map_err(|error| error.to_string())
    }

    #[test]
    fn has_the_defaults_of_dapr() {
        let expected = StreamSettings {
            group: "app".to_owned(),
            depth: 100,
            concurrency: 10,
            redelivery: Some(Redelivery {
                timeout: Duration::from_secs(60),
                interval: Duration::from_secs(15),
            }),
            trim: Trim::Never,
        };
        assert_eq!(read(&[]), Ok(expected.clone()));
        let zeros = [
            ("queueDepth", "0"),
            ("concurrency", "0"),
            ("maxLenApprox", "0"),
        ];
        assert_eq!(read(&zeros), Ok(expected));
    }

    #[test]
    fn takes_durations_in_both_forms_and_zero_for_none() {
        let redelivery = |timeout, interval| {
            let given = [
                ("processingTimeout", timeout),
                ("redeliverInterval", interval),
            ];
            read(&given).unwrap().redelivery
        };
        let found = redelivery("2s", "500").unwrap();
        assert_eq!(found.idle_of_failed(), Duration::from_millis(1500));
        assert_eq!(
            redelivery("1s", "10s").unwrap().idle_of_failed(),
            Duration::ZERO
        );
        assert_eq!(redelivery("0", "10s"), None);
        assert_eq!(redelivery("60s", "0"), None);
    }

    #[test]
    fn denies_two_ways_to_trim() {
        let trim = |properties: &[(&str, &str)]| read(properties).map(|settings| settings.trim);
        let age = Duration::from_secs(3600);
        assert_eq!(trim(&[("streamTTL", "1h")]), Ok(Trim::Age(age)));
        assert_eq!(trim(&[("maxLenApprox", "7")]), Ok(Trim::Length(7)));
        let error = trim(&[("streamTTL", "1h"), ("maxLenApprox", "7")]).unwrap_err();
        assert!(error.contains("exclude each other"), "{error}");
    }
}
