//! What is in front of an app's keys in a store (`keyPrefix`).

use crate::components::metadata::{self, Reader};

/// What stands between a prefix and a key. No key of an app holds it.
pub const SEPARATOR: &str = "||";

/// What is in front of keys. In the store, a prefix and a key have [`SEPARATOR`] between them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum KeyPrefix {
    /// The id of the app: apps do not see each other's keys.
    #[default]
    AppId,
    /// The name of the component: apps with the same component share keys.
    Name,
    /// The namespace and the id of the app, with a dot between.
    Namespace,
    /// Nothing.
    None,
    /// A text that the component names.
    Literal(String),
}

/// Whose keys they are.
#[derive(Clone, Copy, Debug)]
pub struct Owner<'a> {
    /// The app.
    pub app_id: &'a str,
    /// Its namespace; may be empty.
    pub namespace: &'a str,
    /// The component.
    pub component: &'a str,
}

impl KeyPrefix {
    /// Reads `keyPrefix`. Its words are known in any case, as in Dapr 1.18.
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, metadata::Error> {
        let Some(text) = reader.text(&["keyPrefix"])? else {
            return Ok(Self::default());
        };
        match text.to_lowercase().as_str() {
            "" | "appid" => Ok(Self::AppId),
            "name" => Ok(Self::Name),
            "namespace" => Ok(Self::Namespace),
            "none" => Ok(Self::None),
            _ if text.contains(SEPARATOR) => Err(metadata::Error::Invalid {
                name: "keyPrefix",
                accepted: "appid, name, namespace, none, or a text without \"||\"",
            }),
            _ => Ok(Self::Literal(text.to_owned())),
        }
    }

    /// A key as it is in the store.
    pub fn stored(&self, owner: Owner<'_>, key: &str) -> String {
        let Owner {
            app_id,
            namespace,
            component,
        } = owner;
        match self {
            Self::AppId => format!("{app_id}{SEPARATOR}{key}"),
            Self::Name => format!("{component}{SEPARATOR}{key}"),
            Self::Namespace if namespace.is_empty() => format!("{app_id}{SEPARATOR}{key}"),
            Self::Namespace => format!("{namespace}.{app_id}{SEPARATOR}{key}"),
            Self::None => key.to_owned(),
            Self::Literal(prefix) => format!("{prefix}{SEPARATOR}{key}"),
        }
    }
}
