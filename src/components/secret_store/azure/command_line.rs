//! How `az` is run.

use std::ffi::OsStr;
use std::io;
use std::process::{Output, Stdio};
use std::time::Duration;

use async_trait::async_trait;
use azure_identity::Executor;
use tokio::process::Command;
use tokio::time::timeout;

use super::transport::cause;
use crate::base::environment::{Environment, is_reserved};

/// How long it may take (Dapr 1.18).
const TIMEOUT: Duration = Duration::from_secs(30);

/// Runs programs with the sidecar's environment, but for what is the sidecar's own.
#[derive(Debug)]
pub(super) struct CommandLine(pub(super) Environment);

#[async_trait]
impl Executor for CommandLine {
    async fn run(&self, program: &OsStr, args: &[&OsStr]) -> io::Result<Output> {
        let own = self.0.iter().filter(|(name, _)| !is_reserved(name));
        let output = Command::new(program)
            .args(args)
            .env_clear()
            .envs(own)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        match timeout(TIMEOUT, output).await {
            Ok(output) => output,
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }
}

/// Why it gave no token.
pub(super) enum Failure {
    /// No `az`, or no shell to find it with.
    NotThere,
    Late,
    /// It said no, as where nobody is logged in.
    Refused,
}

/// Tells the SDK's errors apart, of which it has one kind.
pub(super) fn failure(error: &azure_core::Error) -> Failure {
    match cause::<io::Error>(error).map(io::Error::kind) {
        Some(io::ErrorKind::NotFound) => Failure::NotThere,
        Some(io::ErrorKind::TimedOut) => Failure::Late,
        _ if error.to_string().contains("az not found on PATH") => Failure::NotThere,
        _ => Failure::Refused,
    }
}
