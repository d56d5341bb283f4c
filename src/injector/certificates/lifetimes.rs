//! How long certificates live.

use std::time::{Duration, SystemTime};

/// The part of its life after which a certificate is renewed: two thirds. The last third is for
/// whatever keeps it from being renewed.
const RENEWED_AFTER: (u32, u32) = (2, 3);

/// Lifetimes that fit together.
///
/// Invariant: a CA lives at least three times as long as a certificate, which lives at least three
/// times as long as the wait. A CA is replaced after two thirds of its life, so no certificate has
/// to be cut short by the end of its CA, and a change of CA is over before the next is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetimes {
    ca: Duration,
    leaf: Duration,
    wait: Duration,
}

/// Lifetimes that cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum LifetimeError {
    /// Certificates count in seconds.
    #[error("a certificate's lifetime of {0:?} is too short: accepted is 3s or more")]
    Short(Duration),
    /// A certificate would outlive its CA, or be cut short by it.
    #[error(
        "a CA lifetime of {ca:?} is too short for certificates that live {leaf:?}: accepted is \
         three times that or more"
    )]
    Authority {
        /// Of the CA.
        ca: Duration,
        /// Of the certificate.
        leaf: Duration,
    },
    /// A new CA would not be trusted in time.
    #[error(
        "a certificate's lifetime of {leaf:?} is too short for a propagation wait of {wait:?}: \
         accepted is three times that or more"
    )]
    Wait {
        /// Of the certificate.
        leaf: Duration,
        /// Until every API server has noticed.
        wait: Duration,
    },
    /// A date that no certificate can hold.
    #[error("a CA lifetime of {0:?} is too long: accepted are 100 years or less")]
    Long(Duration),
}

/// Certificates hold years of four digits; this is far enough from their end.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

const SHORTEST: Duration = Duration::from_secs(3);

impl Lifetimes {
    /// Lifetimes of CAs and certificates, and the time until every API server has noticed a change
    /// of what it trusts.
    pub fn parse(ca: Duration, leaf: Duration, wait: Duration) -> Result<Self, LifetimeError> {
        if leaf < SHORTEST {
            return Err(LifetimeError::Short(leaf));
        }
        if ca > LONGEST {
            return Err(LifetimeError::Long(ca));
        }
        if ca < leaf.saturating_mul(3) {
            return Err(LifetimeError::Authority { ca, leaf });
        }
        if leaf < wait.saturating_mul(3) {
            return Err(LifetimeError::Wait { leaf, wait });
        }
        Ok(Self { ca, leaf, wait })
    }

    /// Of a CA.
    pub fn ca(&self) -> Duration {
        self.ca
    }

    /// Of a certificate.
    pub fn leaf(&self) -> Duration {
        self.leaf
    }

    /// Until every API server has noticed a change of what it trusts.
    pub fn wait(&self) -> Duration {
        self.wait
    }
}

/// A life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Life {
    /// When it was issued.
    pub issued: SystemTime,
    /// Its end.
    pub end: SystemTime,
}

impl Life {
    /// When to renew it.
    pub fn renewal(&self) -> SystemTime {
        let (part, whole) = RENEWED_AFTER;
        let life = self.end.duration_since(self.issued).unwrap_or_default();
        self.issued + life * part / whole
    }

    /// Whether it is over.
    pub fn ended(&self, now: SystemTime) -> bool {
        now >= self.end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_lifetimes_that_do_not_fit() {
        let hours = |hours: u64| Duration::from_secs(hours * 3600);
        let cases = [
            ((8760, 2160, 1), None),
            ((6, 2, 0), None),
            (
                (5, 2, 0),
                Some(
                    "a CA lifetime of 18000s is too short for certificates that live 7200s: \
                     accepted is three times that or more",
                ),
            ),
            (
                (8760, 2, 1),
                Some(
                    "a certificate's lifetime of 7200s is too short for a propagation wait of \
                     3600s: accepted is three times that or more",
                ),
            ),
            (
                (8760, 0, 0),
                Some("a certificate's lifetime of 0ns is too short: accepted is 3s or more"),
            ),
            (
                (1_000_000, 1, 0),
                Some("a CA lifetime of 3600000000s is too long: accepted are 100 years or less"),
            ),
        ];
        for ((ca, leaf, wait), wanted) in cases {
            let parsed = Lifetimes::parse(hours(ca), hours(leaf), hours(wait));
            let error = parsed.err().map(|error| error.to_string());
            assert_eq!(error.as_deref(), wanted);
        }
    }
}
