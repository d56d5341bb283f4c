//! The deadline of a gRPC call, as it stands in `grpc-timeout` (gRPC over HTTP/2, "Requests").

use std::time::Duration;

/// The name of the header.
pub const GRPC_TIMEOUT: &str = "grpc-timeout";

/// The most digits of a value.
const MAX_DIGITS: usize = 8;

/// The time that a value gives: up to eight digits and a unit, such as `100m` for 100 ms.
pub fn parse(value: &str) -> Option<Duration> {
    let (digits, unit) = value.split_at_checked(value.len().checked_sub(1)?)?;
    let is_number = (1..=MAX_DIGITS).contains(&digits.len())
        && digits.bytes().all(|byte| byte.is_ascii_digit());
    let number: u64 = is_number.then(|| digits.parse().ok()).flatten()?;
    match unit {
        "H" => Some(Duration::from_secs(number * 3600)),
        "M" => Some(Duration::from_secs(number * 60)),
        "S" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_millis(number)),
        "u" => Some(Duration::from_micros(number)),
        "n" => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

/// The value for a time: in milliseconds where these fit, rounded up.
pub fn format(time: Duration) -> String {
    let millis = time.as_nanos().div_ceil(1_000_000);
    if millis < 10_u128.pow(8) {
        format!("{millis}m")
    } else {
        format!("{}S", time.as_secs().min(99_999_999))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_unit_and_nothing_else() {
        for (value, expected) in [
            ("1H", Some(Duration::from_secs(3600))),
            ("2M", Some(Duration::from_secs(120))),
            ("3S", Some(Duration::from_secs(3))),
            ("100m", Some(Duration::from_millis(100))),
            ("5u", Some(Duration::from_micros(5))),
            ("99999999n", Some(Duration::from_nanos(99_999_999))),
            ("0S", Some(Duration::ZERO)),
            ("", None),
            ("S", None),
            ("1", None),
            ("1s", None),
            ("-1S", None),
            ("123456789S", None),
            ("1ä", None),
        ] {
            assert_eq!(parse(value), expected, "{value}");
        }
    }

    #[test]
    fn writes_what_it_reads() {
        for (time, value) in [
            (Duration::from_nanos(1), "1m"),
            (Duration::from_millis(1500), "1500m"),
            (Duration::from_secs(200_000), "200000S"),
        ] {
            assert_eq!(format(time), value);
            assert!(parse(value).unwrap() >= time.min(Duration::from_secs(200_000)));
        }
    }
}
