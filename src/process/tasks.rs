//! The only place where tasks start.

use std::future::Future;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::error;

/// A task that ended before shutdown began.
#[derive(Debug, thiserror::Error)]
pub enum TaskError {
    /// It returned, though it should have run until shutdown.
    #[error("task {name:?} ended before shutdown")]
    Ended {
        /// The name of the task.
        name: &'static str,
    },
    /// It failed.
    #[error("task {name:?} failed")]
    Failed {
        /// The name of the task.
        name: &'static str,
        /// Why.
        #[source]
        cause: BoxError,
    },
    /// It panicked.
    #[error("a task panicked")]
    Panicked(#[source] tokio::task::JoinError),
}

/// Any error that can cross tasks.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The long-lived tasks of a process.
///
/// Invariant: a task that returns, fails or panics before shutdown began starts the shutdown of
/// the whole process, and [`Tasks::finish`] says which one it was.
pub struct Tasks {
    set: JoinSet<(&'static str, Result<(), BoxError>)>,
    shutdown: CancellationToken,
}

impl Tasks {
    /// No tasks yet. Cancelling `shutdown` asks them all to end.
    pub fn new(shutdown: CancellationToken) -> Self {
        Self {
            set: JoinSet::new(),
            shutdown,
        }
    }

    /// The token whose cancellation asks every task to end.
    pub fn shutdown(&self) -> CancellationToken {
        self.shutdown.clone()
    }

    /// Starts a task that runs until shutdown.
    pub fn spawn<F>(&mut self, name: &'static str, future: F)
    where
        F: Future<Output = Result<(), BoxError>> + Send + 'static,
    {
        self.set.spawn(async move { (name, future.await) });
    }

    /// Waits until every task has ended. The first one that ended too early is the error.
    pub async fn finish(mut self) -> Result<(), TaskError> {
        let mut first = Ok(());
        while let Some(joined) = self.set.join_next().await {
            let early = !self.shutdown.is_cancelled();
            let outcome = match joined {
                Ok((name, Ok(()))) if early => Err(TaskError::Ended { name }),
                Ok((_, Ok(()))) => Ok(()),
                Ok((name, Err(cause))) => Err(TaskError::Failed { name, cause }),
                Err(panic) => Err(TaskError::Panicked(panic)),
            };
            if let Err(failure) = outcome {
                error!(error = %with_causes(&failure), "Task ended too early; shutting down");
                self.shutdown.cancel();
                if first.is_ok() {
                    first = Err(failure);
                }
            }
        }
        first
    }
}

/// Runs work that blocks, such as that of files and databases, on a thread for such work, and waits
/// for it. A caller that stops waiting does not stop the work.
pub async fn blocking<T, F>(work: F) -> T
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
{
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is ending, and with it whoever waits.
            Err(_) => std::future::pending().await,
        },
    }
}

/// The text of an error with those of its causes.
pub fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_that_ends_early_shuts_the_others_down() {
        let mut tasks = Tasks::new(CancellationToken::new());
        let shutdown = tasks.shutdown();
        tasks.spawn("waits", async move {
            shutdown.cancelled().await;
            Ok(())
        });
        tasks.spawn("returns", async { Ok(()) });
        let error = tasks.finish().await.unwrap_err();
        assert_eq!(error.to_string(), "task \"returns\" ended before shutdown");
    }

    #[tokio::test]
    async fn a_panic_shuts_the_process_down() {
        let mut tasks = Tasks::new(CancellationToken::new());
        tasks.spawn("panics", async { panic!("on purpose") });
        assert!(matches!(tasks.finish().await, Err(TaskError::Panicked(_))));
    }

    #[tokio::test]
    async fn work_that_blocks_hands_back_its_result_or_its_panic() {
        assert_eq!(blocking(|| 1).await, 1);
        let mut tasks = Tasks::new(CancellationToken::new());
        tasks.spawn("panics", async {
            blocking(|| panic!("on purpose")).await;
            Ok(())
        });
        assert!(matches!(tasks.finish().await, Err(TaskError::Panicked(_))));
    }

    #[tokio::test]
    async fn ending_after_shutdown_is_fine() {
        let mut tasks = Tasks::new(CancellationToken::new());
        tasks.shutdown().cancel();
        tasks.spawn("returns", async { Ok(()) });
        assert!(tasks.finish().await.is_ok());
    }
}
