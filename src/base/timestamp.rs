//! Times as text.

use std::time::SystemTime;

use k8s_openapi::jiff::Timestamp;

/// A time in the form of RFC 3339, in UTC and whole seconds.
pub fn rfc3339(time: SystemTime) -> String {
    let time = Timestamp::try_from(time).unwrap_or_default();
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::rfc3339;

    #[test]
    fn is_in_utc_and_whole_seconds() {
        let time = SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_999);
        assert_eq!(rfc3339(time), "2023-11-14T22:13:20Z");
    }
}
