//! `sidegate check`: what does not work, why, and what to do.

mod kubernetes;
mod report;
mod webhook;

use std::process::ExitCode;

use clap::Subcommand;

use self::report::Report;
use super::paint::Paint;
use super::runtime::{RuntimeArgs, block_on};
use crate::base::environment::Environment;

/// Find out what does not work, why, and what to do
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    Webhook(webhook::Args),
}

/// Checks until the first failure that the rest depends on.
pub(super) fn run(args: &Args, environment: &Environment) -> anyhow::Result<ExitCode> {
    let paint = Paint::of(&std::io::stdout(), environment);
    block_on(RuntimeArgs::default(), async {
        let mut report = Report::new(paint);
        match &args.what {
            What::Webhook(args) => webhook::check(args, &mut report).await,
        }
        report.exit_code()
    })
}
