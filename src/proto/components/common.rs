//! What all components have in common.

use std::collections::BTreeMap;
use std::fmt;

/// The settings of a component. There are secrets among them.
#[derive(Clone, PartialEq, Eq, ::prost::Message)]
#[prost(skip_debug)]
pub struct MetadataRequest {
    /// Their names and values.
    #[prost(btree_map = "string, string", tag = "1")]
    pub properties: BTreeMap<String, String>,
}

impl fmt::Debug for MetadataRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.properties.keys()).finish()
    }
}

/// Starts a component. Every service has the same message under a name of its own.
#[derive(Clone, PartialEq, Eq, ::prost::Message)]
pub struct InitRequest {
    /// The settings of the component.
    #[prost(message, optional, tag = "1")]
    pub metadata: Option<MetadataRequest>,
}

/// What a component can do.
#[derive(Clone, PartialEq, Eq, ::prost::Message)]
pub struct FeaturesResponse {
    /// In the words of `/v1.0/metadata`.
    #[prost(string, repeated, tag = "1")]
    pub features: Vec<String>,
}

/// Why a message was not dealt with (`AckMessageError`, `AckResponseError`).
#[derive(Clone, PartialEq, Eq, ::prost::Message)]
pub struct AckError {
    /// The text.
    #[prost(string, tag = "1")]
    pub message: String,
}
