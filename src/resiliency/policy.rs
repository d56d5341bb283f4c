//! A policy, and how a call runs under it: each try under the timeout, each try past the breaker,
//! and all of them under the retry.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tracing::debug;

use super::breaker::{Breaker, Breakers};
use super::clock::Clock;
use super::merge::Settings;
use super::meters::{Labels, Meter};
use super::pauses::Tries;
use crate::resources::resiliency::{Matching, Retry};

/// What one try says of its target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It worked; or it failed for a reason that lies with the caller, and not with the target.
    Success,
    /// The target failed. It is tried again where the policy wants that for the status. A failure
    /// without a status, such as a connection that cannot be made, is always tried again.
    Failure(Option<Status>),
    /// The target failed, and another try would be in vain, or would do harm.
    Final,
}

/// The status of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Of HTTP.
    Http(u16),
    /// Of gRPC.
    Grpc(u16),
}

impl Verdict {
    /// The verdict on an answer of HTTP: everything but 2xx and 3xx is a failure (Dapr 1.18).
    pub fn of_http(status: u16) -> Self {
        match status {
            200..=399 => Self::Success,
            _ => Self::Failure(Some(Status::Http(status))),
        }
    }

    /// The verdict on an answer of gRPC: everything but OK is a failure.
    pub fn of_grpc(code: u16) -> Self {
        match code {
            0 => Self::Success,
            _ => Self::Failure(Some(Status::Grpc(code))),
        }
    }
}

/// Why a call has no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Stopped {
    /// The last try took too long.
    #[error("timed out after {0:?}")]
    TimedOut(Duration),
    /// The circuit breaker is open: it was not tried.
    #[error("circuit breaker is open")]
    Open,
    /// The circuit breaker is half-open, and enough other calls try: this one did not.
    #[error("too many requests")]
    Busy,
}

/// What counts for one target.
pub(super) struct Target {
    timeout: Option<(Duration, Meter)>,
    /// Without a meter where the policy is built in.
    retry: Option<(Retry, Option<Meter>)>,
    breakers: Option<Arc<Breakers>>,
    name: Arc<str>,
    clock: Clock,
}

impl Target {
    /// The target of these settings, if they say anything. Circuit breakers that would be the same
    /// are those of the target before it, with what they know.
    pub(super) fn new(
        settings: Settings,
        labels: &Labels,
        before: Option<&Self>,
        clock: &Clock,
    ) -> Option<Arc<Self>> {
        let breakers = settings.breaker.map(|breaker| {
            let before = before.and_then(|before| before.breakers.as_ref());
            match before.filter(|old| old.are(&breaker, settings.breakers, labels)) {
                Some(same) => Arc::clone(same),
                None => Arc::new(Breakers::new(
                    breaker,
                    settings.breakers,
                    labels.clone(),
                    clock.clone(),
                )),
            }
        });
        let timeout = settings.timeout;
        let retry = settings.retry;
        Self {
            timeout: timeout.map(|time| (time, Meter::new(labels, "timeout"))),
            retry: retry.map(|retry| (retry, Some(Meter::new(labels, "retry")))),
            breakers,
            name: Arc::clone(&labels.target),
            clock: clock.clone(),
        }
        .if_any()
    }

    /// The same with retries that are built in, where it has none.
    pub(super) fn or_retry(
        this: Option<&Arc<Self>>,
        built_in: Option<Retry>,
        clock: &Clock,
    ) -> Option<Arc<Self>> {
        if let Some(this) = this.filter(|this| this.retry.is_some()) {
            return Some(Arc::clone(this));
        }
        Self {
            timeout: this.and_then(|this| this.timeout.clone()),
            retry: built_in.map(|retry| (retry, None)),
            breakers: this.and_then(|this| this.breakers.clone()),
            name: this.map_or_else(|| super::OTHER_APPS.into(), |this| Arc::clone(&this.name)),
            clock: clock.clone(),
        }
        .if_any()
    }

    fn if_any(self) -> Option<Arc<Self>> {
        let retries = self.retry.as_ref();
        let has_retries = retries.is_some_and(|(retry, _)| retry.max_retries != Some(0));
        let any = self.timeout.is_some() || has_retries || self.breakers.is_some();
        any.then(|| Arc::new(self))
    }

    /// Whether [`Target::policy`] looks at its key.
    pub(super) fn has_breakers(&self) -> bool {
        self.breakers.is_some()
    }

    /// The policy of calls that share a circuit breaker, which the key names.
    pub(super) fn policy(self: &Arc<Self>, key: &str) -> Policy {
        Policy(Some(Bound {
            breaker: self.breakers.as_ref().map(|breakers| breakers.of(key)),
            target: Arc::clone(self),
            retries: true,
        }))
    }
}

/// What counts for a call. Cheap to clone; without anything that counts it costs nothing.
#[derive(Clone, Default)]
pub struct Policy(Option<Bound>);

#[derive(Clone)]
struct Bound {
    target: Arc<Target>,
    breaker: Option<Arc<Breaker>>,
    retries: bool,
}

impl Policy {
    /// Whether a call may be tried more than once, so that what it sends has to be kept.
    pub fn retries(&self) -> bool {
        let bound = self.0.as_ref().filter(|bound| bound.retries);
        bound.is_some_and(|bound| {
            let retry = bound.target.retry.as_ref();
            retry.is_some_and(|(retry, _)| retry.max_retries != Some(0))
        })
    }

    /// The same for a call that cannot be made twice, such as one whose body streams.
    #[must_use]
    pub fn without_retries(mut self) -> Self {
        if let Some(bound) = &mut self.0 {
            bound.retries = false;
        }
        self
    }

    /// Runs a call. `call` is given the number of the try, from 1; `judge` says what a result
    /// means. The result of the last try is handed back, whatever it was. Dropping the future gives
    /// up the try that is under way and all further ones.
    ///
    /// # Errors
    ///
    /// The last try took too long, or the circuit breaker let none through.
    pub async fn run<R, F>(
        &self,
        mut call: impl FnMut(u32) -> F,
        judge: impl Fn(&R) -> Verdict,
    ) -> Result<R, Stopped>
    where
        F: Future<Output = R>,
    {
        match &self.0 {
            None => Ok(call(1).await),
            Some(bound) => bound.run(call, judge).await,
        }
    }
}

impl Bound {
    async fn run<R, F>(
        &self,
        mut call: impl FnMut(u32) -> F,
        judge: impl Fn(&R) -> Verdict,
    ) -> Result<R, Stopped>
    where
        F: Future<Output = R>,
    {
        let target = &*self.target;
        if let Some((_, meter)) = &target.timeout {
            meter.count.increment(1);
        }
        let retry = target.retry.as_ref().filter(|_| self.retries);
        let mut tries = retry.map(|(retry, meter)| {
            if let Some(meter) = meter {
                meter.count.increment(1);
            }
            (Tries::new(retry, &target.clock), &retry.matching, meter)
        });
        let mut number = 1;
        loop {
            let (result, verdict) = self.attempt(|| call(number), &judge).await;
            let Some((tries, matching, meter)) = &mut tries else {
                return result;
            };
            if !is_tried_again(verdict, matching) {
                return result;
            }
            let Some(pause) = tries.next_pause() else {
                return result;
            };
            // Not kept while it waits: it may hold a connection.
            drop(result);
            if let (1, Some(meter)) = (number, meter) {
                meter.activated.increment(1);
            }
            debug!(target_name = %target.name, number, ?pause, "A call is tried again");
            target.clock.sleep(pause).await;
            number = number.saturating_add(1);
        }
    }

    /// One try. What the breaker does not let through is final.
    async fn attempt<R, F>(
        &self,
        call: impl FnOnce() -> F,
        judge: impl Fn(&R) -> Verdict,
    ) -> (Result<R, Stopped>, Verdict)
    where
        F: Future<Output = R>,
    {
        let ticket = match self.breaker.as_ref().map(|breaker| breaker.admit()) {
            None => None,
            Some(Ok(ticket)) => Some(ticket),
            Some(Err(stopped)) => return (Err(stopped), Verdict::Final),
        };
        let result = self.target.in_time(call()).await;
        let verdict = match &result {
            Ok(result) => judge(result),
            Err(_) => Verdict::Failure(None),
        };
        if let Some(ticket) = ticket {
            ticket.tell(verdict == Verdict::Success);
        }
        (result, verdict)
    }
}

impl Target {
    async fn in_time<F: Future>(&self, call: F) -> Result<F::Output, Stopped> {
        let Some((time, meter)) = &self.timeout else {
            return Ok(call.await);
        };
        tokio::select! {
            biased;
            result = call => Ok(result),
            () = self.clock.sleep(*time) => {
                meter.activated.increment(1);
                Err(Stopped::TimedOut(*time))
            }
        }
    }
}

fn is_tried_again(verdict: Verdict, matching: &Matching) -> bool {
    match verdict {
        Verdict::Success | Verdict::Final => false,
        Verdict::Failure(None) => true,
        Verdict::Failure(Some(Status::Http(status))) => matching.http.contains(status),
        Verdict::Failure(Some(Status::Grpc(code))) => matching.grpc.contains(code),
    }
}
