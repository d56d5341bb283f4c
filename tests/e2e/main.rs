//! The users' story on a real Kubernetes node, asserted by real pods. `make e2e` runs it.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a scenario fails by panicking, its outcome is printed, and variables choose it"
)]

mod cluster;
mod pods;
mod scenarios;

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::Instant;

use cluster::Cluster;

fn main() -> ExitCode {
    let cluster = Cluster::of_environment();
    let only = std::env::var("E2E_ONLY").unwrap_or_default();
    let only: BTreeSet<_> = only.split(',').filter(|name| !name.is_empty()).collect();
    let left_out = std::env::var("E2E_LEFT_OUT").unwrap_or_default();
    let (mut passed, mut failed) = (0, Vec::new());
    for (name, what, scenario) in scenarios::ALL {
        // The others need what the first installs.
        if !only.is_empty() && !only.contains(name) && *name != "install" {
            continue;
        }
        if *name == left_out {
            println!("skipped: {name}: what it needs is not there");
            continue;
        }
        println!("-- {name}: {what}");
        let start = Instant::now();
        let outcome = catch_unwind(AssertUnwindSafe(|| scenario(&cluster)));
        let seconds = start.elapsed().as_secs_f32();
        if outcome.is_ok() {
            passed += 1;
            println!("ok {name} ({seconds:.1} s)");
        } else {
            failed.push(*name);
            println!("FAILED {name} ({seconds:.1} s)");
            cluster.print_state();
            if *name == "install" {
                break;
            }
        }
    }
    println!(
        "{passed} passed, {} failed {}",
        failed.len(),
        failed.join(" ")
    );
    if failed.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
