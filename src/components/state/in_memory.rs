//! State in the memory of the sidecar (`state.in-memory`).

use async_trait::async_trait;

use super::{Feature, Get, Item, Operation, StateError, StateStore};

/// Values that end with the process.
#[derive(Debug, Default)]
pub struct InMemory;

#[async_trait]
impl StateStore for InMemory {
    fn features(&self) -> &[Feature] {
        &[]
    }

    async fn get(&self, _get: &Get) -> Result<Option<Item>, StateError> {
        Ok(None)
    }

    async fn get_all(
        &self,
        gets: &[Get],
        _parallelism: usize,
    ) -> Vec<Result<Option<Item>, StateError>> {
        gets.iter().map(|_| Ok(None)).collect()
    }

    async fn write(&self, _operation: Operation) -> Result<(), StateError> {
        Err(StateError::Refused("not there yet".to_owned()))
    }

    async fn transact(&self, _operations: Vec<Operation>) -> Result<(), StateError> {
        Err(StateError::Refused("not there yet".to_owned()))
    }
}
