//! The tokio runtime that every command runs on.

use std::future::Future;
use std::num::NonZeroUsize;

use anyhow::Context as _;
use tokio::runtime::Builder;

/// The flags that shape the runtime.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub(super) struct RuntimeArgs {
    /// Number of threads that serve requests. Without it there is one, which is smaller and, on a
    /// fraction of a core, faster
    #[arg(long, value_name = "N")]
    worker_threads: Option<NonZeroUsize>,
}

/// Runs `future` to its end.
pub(super) fn block_on<F: Future>(args: RuntimeArgs, future: F) -> anyhow::Result<F::Output> {
    let mut builder = match args.worker_threads {
        None => Builder::new_current_thread(),
        Some(threads) => {
            let mut builder = Builder::new_multi_thread();
            builder.worker_threads(threads.get());
            builder
        }
    };
    let runtime = builder
        .enable_all()
        .build()
        .context("cannot start the async runtime")?;
    let output = runtime.block_on(future);
    // What is still blocked (a name lookup, a read of standard input) must not delay the exit.
    runtime.shutdown_background();
    Ok(output)
}
