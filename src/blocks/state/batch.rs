//! Several reads or writes that do not depend on each other, over all tries of a policy.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::failure::Failure;
use crate::components::state::{Get, Item, Operation, StateError, StateStore};
use crate::resiliency::{Stopped, Verdict};

/// What is asked for, and what became of each part so far.
pub(super) struct Batch<I, O> {
    items: Vec<I>,
    outcomes: Mutex<Vec<Option<Result<O, Failure>>>>,
}

impl<I: Clone, O> Batch<I, O> {
    pub(super) fn new(items: Vec<I>) -> Self {
        let outcomes = items.iter().map(|_| None).collect();
        Self {
            items,
            outcomes: Mutex::new(outcomes),
        }
    }

    /// What became of each part in the end, in their order.
    pub(super) fn finish(self, stopped: Option<Stopped>) -> Vec<Result<O, Failure>> {
        let outcomes = self.outcomes.into_inner();
        let outcomes = outcomes.unwrap_or_else(PoisonError::into_inner);
        let nothing = || Err(stopped.map_or(Failure::Unanswered, Failure::Stopped));
        let outcomes = outcomes.into_iter();
        outcomes
            .map(|outcome| outcome.unwrap_or_else(nothing))
            .collect()
    }

    /// The parts that the store has neither done nor refused.
    fn left(&self) -> (Vec<usize>, Vec<I>) {
        let outcomes = self.lock();
        let parts = self.items.iter().zip(outcomes.iter()).enumerate();
        let left = parts.filter(|(_, (_, outcome))| may_heal(outcome.as_ref()));
        left.map(|(place, (item, _))| (place, item.clone())).unzip()
    }

    /// Notes the outcomes of a try, whose number counts from 1. Whether any parts are left then.
    fn settle(&self, number: u32, places: &[usize], outcomes: Vec<Result<O, StateError>>) -> bool {
        let mut all = self.lock();
        for (place, outcome) in places.iter().zip(outcomes) {
            if let Some(known) = all.get_mut(*place) {
                *known = Some(outcome.map_err(|error| at_try(number, error)));
            }
        }
        all.iter().any(|outcome| may_heal(outcome.as_ref()))
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Option<Result<O, Failure>>>> {
        self.outcomes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Batch<Get, Option<Item>> {
    /// Reads what is left. Whether anything is left then.
    pub(super) async fn read(&self, store: &dyn StateStore, at_once: usize, number: u32) -> bool {
        let (places, gets) = self.left();
        let items = match &gets[..] {
            [get] => vec![store.get(get).await],
            several => store.get_all(several, at_once).await,
        };
        self.settle(number, &places, items)
    }
}

impl Batch<Operation, ()> {
    /// Writes what is left. Whether anything is left then.
    pub(super) async fn write(&self, store: &dyn StateStore, number: u32) -> bool {
        let (places, operations) = self.left();
        let outcomes = match <[Operation; 1]>::try_from(operations) {
            Ok([operation]) => vec![store.write(operation).await],
            Err(several) => store.write_all(several).await,
        };
        self.settle(number, &places, outcomes)
    }
}

fn may_heal<O>(outcome: Option<&Result<O, Failure>>) -> bool {
    match outcome {
        None => true,
        Some(Err(Failure::Store(StateError::Unavailable(_)))) => true,
        Some(_) => false,
    }
}

/// What a try says of its store, by whether anything is left. What it refused is no failure of it:
/// callers could open its circuit breaker for each other.
pub(super) fn judge(are_left: &bool) -> Verdict {
    if *are_left {
        Verdict::Failure(None)
    } else {
        Verdict::Success
    }
}

/// The failure of a try. Only what had no answer is tried again, so that a condition that does not
/// hold then may be the work of the try before: nobody can say that the write was not done.
pub(super) fn at_try(number: u32, error: StateError) -> Failure {
    match error {
        StateError::Mismatch if number > 1 => Failure::Uncertain,
        error => Failure::Store(error),
    }
}
