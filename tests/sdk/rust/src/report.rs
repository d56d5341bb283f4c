//! Tells the outcome of cases, one line each, in the file $SDK_RESULTS.

use std::error::Error;
use std::fs::File;
use std::future::Future;
use std::io::Write as _;

/// Why a case failed.
pub(crate) type Failure = Box<dyn Error + Send + Sync>;

/// The outcomes of cases.
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

    /// Runs a case now.
    pub(crate) async fn run<F>(&mut self, name: &str, case: F) -> Result<(), Failure>
    where
        F: Future<Output = Result<(), Failure>>,
    {
        let mut outcome = "PASS";
        if let Err(failure) = case.await {
            eprintln!("{name}: {failure}");
            outcome = "FAIL";
            self.failed = true;
        }
        writeln!(self.results, "{outcome} rust {name}")?;
        Ok(())
    }

    /// Whether no case failed.
    pub(crate) fn passed(&self) -> bool {
        !self.failed
    }
}
