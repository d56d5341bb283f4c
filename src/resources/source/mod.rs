//! Where resources come from.

pub mod cluster;
pub mod files;
