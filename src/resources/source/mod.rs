//! Where resources come from.

pub mod files;
