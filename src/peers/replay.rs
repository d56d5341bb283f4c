//! Bodies that more than one attempt of a call may send.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};

use crate::process::body::{Body, CollectError, collect, empty, whole};
use crate::process::tasks::BoxError;

/// The body of a call, for its attempts.
#[derive(Debug)]
pub enum Replay {
    /// It is held in memory, for any number of attempts.
    Whole(Bytes),
    /// It streams: no attempt may follow the one that began to read it.
    Once(Shared, SizeHint),
}

type Shared = Arc<Mutex<Option<Body>>>;

impl Replay {
    /// Reads a body into memory that says that it has at most `keep` bytes. Any other one streams.
    ///
    /// # Errors
    ///
    /// The body broke off.
    pub async fn new(body: Body, keep: usize) -> Result<Self, CollectError> {
        let size = body.size_hint();
        if size.exact().is_some_and(|size| size <= keep as u64) {
            return Ok(Self::Whole(collect(body, keep).await?));
        }
        Ok(Self::Once(Arc::new(Mutex::new(Some(body))), size))
    }

    /// The length in bytes, where it is known.
    pub fn length(&self) -> Option<u64> {
        match self {
            Self::Whole(bytes) => Some(bytes.len() as u64),
            Self::Once(_, size) => size.exact(),
        }
    }

    /// Whether a further attempt would send the same body from its start.
    pub fn is_complete(&self) -> bool {
        match self {
            Self::Whole(_) => true,
            Self::Once(body, _) => lock(body).is_some(),
        }
    }

    /// The body for one attempt.
    pub fn attempt(&self) -> Body {
        match self {
            Self::Whole(bytes) if bytes.is_empty() => empty(),
            Self::Whole(bytes) => whole(bytes.clone()),
            Self::Once(shared, size) => Body::new(Untouched {
                shared: Some(Arc::clone(shared)),
                body: None,
                size: *size,
            }),
        }
    }
}

fn lock(shared: &Shared) -> std::sync::MutexGuard<'_, Option<Body>> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A body that is taken from where the attempts share it when somebody begins to read it.
#[derive(Debug)]
struct Untouched {
    shared: Option<Shared>,
    body: Option<Body>,
    size: SizeHint,
}

impl http_body::Body for Untouched {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Some(shared) = self.shared.take() {
            self.body = lock(&shared).take();
        }
        match &mut self.body {
            Some(body) => Pin::new(body).poll_frame(cx),
            None => Poll::Ready(Some(Err("an earlier attempt has read the body".into()))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_some_and(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        match &self.body {
            Some(body) => body.size_hint(),
            None => self.size,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn sent(body: Body) -> Bytes {
        collect(body, 9).await.unwrap()
    }

    #[tokio::test]
    async fn small_bodies_can_be_sent_again() {
        let replay = Replay::new(whole("abc"), 3).await.unwrap();
        for _ in 0..2 {
            assert_eq!(sent(replay.attempt()).await, "abc");
            assert!(replay.is_complete());
        }
    }

    #[tokio::test]
    async fn a_body_that_nobody_has_read_can_be_sent_by_the_next_attempt() {
        let replay = Replay::new(whole("abcd"), 3).await.unwrap();
        assert_eq!(replay.length(), Some(4));
        drop(replay.attempt());
        assert!(replay.is_complete());
        assert_eq!(sent(replay.attempt()).await, "abcd");
        assert!(!replay.is_complete());
        assert!(collect(replay.attempt(), 9).await.is_err());
    }
}
