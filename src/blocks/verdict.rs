//! What a try says of a back end, for the policy of its calls.

use crate::components::BackendError;
use crate::resiliency::Verdict;

/// A refusal is for what was asked for: counted as a failure, callers could open the circuit
/// breaker of a back end for each other.
pub(super) fn of_backend<T>(answer: &Result<T, BackendError>) -> Verdict {
    match answer {
        Ok(_) | Err(BackendError::Refused(_)) => Verdict::Success,
        Err(BackendError::Unavailable(_)) => Verdict::Failure(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_back_end_that_cannot_answer_has_failed() {
        let text = || "why".to_owned();
        for (answer, expected) in [
            (Ok(()), Verdict::Success),
            (Err(BackendError::Refused(text())), Verdict::Success),
            (
                Err(BackendError::Unavailable(text())),
                Verdict::Failure(None),
            ),
        ] {
            assert_eq!(of_backend(&answer), expected);
        }
    }
}
