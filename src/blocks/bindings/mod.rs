//! Bindings: operations of services outside, and events that come from them.
