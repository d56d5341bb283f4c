//! The resiliency that counts, kept in line with what is written.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::plan::Filter;
use crate::resiliency::Resiliency;
use crate::resources::Error;
use crate::resources::resiliency::Resiliency as Document;

/// The documents and what they say together.
#[derive(Default)]
pub(super) struct Resiliencies {
    written: Vec<Document>,
    current: Arc<Resiliency>,
}

impl Resiliencies {
    /// What counts.
    pub(super) fn current(&self) -> Arc<Resiliency> {
        Arc::clone(&self.current)
    }

    /// What is written and has no effect.
    pub(super) fn warnings(&self) -> impl Iterator<Item = String> {
        self.current.warnings().iter().cloned()
    }

    /// Takes over what is written now, as far as it is for this sidecar. Documents use each other's
    /// policies, so where one that counted has become a problem, all stay as they were.
    ///
    /// # Errors
    ///
    /// Every target that names a policy which no document has; what counted still counts.
    pub(super) fn take(
        &mut self,
        mut written: Vec<Document>,
        problems: &[Error],
        filter: &Filter<'_>,
    ) -> Result<(), Vec<Error>> {
        let places: BTreeSet<_> = problems.iter().map(Error::place).collect();
        let mut counted = self.written.iter();
        if counted.any(|old| places.contains(&old.origin.place())) {
            return Ok(());
        }
        written.retain(|document| filter.admits(document.namespace.as_deref(), &document.scopes));
        if written == self.written {
            return Ok(());
        }
        self.current = Arc::new(Resiliency::new(&written, &self.current)?);
        self.written = written;
        Ok(())
    }
}
