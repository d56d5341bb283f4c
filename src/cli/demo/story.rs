//! What the demo prints: numbered steps, requests with their answers, checks.

use std::process::ExitCode;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response};
use http_body_util::Full;

use super::shown;
use super::stage::Sidecar;
use crate::base::secret::Secret;
use crate::base::token::TOKEN_HEADER;
use crate::cli::loopback::send;
use crate::cli::paint::{Colour, Paint};

/// The longest answer that is shown whole.
const SHOWN_CHARS: usize = 160;

/// The story so far.
pub(super) struct Story {
    paint: Paint,
    step: u32,
    passed: u32,
    failed: u32,
}

impl Story {
    pub(super) fn new(paint: Paint) -> Self {
        Self {
            paint,
            step: 0,
            passed: 0,
            failed: 0,
        }
    }

    /// Begins a step.
    pub(super) fn step(&mut self, title: &str) {
        self.step += 1;
        let title = format!("{}. {title}", self.step);
        println!("\n{}", self.paint.paint(Colour::Cyan, &title));
    }

    /// Shows text, each line indented.
    pub(super) fn say(&self, text: &str) {
        for line in text.lines() {
            println!("   {}", self.paint.paint(Colour::Dim, line));
        }
    }

    /// Shows a request line.
    pub(super) fn request(&self, line: &str) {
        println!("   → {line}");
    }

    /// Shows the status of an answer, and its body where that is short.
    pub(super) fn answer(&self, answer: &Response<Bytes>) {
        let text = String::from_utf8_lossy(answer.body());
        let mut shown: String = text.trim().chars().take(SHOWN_CHARS).collect();
        if shown.len() < text.trim().len() {
            shown.push('…');
        }
        let line = format!("← {} {shown}", answer.status());
        println!("   {}", line.trim_end());
    }

    /// Shows whether something is as it should be.
    pub(super) fn check(&mut self, holds: bool, what: &str) {
        let mark = if holds {
            self.passed += 1;
            self.paint.paint(Colour::Green, "✓")
        } else {
            self.failed += 1;
            self.paint.paint(Colour::Red, "✗")
        };
        println!("   {mark} {what}");
    }

    /// Sends a request to a sidecar, with a token or without, and shows it with its answer.
    pub(super) async fn ask(
        &self,
        sidecar: &Sidecar,
        (method, path): (Method, &str),
        token: Option<&Secret>,
    ) -> anyhow::Result<Response<Bytes>> {
        let mut request = Request::builder().method(&method).uri(path);
        let mut line = format!("{method} {path}");
        if let Some(token) = token {
            // The one way to show a token to a sidecar.
            let mut value = HeaderValue::from_str(token.expose())?;
            value.set_sensitive(true);
            request = request.header(TOKEN_HEADER, value);
            line = format!("{line}   {TOKEN_HEADER}: {}", shown(token));
        }
        self.request(&line);
        let answer = send(sidecar.port, request.body(Full::default())?).await?;
        self.answer(&answer);
        Ok(answer)
    }

    /// Sums up, and hands back the exit code.
    pub(super) fn end(&self) -> ExitCode {
        let (passed, failed) = (self.passed, self.failed);
        let (colour, code) = match failed {
            0 => (Colour::Green, ExitCode::SUCCESS),
            _ => (Colour::Red, ExitCode::FAILURE),
        };
        let sum = format!("{passed} checks passed, {failed} failed");
        println!("\n{}", self.paint.paint(colour, &sum));
        code
    }
}
