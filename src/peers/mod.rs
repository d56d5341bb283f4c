//! The road to other sidecars.
