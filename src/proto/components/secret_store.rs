//! The messages of `dapr.proto.components.v1.SecretStore`. `Debug` shows no value.

use std::collections::BTreeMap;
use std::fmt;

/// Asks for one secret.
#[derive(Clone, PartialEq, Eq, ::prost::Message)]
pub struct GetSecretRequest {
    /// Its name.
    #[prost(string, tag = "1")]
    pub key: String,
    /// The parameters of the request.
    #[prost(btree_map = "string, string", tag = "2")]
    pub metadata: BTreeMap<String, String>,
}

/// One secret.
#[derive(Clone, PartialEq, Eq, ::prost::Message)]
#[prost(skip_debug)]
pub struct GetSecretResponse {
    /// Its keys with their values.
    #[prost(btree_map = "string, string", tag = "1")]
    pub data: BTreeMap<String, String>,
}

impl fmt::Debug for GetSecretResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.data.keys()).finish()
    }
}

/// Asks for all secrets.
#[derive(Clone, PartialEq, Eq, ::prost::Message)]
pub struct BulkGetSecretRequest {
    /// The parameters of the request.
    #[prost(btree_map = "string, string", tag = "1")]
    pub metadata: BTreeMap<String, String>,
}

/// One secret of several.
#[derive(Clone, PartialEq, Eq, ::prost::Message)]
#[prost(skip_debug)]
pub struct SecretResponse {
    /// Its keys with their values.
    #[prost(btree_map = "string, string", tag = "1")]
    pub secrets: BTreeMap<String, String>,
}

impl fmt::Debug for SecretResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.secrets.keys()).finish()
    }
}

/// All secrets.
#[derive(Clone, PartialEq, Eq, ::prost::Message)]
pub struct BulkGetSecretResponse {
    /// Each by its name.
    #[prost(btree_map = "string, message", tag = "1")]
    pub data: BTreeMap<String, SecretResponse>,
}
