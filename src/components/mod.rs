//! Back ends behind traits: one file a back end.

pub mod secret_store;
