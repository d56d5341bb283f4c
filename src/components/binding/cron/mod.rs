//! `bindings.cron`: an event at each time of a schedule.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use jiff::{Timestamp, Zoned};
use tokio::time::sleep;

use super::InputBinding;
use crate::components::message::{Acknowledge, Delivery, Intake, Metadata, Settlement};
use crate::components::metadata::Reader;
use crate::components::{BackendError, Error};
use schedule::Schedule;

mod schedule;

/// The longest sleep before the clock is looked at again, which somebody may have set.
const STRIDE: Duration = Duration::from_secs(30);

/// The binding.
#[derive(Clone, Debug)]
pub(in crate::components) struct Cron(Schedule);

impl Cron {
    /// Reads `schedule`.
    pub(in crate::components) fn start(reader: &mut Reader<'_>) -> Result<Self, Error> {
        let text = reader.required(&["schedule"], "schedule not set")?;
        match Schedule::parse(text) {
            Ok(schedule) => Ok(Self(schedule)),
            // A schedule is no secret.
            Err(problem) => Err(Error::Init(format!(
                "invalid schedule format '{text}': {problem}"
            ))),
        }
    }
}

#[async_trait]
impl InputBinding for Cron {
    async fn read(&self) -> Result<Box<dyn Intake>, BackendError> {
        let schedule = self.0.clone();
        Ok(Box::new(Ticks {
            last: schedule.now(),
            schedule,
        }))
    }
}

/// The times of a schedule as they come.
struct Ticks {
    schedule: Schedule,
    /// The time of the event before, or the beginning.
    last: Zoned,
}

impl Ticks {
    /// When the next event is due. Times that are over are left out.
    fn due(&self, now: &Zoned) -> Option<Zoned> {
        let due = self.schedule.after((&self.last).min(now))?;
        if due < *now {
            self.schedule.after(now)
        } else {
            Some(due)
        }
    }
}

#[async_trait]
impl Intake for Ticks {
    async fn next(&mut self) -> Result<Delivery, BackendError> {
        let Some(due) = self.due(&self.schedule.now()) else {
            return std::future::pending().await;
        };
        while let Some(left) = left(due.timestamp()) {
            sleep(left.min(STRIDE)).await;
        }
        self.last = due;
        Ok(Delivery {
            topic: String::new(),
            data: Bytes::new(),
            content_type: None,
            metadata: Metadata::from([
                ("readTimeUTC".to_owned(), read_time(Timestamp::now())),
                ("timeZone".to_owned(), self.schedule.zone().to_owned()),
            ]),
            acknowledge: Box::new(Past),
        })
    }

    /// While the app is busy with one, the others are left out: they would only pile up.
    fn concurrency(&self) -> usize {
        1
    }
}

/// The time until then, where it is not over.
fn left(due: Timestamp) -> Option<Duration> {
    let left = due.duration_since(Timestamp::now());
    let left = Duration::try_from(left).ok()?;
    (!left.is_zero()).then_some(left)
}

/// A time in the form of Go's `Time.String`, as Dapr tells it.
fn read_time(now: Timestamp) -> String {
    now.strftime("%Y-%m-%d %H:%M:%S%.f +0000 UTC").to_string()
}

/// A time that is over does not come again, whatever the app made of it.
struct Past;

#[async_trait]
impl Acknowledge for Past {
    async fn settle(self: Box<Self>, _: Settlement) -> Result<(), BackendError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::components::{ResolvedComponent, ResolvedProperty};

    fn start(settings: &[(&str, &str)]) -> Result<Cron, String> {
        let property = |(name, value): &(&str, &str)| ResolvedProperty {
            name: (*name).to_owned(),
            value: crate::base::secret::Secret::new(*value),
            secret_name: None,
        };
        let component = ResolvedComponent {
            name: "c".to_owned(),
            component_type: "bindings.cron".to_owned(),
            version: "v1".to_owned(),
            properties: settings.iter().map(property).collect(),
        };
        let mut reader = Reader::new(&component).unwrap();
        Cron::start(&mut reader).map_err(|error| error.to_string())
    }

    #[test]
    fn needs_a_schedule() {
        assert!(start(&[("Schedule", "@every 1s")]).is_ok());
        assert_eq!(start(&[]).unwrap_err(), "schedule not set");
        let error = start(&[("schedule", "soon")]).unwrap_err();
        assert!(
            error.starts_with("invalid schedule format 'soon': "),
            "{error}"
        );
    }

    #[test]
    fn times_that_are_over_are_left_out() {
        let at = |text: &str| text.parse::<Zoned>().unwrap();
        let ticks = Ticks {
            schedule: Schedule::parse("TZ=UTC */10 * * * * *").unwrap(),
            last: at("2026-11-22T00:00:10+00:00[UTC]"),
        };
        for (now, due) in [
            ("2026-11-22T00:00:10.5", "2026-11-22T00:00:20"),
            ("2026-11-22T00:00:19.9", "2026-11-22T00:00:20"),
            ("2026-11-22T00:00:20", "2026-11-22T00:00:20"),
            // The app was busy with the one before.
            ("2026-11-22T00:00:47", "2026-11-22T00:00:50"),
            // Somebody set the clock back.
            ("2026-11-21T00:00:03", "2026-11-21T00:00:10"),
        ] {
            let [now, due] = [now, due].map(|text| at(&format!("{text}+00:00[UTC]")));
            assert_eq!(ticks.due(&now), Some(due), "{now}");
        }
    }

    #[test]
    fn tells_the_time_as_go_does() {
        for (time, told) in [
            (
                "2026-11-22T00:37:11.690Z",
                "2026-11-22 00:37:11.69 +0000 UTC",
            ),
            ("2026-11-22T00:37:11Z", "2026-11-22 00:37:11 +0000 UTC"),
        ] {
            assert_eq!(read_time(time.parse().unwrap()), told);
        }
    }

    #[tokio::test]
    async fn an_event_has_no_data() {
        let cron = start(&[("schedule", "@every 1s")]).unwrap();
        let mut intake = cron.read().await.unwrap();
        let delivery = intake.next().await.unwrap();
        assert!(delivery.data.is_empty());
        assert_eq!(delivery.metadata["timeZone"], "Local");
        assert!(delivery.metadata["readTimeUTC"].ends_with(" +0000 UTC"));
    }
}
