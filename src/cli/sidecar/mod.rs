//! `sidegate sidecar`, also as `daprd`.

mod access;
mod app;
mod config;
mod flags;
mod identity;
mod listen;
mod messages;
mod mtls;
mod notices;
mod peers;
mod resources;
mod server;
mod size;
mod sockets;
mod traces;
mod wait;

use std::ffi::OsString;
use std::fs::File;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use clap::{Args as _, Command, FromArgMatches as _};
use tokio_util::sync::CancellationToken;
use tracing::error;

use super::runtime::block_on;
use crate::base::environment::Environment;
use crate::process::log_format::{self, LogConfig};
use crate::process::shutdown::watch_signals;
use crate::process::tasks::with_causes;

pub use config::{Config, ConfigError};
pub(crate) use flags::Args;
pub use server::{Ended, Sidecar};
pub use sockets::Addresses;

impl Config {
    /// Reads a command line, without the name of the program, and the environment.
    ///
    /// # Errors
    ///
    /// Flags that are not known; everything that is wrong with their values, at once.
    pub fn parse<T: Into<OsString> + Clone>(
        arguments: impl IntoIterator<Item = T>,
        environment: &Environment,
    ) -> anyhow::Result<Self> {
        let command = as_pflag(Args::augment_args(Command::new("sidecar")));
        let command = command.no_binary_name(true).args_override_self(true);
        let matches = command.try_get_matches_from(arguments)?;
        let args = Args::from_arg_matches(&matches)?;
        Ok(Self::new(&args, environment)?)
    }
}

/// Flags take any text as their value, one that begins with `-` too, as Go's pflag does.
pub(super) fn as_pflag(command: Command) -> Command {
    command.mut_args(|arg| {
        let takes_next = arg.get_action().takes_values() && !arg.is_require_equals_set();
        let is_flag = arg.get_long().is_some();
        arg.allow_hyphen_values(takes_next && is_flag)
    })
}

/// Runs a sidecar until a signal or a caller ends it.
pub(super) fn run(args: &Args, environment: &Environment) -> anyhow::Result<ExitCode> {
    let version = env!("CARGO_PKG_VERSION");
    if args.version == Some(true) {
        println!("{version}");
        return Ok(ExitCode::SUCCESS);
    }
    if args.build_info == Some(true) {
        println!("Version: {version}\nGit Commit: unknown\nGit Version: unknown");
        return Ok(ExitCode::SUCCESS);
    }
    if args.wait == Some(true) {
        let waited = block_on(args.runtime, wait::until_usable(&args.dapr_http_port))?;
        return waited.map(|()| ExitCode::SUCCESS);
    }
    install_log(args, environment)?;
    let ended = block_on(args.runtime, serve(args, environment))?;
    Ok(match ended {
        Ok(Ended::Drained) => ExitCode::SUCCESS,
        Ok(Ended::Forced) => ExitCode::FAILURE,
        Err(failure) => {
            let failure = with_causes(failure.as_ref());
            error!("Fatal error from runtime: {failure}");
            ExitCode::FAILURE
        }
    })
}

async fn serve(args: &Args, environment: &Environment) -> anyhow::Result<Ended> {
    let config = Config::new(args, environment)?;
    let stop = CancellationToken::new();
    let running = async {
        let sidecar = Sidecar::bind(config).await?;
        sidecar.run(stop.clone()).await
    };
    tokio::select! {
        ended = running => ended,
        failed = watch_signals(stop.clone(), CancellationToken::new()) => {
            failed.context("cannot wait for signals")?;
            Ok(Ended::Drained)
        }
    }
}

fn install_log(args: &Args, environment: &Environment) -> anyhow::Result<()> {
    let config = LogConfig {
        level: args.log_level.clone(),
        json: args.log_as_json == Some(true),
        app_id: args.app_id.clone(),
        instance: super::environment::host_name(environment),
    };
    match args.log_file.as_deref() {
        Some(path) if !path.is_empty() => {
            let open = File::options().create(true).append(true).open(path);
            let file = open.with_context(|| format!("cannot open the log file {path:?}"))?;
            log_format::install_to(config, Arc::new(file))?;
        }
        _ => log_format::install(config)?,
    }
    Ok(())
}
