//! The command line: flags and environment become the modules' own configuration, and the modules
//! are wired together. One file a subcommand. Nobody else reads the environment.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "commands talk to people on standard output and standard error"
)]

mod admission;
mod argv;
mod check;
mod demo;
mod environment;
#[cfg(test)]
mod flags_page;
mod inject;
mod injector;
mod injector_certificate;
mod injector_config;
mod loopback;
mod paint;
mod processes;
mod run;
mod runtime;
pub mod sidecar;

use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use crate::process::tasks::with_causes;

/// A Kubernetes sidecar injector and the sidecar that it injects, compatible with Dapr's
#[derive(Debug, Parser)]
#[command(name = "sidegate", version, args_override_self = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Check(check::Args),
    Demo(demo::Args),
    Inject(Box<inject::Args>),
    Injector(Box<injector::Args>),
    Run(run::Args),
    Sidecar(Box<sidecar::Args>),
}

/// Runs the command that the arguments of the process ask for. Exit codes: 0 when all went well,
/// 2 for a command line that is not understood, 1 for every other failure unless the command says
/// otherwise.
pub fn main() -> ExitCode {
    let command = Cli::command().mut_subcommand("sidecar", sidecar::as_pflag);
    let argv = argv::normalise(std::env::args_os(), &command);
    let parsed = command.try_get_matches_from(argv);
    let cli = match parsed.and_then(|matches| Cli::from_arg_matches(&matches)) {
        Ok(cli) => cli,
        Err(message) => {
            // The text of --help goes to standard output, and its code is 0.
            let _ = message.print();
            return ExitCode::from(if message.use_stderr() { 2 } else { 0 });
        }
    };
    crate::tls::install_provider();
    let environment = environment::read();
    let outcome = match cli.command {
        Command::Check(args) => check::run(&args, &environment),
        Command::Demo(args) => demo::run(&args, &environment),
        Command::Inject(args) => inject::run(&args),
        Command::Injector(args) => injector::run(&args, &environment),
        Command::Run(args) => run::run(&args, &environment),
        Command::Sidecar(args) => sidecar::run(&args, &environment),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("error: {}", with_causes(error.as_ref()));
        ExitCode::FAILURE
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_tree_is_sound() {
        Cli::command().debug_assert();
    }
}
