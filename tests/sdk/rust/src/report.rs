//! Tells the outcome of the steps of the common script, one line each, in the file $SDK_RESULTS.

use std::error::Error;
use std::fmt;
use std::fs::File;
use std::io::Write as _;

/// Why a step failed.
pub(crate) type Failure = Box<dyn Error + Send + Sync>;

/// What there is to say of a step.
#[derive(Clone, Copy)]
pub(crate) enum Note {
    /// Nothing: the client of the SDK does it.
    Client,
    /// Only the stubs of the SDK can do it.
    Stubs,
    /// The SDK cannot do it, and why.
    Lacks(&'static str),
}

/// The steps in their order.
pub(crate) fn steps() -> Result<Vec<String>, Failure> {
    let text = std::fs::read_to_string(std::env::var("SDK_STEPS")?)?;
    let is_name = |line: &&str| !line.is_empty() && !line.starts_with('#');
    Ok(text.lines().filter(is_name).map(str::to_owned).collect())
}

/// Fails unless two values are equal.
pub(crate) fn equal<T: PartialEq + fmt::Debug>(value: T, expected: T) -> Result<(), Failure> {
    holds(value == expected, || format!("{value:?}, not {expected:?}"))
}

/// Fails with this text unless it holds.
pub(crate) fn holds(it: bool, otherwise: impl FnOnce() -> String) -> Result<(), Failure> {
    if it { Ok(()) } else { Err(otherwise().into()) }
}

/// Fails unless what a call of the client told has this code, which the SDK shows in this way only.
pub(crate) fn has_code<T, E: fmt::Debug>(told: Result<T, E>, code: &str) -> Result<(), Failure> {
    let told = format!("{:?}", told.err());
    holds(told.contains(code), || format!("it was told {told}"))
}

/// The outcomes of steps.
pub(crate) struct Report {
    results: File,
    failed: bool,
}

impl Report {
    /// Opens the file.
    pub(crate) fn open() -> Result<Self, Failure> {
        let path = std::env::var("SDK_RESULTS")?;
        let results = File::options().create(true).append(true).open(path)?;
        let failed = false;
        Ok(Self { results, failed })
    }

    /// Takes a step now, unless the SDK lacks it.
    pub(crate) async fn take<F>(&mut self, name: &str, note: Note, step: F) -> Result<(), Failure>
    where
        F: Future<Output = Result<(), Failure>>,
    {
        let told = format!("rust/grpc {name}");
        if let Note::Lacks(why) = note {
            writeln!(self.results, "LACKS {told} | {why}")?;
            return Ok(());
        }
        let mut outcome = "PASS";
        if let Err(failure) = step.await {
            eprintln!("{name}: {failure}");
            outcome = "FAIL";
            self.failed = true;
        }
        let note = match note {
            Note::Stubs => " | With the SDK's stubs: its client has no call for it.",
            _ => "",
        };
        writeln!(self.results, "{outcome} {told}{note}")?;
        Ok(())
    }

    /// Whether no step failed.
    pub(crate) fn passed(&self) -> bool {
        !self.failed
    }
}
