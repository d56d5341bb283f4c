//! What the metadata of a message asks of the sidecar itself.

use std::time::Duration;

use crate::blocks::request_metadata::value;
use crate::components::message::Metadata;

/// The key of the time after which nobody wants a message, in seconds.
const TTL: &str = "ttlInSeconds";
/// The key that says that a message gets no envelope.
const RAW: &str = "rawPayload";
/// The longest time to live, in seconds: about 292 years, what Go's durations hold.
const MAX_TTL: u64 = 9_223_372_036;

/// What is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Options {
    /// How long the message is worth something.
    pub(super) ttl: Option<Duration>,
    /// Whether it gets no envelope.
    pub(super) is_raw: bool,
}

/// A value that cannot be read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("failed deserializing metadata: {key} is {value:?}; accepted {accepted}")]
pub(super) struct BadOption {
    key: &'static str,
    value: String,
    accepted: String,
}

impl Options {
    /// Reads both keys, in any case of their letters. An empty value is none.
    pub(super) fn read(metadata: &Metadata) -> Result<Self, BadOption> {
        let ttl = value(metadata, TTL).map(|text| {
            let seconds = text.parse().ok();
            let seconds = seconds.filter(|seconds| (1..=MAX_TTL).contains(seconds));
            seconds.map(Duration::from_secs).ok_or_else(|| BadOption {
                key: TTL,
                value: text.to_owned(),
                accepted: format!("are whole numbers from 1 to {MAX_TTL}"),
            })
        });
        let is_raw = value(metadata, RAW).map(|text| {
            truth(text).ok_or_else(|| BadOption {
                key: RAW,
                value: text.to_owned(),
                accepted: "are true and false".to_owned(),
            })
        });
        Ok(Self {
            ttl: ttl.transpose()?,
            is_raw: is_raw.transpose()?.unwrap_or_default(),
        })
    }
}

/// A truth value in one of Go's spellings (`strconv.ParseBool`).
fn truth(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "True" | "TRUE" => Some(true),
        "0" | "f" | "F" | "false" | "False" | "FALSE" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(key: &str, value: &str) -> Result<Options, String> {
        let metadata = [(key.to_owned(), value.to_owned())].into();
        Options::read(&metadata).map_err(|error| error.to_string())
    }

    #[test]
    fn reads_what_go_reads() {
        for (value, is_raw) in [("true", true), ("1", true), ("F", false), ("", false)] {
            assert_eq!(read("rawPayload", value).unwrap().is_raw, is_raw, "{value}");
        }
        assert!(read("RAWPAYLOAD", "true").unwrap().is_raw);
        let ttl = |value| read("ttlInSeconds", value).unwrap().ttl;
        assert_eq!(ttl("60"), Some(Duration::from_secs(60)));
        assert_eq!(ttl(" "), None);
        assert_eq!(ttl("9223372036"), Some(Duration::from_secs(MAX_TTL)));
    }

    #[test]
    fn what_it_cannot_read_is_an_error_with_what_is_accepted() {
        assert_eq!(
            read("rawPayload", "yes").unwrap_err(),
            "failed deserializing metadata: rawPayload is \"yes\"; accepted are true and false"
        );
        for bad in ["0", "-1", "1.5", "1s", "9223372037", "99999999999999999999"] {
            let error = read("ttlInSeconds", bad).unwrap_err();
            assert!(
                error.contains(&format!("ttlInSeconds is {bad:?}")),
                "{error}"
            );
            assert!(
                error.ends_with("whole numbers from 1 to 9223372036"),
                "{error}"
            );
        }
    }
}
