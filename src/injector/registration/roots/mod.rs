//! Where the bundle comes from that webhook configurations are to hold.

pub mod file;
pub mod kubernetes;
