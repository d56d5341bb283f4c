//! Why a store did not do what it was asked for: in its own words for the log, and in fixed ones
//! for clients.

use std::fmt::Write as _;

use crate::blocks::error::StateReason;
use crate::components::state::StateError;
use crate::resiliency::Stopped;

/// How many keys of a call are named that failed.
const NAMED: usize = 10;

/// What became of one read or write.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum Failure {
    /// The store says why.
    #[error(transparent)]
    Store(#[from] StateError),
    /// The condition of a write does not hold, and an earlier try of the same write had no answer:
    /// it may be what made the condition fail.
    #[error("an earlier try had no answer, and the condition does not hold any more")]
    Uncertain,
    /// The policy gave up.
    #[error(transparent)]
    Stopped(Stopped),
    /// The store told nothing of it.
    #[error("the store told nothing of one of the keys")]
    Unanswered,
}

/// What a client can do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Read again, and decide anew.
    Mismatch,
    /// Correct the request.
    ETagInvalid,
    /// Try again later, or ask an operator.
    Failed,
}

impl Failure {
    fn kind(&self) -> Kind {
        match self {
            Self::Store(StateError::Mismatch) => Kind::Mismatch,
            Self::Store(StateError::ETagInvalid) => Kind::ETagInvalid,
            _ => Kind::Failed,
        }
    }

    /// Whether it is one of the store, and not of what was asked for.
    pub(super) fn is_of_store(&self) -> bool {
        self.kind() == Kind::Failed
    }

    /// What a client is told.
    pub(super) fn explained(&self) -> String {
        let text = match self {
            Self::Store(StateError::Mismatch) => {
                "possible etag mismatch. error from state store: there is another value, or none, \
                 or one already"
            }
            Self::Store(StateError::ETagInvalid) => {
                "invalid etag value: the store has none of this form"
            }
            Self::Store(StateError::Refused(_)) => "the store refused it",
            Self::Store(StateError::Unavailable(_)) => "the store cannot be reached, or is busy",
            Self::Uncertain => {
                "a try had no answer, and may have been done: the value is another one now; read \
                 it before writing again"
            }
            Self::Stopped(stopped) => return stopped.to_string(),
            Self::Unanswered => "the store did not answer",
        };
        text.to_owned()
    }
}

/// What was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    Get,
    BulkGet,
    Set,
    Delete,
    BulkDelete,
    Transaction,
}

impl Call {
    /// How many calls there are.
    pub(super) const COUNT: usize = 6;

    /// In the metrics of Dapr.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::BulkGet => "bulk_get",
            Self::Set => "set",
            Self::Delete => "delete",
            Self::BulkDelete => "bulk_delete",
            Self::Transaction => "transaction",
        }
    }

    /// The reason of a call that failed: the caller's own fault only where that is all of it.
    pub(super) fn reason(self, failures: &[(&str, &Failure)]) -> StateReason {
        let all = |kinds: &[Kind]| failures.iter().all(|(_, one)| kinds.contains(&one.kind()));
        let kind = if all(&[Kind::Mismatch]) {
            Kind::Mismatch
        } else if all(&[Kind::Mismatch, Kind::ETagInvalid]) {
            Kind::ETagInvalid
        } else {
            Kind::Failed
        };
        match (self, kind) {
            (Self::Get, _) => StateReason::Get,
            (Self::BulkGet, _) => StateReason::BulkGet,
            (Self::Set, Kind::Failed) => StateReason::Save,
            (Self::Set, Kind::Mismatch) => StateReason::SaveMismatch,
            (Self::Set, Kind::ETagInvalid) => StateReason::SaveETagInvalid,
            (Self::Delete | Self::BulkDelete, Kind::Failed) => StateReason::Delete,
            (Self::Delete | Self::BulkDelete, Kind::Mismatch) => StateReason::DeleteMismatch,
            (Self::Delete | Self::BulkDelete, Kind::ETagInvalid) => StateReason::DeleteETagInvalid,
            (Self::Transaction, Kind::Failed) => StateReason::Transaction,
            (Self::Transaction, Kind::Mismatch) => StateReason::TransactionMismatch,
            (Self::Transaction, Kind::ETagInvalid) => StateReason::TransactionETagInvalid,
        }
    }

    /// The text of a call that failed, in the words of Dapr. The key is that of the app, where the
    /// call has one.
    pub(super) fn text(self, store: &str, key: &str, why: &str) -> String {
        match self {
            Self::Get => format!("fail to get {key} from state store {store}: {why}"),
            Self::BulkGet => format!("failed getting states from state store {store}: {why}"),
            Self::Set => format!("failed saving state in state store {store}: {why}"),
            Self::Delete => format!("failed deleting state with key {key}: {why}"),
            Self::BulkDelete => format!("failed deleting state in state store {store}: {why}"),
            Self::Transaction => format!("error while executing state transaction: {why}"),
        }
    }
}

/// What a client is told of several keys. Of one it is told the reason alone.
pub(super) fn explained(total: usize, failures: &[(&str, &Failure)]) -> String {
    if let (1, [(_, failure)]) = (total, failures) {
        return failure.explained();
    }
    let mut text = format!("{} of {total} keys failed", failures.len());
    for (at, (key, failure)) in failures.iter().take(NAMED).enumerate() {
        let begin = if at == 0 { ": " } else { "; " };
        let _ = write!(text, "{begin}key {key:?}: {}", failure.explained());
    }
    if failures.len() > NAMED {
        text.push_str("; and others");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused() -> Failure {
        Failure::Store(StateError::Refused("redis://:hunter2@host".to_owned()))
    }

    #[test]
    fn a_call_is_the_callers_fault_only_where_nothing_else_failed() {
        let mismatch = Failure::Store(StateError::Mismatch);
        let invalid = Failure::Store(StateError::ETagInvalid);
        for (failures, expected) in [
            (vec![&mismatch, &mismatch], StateReason::SaveMismatch),
            (vec![&mismatch, &invalid], StateReason::SaveETagInvalid),
            (vec![&mismatch, &invalid, &refused()], StateReason::Save),
            (vec![&Failure::Uncertain], StateReason::Save),
        ] {
            let failures: Vec<_> = failures.into_iter().map(|one| ("k", one)).collect();
            assert_eq!(Call::Set.reason(&failures), expected, "{failures:?}");
        }
    }

    #[test]
    fn clients_get_no_word_of_the_back_end() {
        let failure = refused();
        let text = explained(1, &[("k", &failure)]);
        assert_eq!(text, "the store refused it");
        let mismatch = Failure::Store(StateError::Mismatch);
        let text = explained(3, &[("a\n", &failure), ("b", &mismatch)]);
        assert_eq!(
            text,
            "2 of 3 keys failed: key \"a\\n\": the store refused it; key \"b\": possible etag \
             mismatch. error from state store: there is another value, or none, or one already"
        );
        let many = vec![("k", &failure); NAMED + 1];
        let text = explained(many.len(), &many);
        assert_eq!(text.matches("refused").count(), NAMED);
        assert!(text.ends_with("; and others"), "{text}");
    }
}
