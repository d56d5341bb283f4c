//! One line a check.

use std::process::ExitCode;

use crate::cli::paint::{Colour, Paint};

/// A check that failed.
#[derive(Debug)]
pub(super) struct Failure {
    /// What was looked at, and what is wrong with it.
    pub(super) cause: String,
    /// What to do.
    pub(super) fix: String,
}

/// What is printed, and whether all was well.
pub(super) struct Report {
    paint: Paint,
    failed: bool,
}

impl Report {
    pub(super) fn new(paint: Paint) -> Self {
        Self {
            paint,
            failed: false,
        }
    }

    /// Prints a check, and hands on what it found.
    pub(super) fn line<T>(&mut self, checked: Result<(T, String), Failure>) -> Option<T> {
        match checked {
            Ok((found, text)) => {
                println!("{} {text}", self.paint.paint(Colour::Green, "✓"));
                Some(found)
            }
            Err(Failure { cause, fix }) => {
                self.failed = true;
                println!("{} {cause}; {fix}", self.paint.paint(Colour::Red, "✗"));
                None
            }
        }
    }

    pub(super) fn exit_code(&self) -> ExitCode {
        if self.failed {
            ExitCode::FAILURE
        } else {
            ExitCode::SUCCESS
        }
    }
}
