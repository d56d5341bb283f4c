//! What limits the components: the Configuration and the policy.

use std::sync::Arc;

use crate::resources::configuration::Configuration;
use crate::resources::decode::Document;
use crate::resources::sidecar_policy::{DefaultAccess, Policy};
use crate::resources::{Error as ResourceError, Origin};

/// The rules at one moment. Cheap to clone.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Rules {
    pub(super) configuration: Arc<Configuration>,
    pub(super) policy: Arc<Policy>,
}

/// Which policy counts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Choice<'a> {
    /// The name of the policy, where one is given.
    pub(super) name: Option<&'a str>,
    /// The namespace, where the environment has one.
    pub(super) namespace: Option<&'a str>,
    /// The least strict default access.
    pub(super) default_access: DefaultAccess,
}

/// The part of a configuration that counts at the next start only.
pub(super) fn at_next_start(configuration: &Configuration) -> Configuration {
    Configuration {
        secret_scopes: Vec::new(),
        denied_components: Vec::new(),
        ..configuration.clone()
    }
}

/// A policy that is named and cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// There is none of that name.
    #[error(
        "policy {name:?} is not there: none of the resources is a SidecarPolicy \
         (sidegate.dev/v1alpha1) of that name{}",
        .in_the_way.as_ref().map(|problem| format!("; {problem}")).unwrap_or_default()
    )]
    Missing {
        /// What `--policy` names.
        name: String,
        /// Why policies of the cluster cannot be read.
        in_the_way: Option<String>,
    },
    /// There are several of that name.
    #[error("policy {name:?} is there twice: {} and {}", .places[0], .places[1])]
    Duplicate {
        /// What `--policy` names.
        name: String,
        /// Where the first two stand.
        places: Box<[Origin; 2]>,
    },
    /// It cannot be read.
    #[error("policy {name:?} cannot be used")]
    Unreadable {
        /// What `--policy` names.
        name: String,
        /// Why.
        #[source]
        cause: Box<ResourceError>,
    },
}

impl Choice<'_> {
    /// The policy among those that are written down; without a name, the one that adds no limit to
    /// the default access.
    pub(super) fn policy(
        self,
        written: &[Document],
        in_the_way: Option<String>,
    ) -> Result<Policy, PolicyError> {
        let mut policy = self.written(written, in_the_way)?;
        policy.default_access = policy.default_access.max(self.default_access);
        Ok(policy)
    }

    fn written(
        self,
        written: &[Document],
        in_the_way: Option<String>,
    ) -> Result<Policy, PolicyError> {
        let Some(name) = self.name else {
            return Ok(Policy::default());
        };
        let is_it = |document: &&Document| {
            let namespace = document.metadata("namespace").filter(|own| !own.is_empty());
            document.metadata("name") == Some(name)
                && namespace.is_none_or(|own| self.namespace.is_none_or(|current| own == current))
        };
        let name = name.to_owned();
        let mut chosen = written.iter().filter(is_it);
        match (chosen.next(), chosen.next()) {
            (None, _) => Err(PolicyError::Missing { name, in_the_way }),
            (Some(first), Some(second)) => Err(PolicyError::Duplicate {
                name,
                places: Box::new([first.origin.clone(), second.origin.clone()]),
            }),
            (Some(document), None) => {
                Policy::decode(document.clone()).map_err(|cause| PolicyError::Unreadable {
                    name,
                    cause: Box::new(cause),
                })
            }
        }
    }

    /// Warnings about policies that limit nothing, though the user may think that they do.
    pub(super) fn without_effect(self, written: &[Document]) -> impl Iterator<Item = String> {
        let unnamed = if self.name.is_none() { written } else { &[] };
        unnamed.iter().map(|document| {
            let name = document.metadata("name").unwrap_or_default();
            let origin = &document.origin;
            format!("{origin}: SidecarPolicy {name:?} has no effect: --policy does not name it")
        })
    }
}
