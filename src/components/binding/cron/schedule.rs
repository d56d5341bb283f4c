//! When something happens: the schedules of `bindings.cron` (Dapr 1.18).

use std::time::Duration;

use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

use crate::base::duration::parse_go_duration;

/// The prefixes that name a time zone.
const ZONE_PREFIXES: [&str; 2] = ["CRON_TZ=", "TZ="];
/// What stands before the time between two events.
const EVERY: &str = "@every ";
/// How Dapr calls the time zone where none is named.
const LOCAL: &str = "Local";
/// The shortest time between two events.
const SHORTEST: Duration = Duration::from_secs(1);
/// The longest.
const LONGEST: Duration = Duration::from_secs(100 * 366 * 24 * 60 * 60);

/// Words for patterns of six fields.
const WORDS: [(&str, &str); 7] = [
    ("@yearly", "0 0 0 1 1 *"),
    ("@annually", "0 0 0 1 1 *"),
    ("@monthly", "0 0 0 1 * *"),
    ("@weekly", "0 0 0 * * 0"),
    ("@daily", "0 0 0 * * *"),
    ("@midnight", "0 0 0 * * *"),
    ("@hourly", "0 0 * * * *"),
];

/// A schedule in a time zone.
#[derive(Clone, Debug)]
pub(super) struct Schedule {
    times: Times,
    zone: TimeZone,
    zone_name: String,
}

#[derive(Clone, Debug)]
enum Times {
    Pattern(Box<Cron>),
    Every(Duration),
}

impl Schedule {
    /// Reads a schedule: five fields (minute, hour, day of the month, month, day of the week), or
    /// six with the second before them; a word such as `@hourly`; `@every` with a duration. A time
    /// zone may stand before it (`CRON_TZ=Europe/Berlin`), otherwise it is that of the machine.
    ///
    /// # Errors
    ///
    /// What is wrong, and what is accepted.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let prefix = ZONE_PREFIXES.iter().find_map(|one| text.strip_prefix(one));
        let (zone, zone_name, text) = match prefix {
            None => (TimeZone::system(), LOCAL, text),
            Some(rest) => {
                let (name, rest) = rest.split_once(' ').unwrap_or((rest, ""));
                let zone = TimeZone::get(name);
                let zone = zone.map_err(|_| format!("there is no time zone {name:?}"))?;
                (zone, name, rest.trim())
            }
        };
        let schedule = Self {
            times: Times::parse(text)?,
            zone,
            zone_name: zone_name.to_owned(),
        };
        match schedule.after(&schedule.now()) {
            Some(_) => Ok(schedule),
            None => Err("no time ever fits it".to_owned()),
        }
    }

    /// The name of its time zone, as events tell it.
    pub(super) fn zone(&self) -> &str {
        &self.zone_name
    }

    /// This moment in its time zone.
    pub(super) fn now(&self) -> Zoned {
        Timestamp::now().to_zoned(self.zone.clone())
    }

    /// The first time after `then`; `None` where there is none.
    pub(super) fn after(&self, then: &Zoned) -> Option<Zoned> {
        match &self.times {
            Times::Pattern(pattern) => pattern.find_next_occurrence(then, false).ok(),
            Times::Every(period) => {
                let next = then.timestamp().checked_add(*period).ok()?;
                let whole = Timestamp::from_second(next.as_second()).ok()?;
                Some(whole.to_zoned(self.zone.clone()))
            }
        }
    }
}

impl Times {
    fn parse(text: &str) -> Result<Self, String> {
        if let Some(period) = text.strip_prefix(EVERY) {
            let period = parse_go_duration(period.trim()).map_err(|error| error.to_string())?;
            if period > LONGEST {
                return Err("the time between two events is above 100 years".to_owned());
            }
            // Whole seconds, and at least one, as in Dapr.
            let whole = Duration::from_secs(period.as_secs());
            return Ok(Self::Every(whole.max(SHORTEST)));
        }
        let pattern = match WORDS.iter().find(|(word, _)| *word == text) {
            Some((_, pattern)) => pattern,
            None if text.starts_with('@') => {
                let words = WORDS.map(|(word, _)| word).join(", ");
                return Err(format!(
                    "accepted words are {words}, and \"@every\" with a duration"
                ));
            }
            None => text,
        };
        if !matches!(pattern.split_whitespace().count(), 5 | 6) {
            return Err(
                "accepted are five fields (minute, hour, day of the month, month, day of the \
                 week), six with the second before them, \"@every\" with a duration, and words \
                 such as \"@hourly\""
                    .to_owned(),
            );
        }
        let parser = CronParser::builder()
            .seconds(Seconds::Optional)
            .year(Year::Disallowed)
            .sloppy_ranges(true)
            .build();
        let pattern = parser.parse(pattern).map_err(|error| error.to_string())?;
        Ok(Self::Pattern(Box::new(pattern)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(schedule: &str, then: &str) -> String {
        let schedule = Schedule::parse(schedule).unwrap_or_else(|e| panic!("{schedule}: {e}"));
        let then: Timestamp = then.parse().unwrap();
        let then = then.to_zoned(schedule.zone.clone());
        schedule.after(&then).unwrap().timestamp().to_string()
    }

    #[test]
    fn finds_the_next_time() {
        let then = "2026-11-22T00:37:11.69Z"; // A Sunday.
        for (schedule, expected) in [
            ("TZ=UTC 30 * * * * *", "2026-11-22T00:37:30Z"),
            ("TZ=UTC 0 */15 * * * *", "2026-11-22T00:45:00Z"),
            ("TZ=UTC 45 0 * * *", "2026-11-22T00:45:00Z"),
            ("TZ=UTC 0 30 3-6,20-23 * * *", "2026-11-22T03:30:00Z"),
            ("TZ=UTC 0 0 9 ? * MON-FRI", "2026-11-23T09:00:00Z"),
            ("TZ=UTC 5/20 * * * *", "2026-11-22T00:45:00Z"),
            ("TZ=UTC @yearly", "2027-01-01T00:00:00Z"),
            ("TZ=UTC @annually", "2027-01-01T00:00:00Z"),
            ("TZ=UTC @monthly", "2026-12-01T00:00:00Z"),
            ("TZ=UTC @weekly", "2026-11-29T00:00:00Z"),
            ("TZ=UTC @daily", "2026-11-23T00:00:00Z"),
            ("TZ=UTC @midnight", "2026-11-23T00:00:00Z"),
            ("TZ=UTC @hourly", "2026-11-22T01:00:00Z"),
            (
                "CRON_TZ=America/New_York 0 30 04 * * *",
                "2026-11-22T09:30:00Z",
            ),
            ("TZ=Asia/Kolkata @daily", "2026-11-22T18:30:00Z"),
            ("@every 1h30m", "2026-11-22T02:07:11Z"),
            ("@every 1s", "2026-11-22T00:37:12Z"),
            ("@every 1ms", "2026-11-22T00:37:12Z"),
            ("@every 2.9s", "2026-11-22T00:37:13Z"),
        ] {
            assert_eq!(next(schedule, then), expected, "{schedule}");
        }
    }

    #[test]
    fn an_hour_that_is_left_out_moves_no_other_day() {
        // Clocks go from 02:00 to 03:00 on 2026-03-29 in Berlin.
        let schedule = "TZ=Europe/Berlin 0 0 4 * * *";
        assert_eq!(
            next(schedule, "2026-03-28T12:00:00Z"),
            "2026-03-29T02:00:00Z"
        );
        assert_eq!(
            next(schedule, "2026-03-27T12:00:00Z"),
            "2026-03-28T03:00:00Z"
        );
    }

    #[test]
    fn says_what_is_wrong() {
        for (schedule, expected) in [
            ("", "accepted are five fields"),
            ("* * * *", "accepted are five fields"),
            ("* * * * * * 2027", "accepted are five fields"),
            ("@never", "accepted words are @yearly, @annually"),
            ("@every soon", "\"soon\" is not a duration"),
            ("@every 2000000h", "above 100 years"),
            ("TZ=Nowhere/None @daily", "no time zone \"Nowhere/None\""),
            ("TZ=UTC", "accepted are five fields"),
            ("0 0 30 2 *", "no time ever fits it"),
        ] {
            let error = Schedule::parse(schedule).unwrap_err();
            assert!(error.contains(expected), "{schedule}: {error}");
        }
        for schedule in ["61 * * * *", "a b c d e", "* * * * * 9", "*/0 * * * *"] {
            assert!(Schedule::parse(schedule).is_err(), "{schedule}");
        }
    }
}
