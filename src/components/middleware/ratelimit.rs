//! `middleware.http.ratelimit`: how many requests of one caller pass in a second.

use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use governor::clock::{Clock, DefaultClock};
use governor::middleware::NoOpMiddleware;
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};
use http::request::Parts;
use http::{StatusCode, header};

use super::{Middleware, Rejection};
use crate::components::metadata::{Error, Reader};
use crate::process::listener::Remote;

/// The number of requests where none is given (Dapr 1.18).
const DEFAULT_PER_SECOND: &str = "100";
/// The most that can be asked for, and the least: one in about a quarter of an hour.
const MOST_PER_SECOND: f64 = 1_000_000.0;
const LEAST_PER_SECOND: f64 = 0.001;
/// The most callers that are told apart. A caller is forgotten as soon as all of its requests
/// would pass again, so that this many have to come at about the same time.
const MAX_CALLERS: usize = 65_536;
/// Callers who are forgotten are looked for once in this number of requests.
const REQUESTS_PER_SWEEP: usize = 1024;

/// Who shares one number of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Caller {
    /// One address of IPv4, or the network of 64 bits that one machine of IPv6 commonly has.
    Address(IpAddr),
    /// Processes of this host that come over a Unix socket.
    Unix,
    /// All, while there are too many to tell them apart.
    Others,
}

impl From<Remote> for Caller {
    fn from(remote: Remote) -> Self {
        match remote {
            Remote::Unix => Self::Unix,
            Remote::Tcp(address) => Self::Address(match address.ip().to_canonical() {
                IpAddr::V6(ip) if !ip.is_loopback() => {
                    IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & (u128::MAX << 64)))
                }
                ip => ip,
            }),
        }
    }
}

type Limiter<C> =
    RateLimiter<Caller, HashMapStateStore<Caller>, C, NoOpMiddleware<<C as Clock>::Instant>>;

/// Limits the requests of each caller by the address of its connection.
pub struct RateLimit<C: Clock = DefaultClock> {
    limiter: Limiter<C>,
    max_callers: usize,
    requests: AtomicUsize,
}

impl RateLimit {
    /// Reads `maxRequestsPerSecond`: a number above zero, which may have a fraction.
    ///
    /// # Errors
    ///
    /// A value that is no such number.
    pub fn start(reader: &mut Reader<'_>) -> Result<Self, Error> {
        let name = "maxRequestsPerSecond";
        let given = reader.text(&[name])?.filter(|text| !text.is_empty());
        let quota = quota(given.unwrap_or(DEFAULT_PER_SECOND)).ok_or(Error::Invalid {
            name,
            accepted: "a number from 0.001 to 1000000, such as \"100\" or \"0.5\"",
        })?;
        Ok(Self::new(quota, DefaultClock::default(), MAX_CALLERS))
    }
}

impl<C: Clock> RateLimit<C> {
    fn new(quota: Quota, clock: C, max_callers: usize) -> Self {
        Self {
            limiter: RateLimiter::hashmap_with_clock(quota, clock),
            max_callers,
            requests: AtomicUsize::new(0),
        }
    }

    /// Whether one more request may pass; if not, for how long none will.
    fn pass(&self, caller: Caller) -> Result<(), Duration> {
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        if number.is_multiple_of(REQUESTS_PER_SWEEP) {
            self.limiter.retain_recent();
            self.limiter.shrink_to_fit();
        }
        let is_full = self.limiter.len() >= self.max_callers;
        let caller = if is_full { Caller::Others } else { caller };
        self.limiter
            .check_key(&caller)
            .map_err(|until| until.wait_time_from(self.limiter.clock().now()))
    }
}

/// Requests in a second, as many of them at once: the whole part, and one at least.
fn quota(text: &str) -> Option<Quota> {
    let is_plain = text
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b'.');
    let number = text.parse::<f64>().ok().filter(|_| is_plain)?;
    if !(LEAST_PER_SECOND..=MOST_PER_SECOND).contains(&number) {
        return None;
    }
    let (whole, _) = text.split_once('.').unwrap_or((text, ""));
    let burst = NonZeroU32::new(whole.parse().unwrap_or_default());
    let quota = Quota::with_period(Duration::from_secs_f64(number.recip()))?;
    Some(quota.allow_burst(burst.unwrap_or(NonZeroU32::MIN)))
}

#[async_trait]
impl Middleware for RateLimit {
    async fn handle(&self, _: &mut Parts, caller: Remote) -> Result<(), Rejection> {
        self.pass(caller.into()).map_err(|wait| {
            // The words of Dapr.
            let body = "You have reached maximum request limit.";
            let mut rejection = Rejection::new(StatusCode::TOO_MANY_REQUESTS, body);
            // Whole seconds (RFC 9110, section 10.2.3), of which a part counts as one.
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            let headers = &mut rejection.headers;
            headers.insert(header::RETRY_AFTER, seconds.max(1).into());
            rejection
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::contract::component;
    use governor::clock::FakeRelativeClock;

    fn started(value: &str) -> Result<RateLimit, String> {
        let component = component(
            "middleware.http.ratelimit",
            &[("maxRequestsPerSecond", value)],
        );
        let mut reader = Reader::new(&component).unwrap();
        RateLimit::start(&mut reader).map_err(|error| error.to_string())
    }

    fn from(address: &str) -> Remote {
        Remote::Tcp(address.parse().unwrap())
    }

    #[test]
    fn takes_numbers_above_zero() {
        for (text, burst, period) in [
            ("100", 100, Duration::from_millis(10)),
            ("1", 1, Duration::from_secs(1)),
            ("0.5", 1, Duration::from_secs(2)),
            ("2.5", 2, Duration::from_millis(400)),
            ("1000000", 1_000_000, Duration::from_micros(1)),
            ("0.001", 1, Duration::from_secs(1000)),
        ] {
            let quota = quota(text).unwrap();
            assert_eq!(quota.burst_size().get(), burst, "{text}");
            assert_eq!(quota.replenish_interval(), period, "{text}");
        }
        for text in [
            "0", "-1", "0.0001", "1000001", "1e3", "NaN", "inf", "ten", ".", "+1",
        ] {
            assert_eq!(
                started(text).err().unwrap(),
                "the value of \"maxRequestsPerSecond\" is not a number from 0.001 to 1000000, \
                 such as \"100\" or \"0.5\"",
                "{text}"
            );
        }
        assert!(started("").is_ok());
    }

    #[tokio::test]
    async fn counts_each_caller_by_its_connection() {
        let limit = started("0.001").unwrap();
        let mut head = http::Request::new(()).into_parts().0;
        for (number, (caller, passes)) in [
            (from("10.0.0.1:1000"), true),
            (from("10.0.0.1:1001"), false),
            (from("[::ffff:10.0.0.1]:1000"), false),
            (from("10.0.0.2:1000"), true),
            (Remote::Unix, true),
            (Remote::Unix, false),
            (from("[2001:db8::1]:1"), true),
            (from("[2001:db8::ffff:2]:1"), false),
            (from("[2001:db8:0:1::1]:1"), true),
        ]
        .into_iter()
        .enumerate()
        {
            // Whatever a client says of itself.
            let forwarded = format!("192.0.2.{number}");
            head.headers
                .insert("x-forwarded-for", forwarded.parse().unwrap());
            head.headers.insert("x-real-ip", forwarded.parse().unwrap());
            let answer = limit.handle(&mut head, caller).await;
            assert_eq!(answer.is_ok(), passes, "{caller}");
            if let Err(rejection) = answer {
                assert_eq!(rejection.status, 429);
                let wait = rejection.headers[header::RETRY_AFTER].to_str().unwrap();
                let wait: u64 = wait.parse().unwrap();
                assert!((900..=1000).contains(&wait), "{wait}");
            }
        }
    }

    #[test]
    fn requests_come_back_with_time() {
        let clock = FakeRelativeClock::default();
        let limit = RateLimit::new(quota("2").unwrap(), clock.clone(), 10);
        let caller = Caller::Unix;
        assert_eq!(limit.pass(caller), Ok(()));
        assert_eq!(limit.pass(caller), Ok(()));
        assert_eq!(limit.pass(caller), Err(Duration::from_millis(500)));
        clock.advance(Duration::from_millis(500));
        assert_eq!(limit.pass(caller), Ok(()));
        assert!(limit.pass(caller).is_err());
    }

    #[test]
    fn callers_without_a_place_share_one_and_idle_ones_are_forgotten() {
        let clock = FakeRelativeClock::default();
        let limit = RateLimit::new(quota("1").unwrap(), clock.clone(), 2);
        let caller = |last: u8| Caller::Address([10, 0, 0, last].into());
        assert!(limit.pass(caller(1)).is_ok());
        assert!(limit.pass(caller(2)).is_ok());
        // Full: the third and the fourth are one.
        assert!(limit.pass(caller(3)).is_ok());
        assert!(limit.pass(caller(4)).is_err());
        assert_eq!(limit.limiter.len(), 3);
        clock.advance(Duration::from_secs(10));
        for _ in 0..REQUESTS_PER_SWEEP {
            let _ = limit.pass(caller(9));
        }
        assert!(limit.limiter.len() <= 2, "{}", limit.limiter.len());
        clock.advance(Duration::from_secs(10));
        assert!(limit.pass(caller(1)).is_ok());
        assert!(limit.pass(caller(1)).is_err());
    }
}
