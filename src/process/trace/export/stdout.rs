//! A line of the log for each span: the log goes to standard output, and one form of lines there is
//! easier to read than two.

use std::sync::Arc;

use tracing::info;

use super::zipkin::tags;
use crate::process::trace::context::Hex;
use crate::process::trace::span::{Outcome, Record};

/// Logs a batch.
pub(super) fn export(batch: &[Arc<Record>]) {
    for record in batch {
        let attributes: Vec<String> = tags(record)
            .into_iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let parent = record.parent.map(|id| Hex(&id).to_string());
        info!(
            target: "dapr.trace",
            name = %record.name,
            trace_id = %Hex(record.context.trace_id()),
            span_id = %Hex(record.context.span_id()),
            parent_id = parent.unwrap_or_default(),
            duration_us = u64::try_from(record.duration.as_micros()).unwrap_or(u64::MAX),
            failed = matches!(record.outcome, Outcome::Failed(_)),
            attributes = attributes.join(" "),
            "Span"
        );
    }
}
