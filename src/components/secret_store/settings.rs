//! Settings that every store has which is reached over the network.

use std::time::Duration;

use crate::components::metadata::{Error, Reader};

/// How much a store may take: of time, of memory, and of the server behind it. Read from the
/// metadata of its component, beside the fields of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `requestTimeout`: the time of one read, its retries and waiting for a turn with it.
    pub request_timeout: Duration,
    /// `bulkTimeout`: the time of one bulk read.
    pub bulk_timeout: Duration,
    /// `maxRetries`: how often a read is tried again that the store could not answer.
    pub max_retries: u32,
    /// `maxConcurrentRequests`: how many reads are under way at once; others wait.
    pub max_concurrent_requests: usize,
    /// `maxAnswerSize`: the most bytes of one answer of the server.
    pub max_answer_bytes: usize,
    /// `maxBulkSize`: the most bytes of all answers to one bulk read.
    pub max_bulk_bytes: usize,
    /// `cacheTTL`: for how long a secret that was read is handed out again without asking the
    /// store. Zero: never.
    pub cache_ttl: Duration,
    /// `cacheMaxSize`: the most bytes of secrets that are kept for `cacheTTL` and `staleIfError`.
    pub cache_max_bytes: u64,
    /// `staleIfError`: for how long after `cacheTTL` a secret is handed out while the store cannot
    /// be reached. Zero: never.
    pub stale_if_error: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            request_timeout: Duration::from_secs(5),
            bulk_timeout: Duration::from_secs(30),
            max_retries: 3,
            max_concurrent_requests: 32,
            // Above the largest secret of any store, Kubernetes' 1 MiB in base64.
            max_answer_bytes: 4 << 20,
            max_bulk_bytes: 16 << 20,
            cache_ttl: Duration::ZERO,
            cache_max_bytes: 4 << 20,
            stale_if_error: Duration::ZERO,
        }
    }
}

impl Settings {
    /// Reads them; what is absent has its default.
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, Error> {
        let default = Self::default();
        let bytes = |given: Option<u64>, default: usize| {
            given.map_or(default, |bytes| {
                usize::try_from(bytes).unwrap_or(usize::MAX)
            })
        };
        let settings = Self {
            request_timeout: reader
                .duration(&["requestTimeout"])?
                .unwrap_or(default.request_timeout),
            bulk_timeout: reader
                .duration(&["bulkTimeout"])?
                .unwrap_or(default.bulk_timeout),
            max_retries: reader
                .number(&["maxRetries"], 0..=20)?
                .unwrap_or(default.max_retries),
            max_concurrent_requests: reader
                .number(&["maxConcurrentRequests"], 1..=10_000)?
                .map_or(default.max_concurrent_requests, |number| number as usize),
            max_answer_bytes: bytes(reader.bytes(&["maxAnswerSize"])?, default.max_answer_bytes),
            max_bulk_bytes: bytes(reader.bytes(&["maxBulkSize"])?, default.max_bulk_bytes),
            cache_ttl: reader.duration(&["cacheTTL"])?.unwrap_or(default.cache_ttl),
            cache_max_bytes: reader
                .bytes(&["cacheMaxSize"])?
                .unwrap_or(default.cache_max_bytes),
            stale_if_error: reader
                .duration(&["staleIfError"])?
                .unwrap_or(default.stale_if_error),
        };
        for (name, time) in [
            ("requestTimeout", settings.request_timeout),
            ("bulkTimeout", settings.bulk_timeout),
        ] {
            if time.is_zero() {
                return Err(Error::Invalid {
                    name,
                    accepted: "a duration above zero",
                });
            }
        }
        Ok(settings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::contract::component;

    fn read(properties: &[(&str, &str)]) -> Result<Settings, String> {
        let component = component("secretstores.x", properties);
        let mut reader = Reader::new(&component).unwrap();
        Settings::read(&mut reader).map_err(|error| error.to_string())
    }

    #[test]
    fn reads_every_setting() {
        let seconds = Duration::from_secs;
        let expected = Settings {
            request_timeout: seconds(1),
            bulk_timeout: seconds(2),
            max_retries: 0,
            max_concurrent_requests: 4,
            max_answer_bytes: 5 << 10,
            max_bulk_bytes: 6 << 10,
            cache_ttl: seconds(7),
            cache_max_bytes: 8 << 10,
            stale_if_error: seconds(9),
        };
        let given = read(&[
            ("requestTimeout", "1s"),
            ("bulkTimeout", "2"),
            ("maxRetries", "0"),
            ("maxConcurrentRequests", "4"),
            ("maxAnswerSize", "5Ki"),
            ("maxBulkSize", "6Ki"),
            ("cacheTTL", "7s"),
            ("cacheMaxSize", "8Ki"),
            ("staleIfError", "9s"),
        ]);
        assert_eq!(given, Ok(expected));
        assert_eq!(read(&[]), Ok(Settings::default()));
    }

    #[test]
    fn names_what_is_accepted() {
        for (name, value, accepted) in [
            ("requestTimeout", "0", "a duration above zero"),
            ("bulkTimeout", "0s", "a duration above zero"),
            ("maxRetries", "-1", "a whole number from 0 to 20"),
            ("maxRetries", "21", "a whole number from 0 to 20"),
            (
                "maxConcurrentRequests",
                "0",
                "a whole number from 1 to 10000",
            ),
            (
                "cacheTTL",
                "soon",
                "a duration, such as \"1m30s\" or whole seconds",
            ),
        ] {
            let expected = format!("the value of {name:?} is not {accepted}");
            assert_eq!(read(&[(name, value)]), Err(expected));
        }
    }
}
