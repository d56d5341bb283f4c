//! Subscriptions: which messages of which topic go where in the app, as written.

use std::collections::BTreeMap;
use std::time::Duration;

use super::decode::Document;
use super::{Error, Origin};

/// The kind of subscriptions.
pub const KIND: &str = "Subscription";

/// The group and the newer version of subscriptions. The older is that of all other resources.
pub const API_VERSION: &str = "dapr.io/v2alpha1";

/// A subscription as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// Where it stands.
    pub origin: Origin,
    /// Its name.
    pub name: String,
    /// Its namespace, where the manifest has one.
    pub namespace: Option<String>,
    /// The apps that it is for; empty means all.
    pub scopes: Vec<String>,
    /// What it says.
    pub spec: Spec,
}

/// What a subscription says, whoever says it: a manifest, an app or a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spec {
    /// The component of pub/sub.
    pub pubsub: String,
    /// The topic.
    pub topic: String,
    /// Where in the app its messages go.
    pub routes: Routes,
    /// What the broker is told.
    pub metadata: BTreeMap<String, String>,
    /// Where messages go that the app does not take.
    pub dead_letter_topic: Option<String>,
    /// Whether messages are delivered together.
    pub bulk: Option<Bulk>,
}

/// Where in the app messages go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Routes {
    /// The first whose expression is true of a message decides.
    pub rules: Vec<Rule>,
    /// Where the others go; none: nowhere.
    pub default: Option<String>,
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// An expression in CEL over `event`.
    pub expression: String,
    /// The path of the app.
    pub path: String,
}

/// Delivery of messages together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bulk {
    /// The most messages together.
    pub most: usize,
    /// How long the first of them waits for others.
    pub wait: Duration,
}

impl Subscription {
    /// Reads a subscription of either version.
    pub(crate) fn decode(_document: Document) -> Result<Self, Error> {
        unimplemented!("issue 7")
    }
}
