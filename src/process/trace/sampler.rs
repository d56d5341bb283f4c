//! Which new traces are recorded. A call that comes in with a context is recorded where its caller
//! says so, whatever the rate.

/// Takes a part of all traces, by their id: sidecars of one rate decide the same.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sampler {
    /// Ids below it are taken.
    bound: u64,
}

/// One more than the largest 63 bits of an id.
const ALL: u64 = 1 << 63;

impl Sampler {
    /// Takes this part, from 0 to 1.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "the rate is between 0 and 1, so that the bound is between 0 and 2^63"
    )]
    pub(super) fn new(rate: f64) -> Self {
        Self {
            bound: (rate.clamp(0.0, 1.0) * ALL as f64) as u64,
        }
    }

    /// Whether it takes a trace. It looks at the same 63 bits as OpenTelemetry's
    /// `TraceIdRatioBased` in Go, so that both decide alike.
    pub(super) fn takes(self, trace_id: &[u8; 16]) -> bool {
        let [.., a, b, c, d, e, f, g, h] = *trace_id;
        u64::from_be_bytes([a, b, c, d, e, f, g, h]) >> 1 < self.bound
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn one_takes_all_and_zero_none(trace_id: [u8; 16]) {
            prop_assert!(Sampler::new(1.0).takes(&trace_id));
            prop_assert!(!Sampler::new(0.0).takes(&trace_id));
        }

        #[test]
        fn a_higher_rate_takes_what_a_lower_one_takes(
            trace_id: [u8; 16], a in 0.0..1.0, b in 0.0..1.0,
        ) {
            let (low, high) = if a < b { (a, b) } else { (b, a) };
            let taken = Sampler::new(low).takes(&trace_id);
            prop_assert!(!taken || Sampler::new(high).takes(&trace_id));
        }
    }

    #[test]
    fn takes_about_the_part_that_it_is_told() {
        let sampler = Sampler::new(0.25);
        let taken = |step: u64| {
            let mut id = [0xff; 16];
            id[8..].copy_from_slice(&(step << 54).to_be_bytes());
            sampler.takes(&id)
        };
        assert_eq!((0..1024).filter(|step| taken(*step)).count(), 256);
    }
}
