//! Fills in the references of components and endpoints: secrets, variables, placeholders.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::referrer::Referrer;
use crate::base::environment::{Environment, is_reserved};
use crate::base::secret::Secret;
use crate::base::uuid;
use crate::components::secret_store::SecretMap;
use crate::components::{ResolvedComponent, ResolvedProperty};
use crate::registry::snapshot::LoadedSecretStore;
use crate::resources::component::Component;
use crate::resources::property::Source;

/// A reference that cannot be filled in.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{kind} {name:?}, property {property:?}: {problem}")]
pub(super) struct Error {
    /// `component`, or the kind of the resource.
    pub kind: &'static str,
    /// Its name.
    pub name: String,
    /// The property.
    pub property: String,
    /// Why.
    pub problem: Box<Problem>,
}

/// Why a reference cannot be filled in.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum Problem {
    /// The manifest names no store.
    #[error("secretKeyRef {secret:?} needs a secret store: name one in \"auth.secretStore\"")]
    NoStore {
        /// The secret.
        secret: String,
    },
    /// The store does not run.
    #[error("secret {secret:?} is in secret store {store:?}, which is not loaded")]
    StoreNotLoaded {
        /// The store.
        store: String,
        /// The secret.
        secret: String,
    },
    /// The store could not answer.
    #[error("secret {secret:?} could not be read from secret store {store:?}")]
    StoreFailed {
        /// The store.
        store: String,
        /// The secret.
        secret: String,
        /// What the store says, for operators.
        cause: String,
    },
    /// The scopes of the store deny it.
    #[error(
        "access denied by policy to secret {secret:?} of secret store {store:?}: the SidecarPolicy \
         makes scopes count for components"
    )]
    Denied {
        /// The store.
        store: String,
        /// The secret.
        secret: String,
    },
    /// The store has no such secret.
    #[error("secret store {store:?} has no secret {secret:?}")]
    NoSecret {
        /// The store.
        store: String,
        /// The secret.
        secret: String,
    },
    /// The secret has no such key.
    #[error("secret {secret:?} of secret store {store:?} has no key {key:?}")]
    NoKey {
        /// The store.
        store: String,
        /// The secret.
        secret: String,
        /// The key.
        key: String,
    },
    /// A variable that components may not read.
    #[error("envRef {variable:?} is not allowed: {reason}")]
    Forbidden {
        /// The variable.
        variable: String,
        /// Why.
        reason: &'static str,
    },
    /// A variable that is not set.
    #[error("envRef {variable:?} is not set")]
    NotSet {
        /// The variable.
        variable: String,
    },
    /// A placeholder without a value.
    #[error("placeholder {{podName}} needs the variable \"POD_NAME\"")]
    NoPodName,
}

/// What references and placeholders are filled in from.
pub(super) struct Resolver<'a> {
    /// The environment.
    pub environment: &'a Environment,
    /// The id of the app.
    pub app_id: &'a str,
    /// The namespace, where the environment has one.
    pub namespace: Option<&'a str>,
    /// The store that a reference means which names none.
    pub default_store: Option<&'a str>,
    /// Whether the scopes of stores limit components too.
    pub scopes_apply: bool,
}

impl Error {
    /// What only operators should know.
    pub(super) fn detail(&self) -> Option<String> {
        match self.problem.as_ref() {
            Problem::StoreFailed { cause, .. } => Some(cause.clone()),
            _ => None,
        }
    }
}

/// The values that references stand for, in the order of the properties; `None` for a property
/// that holds its value itself.
pub(super) type References = Vec<Option<Secret>>;

impl Resolver<'_> {
    /// Reads the references of a component or endpoint. Each secret is read once. Scopes limit the
    /// app; these reads only where the policy says so (never in Dapr 1.18).
    pub(super) async fn references(
        &self,
        referrer: &Referrer<'_>,
        stores: impl Fn(&str) -> Option<Arc<LoadedSecretStore>>,
    ) -> Result<References, Error> {
        let mut read: BTreeMap<&str, Arc<SecretMap>> = BTreeMap::new();
        let mut references = References::with_capacity(referrer.values.len());
        for (property, source) in &referrer.values {
            let value = match source {
                Source::Literal(_) => Ok(None),
                Source::Env(variable) => self.variable(variable).map(Some),
                Source::Secret { name, key } => {
                    let secret = match read.get(name.as_str()) {
                        Some(secret) => Ok(Arc::clone(secret)),
                        None => self.secret(referrer, name, &stores).await,
                    };
                    secret.and_then(|secret| {
                        read.insert(name, Arc::clone(&secret));
                        self.key(referrer, (name, key), &secret).map(Some)
                    })
                }
            };
            references.push(value.map_err(|problem| error(referrer, property, problem))?);
        }
        Ok(references)
    }

    async fn secret(
        &self,
        referrer: &Referrer<'_>,
        secret: &str,
        stores: &impl Fn(&str) -> Option<Arc<LoadedSecretStore>>,
    ) -> Result<Arc<SecretMap>, Problem> {
        let secret_name = || secret.to_owned();
        let Some(store) = referrer.store(self.default_store) else {
            return Err(Problem::NoStore {
                secret: secret_name(),
            });
        };
        let store_name = || store.to_owned();
        let Some(loaded) = stores(store) else {
            return Err(Problem::StoreNotLoaded {
                store: store_name(),
                secret: secret_name(),
            });
        };
        if self.scopes_apply && !loaded.permits(secret) {
            return Err(Problem::Denied {
                store: store_name(),
                secret: secret_name(),
            });
        }
        let metadata = referrer.parameters(self.namespace);
        match loaded.get_fresh(secret, &metadata).await {
            Ok(Some(found)) => Ok(found),
            Ok(None) => Err(Problem::NoSecret {
                store: store_name(),
                secret: secret_name(),
            }),
            Err(cause) => Err(Problem::StoreFailed {
                store: store_name(),
                secret: secret_name(),
                cause: cause.to_string(),
            }),
        }
    }

    fn key(
        &self,
        referrer: &Referrer<'_>,
        (secret, key): (&str, &str),
        keys: &SecretMap,
    ) -> Result<Secret, Problem> {
        keys.get(key).cloned().ok_or_else(|| Problem::NoKey {
            store: referrer
                .store(self.default_store)
                .unwrap_or_default()
                .to_owned(),
            secret: secret.to_owned(),
            key: key.to_owned(),
        })
    }

    fn variable(&self, variable: &str) -> Result<Secret, Problem> {
        let forbidden = |reason| {
            Err(Problem::Forbidden {
                variable: variable.to_owned(),
                reason,
            })
        };
        if is_reserved(variable) {
            return forbidden("it is the sidecar's own");
        }
        if variable.contains(' ') {
            return forbidden("a name has no spaces");
        }
        if let Some(keys) = self.environment.non_empty("DAPR_ENV_KEYS")
            && !keys.split_ascii_whitespace().any(|key| key == variable)
        {
            return forbidden("\"DAPR_ENV_KEYS\" does not list it");
        }
        match self.environment.value(variable) {
            Some(value) => Ok(Secret::new(value)),
            None => Err(Problem::NotSet {
                variable: variable.to_owned(),
            }),
        }
    }

    /// Puts references and literals together. Placeholders are replaced in literals only: a secret
    /// is taken as it is.
    pub(super) fn fill(
        &self,
        component: &Component,
        references: &References,
    ) -> Result<ResolvedComponent, Error> {
        let properties = component
            .properties
            .iter()
            .zip(references)
            .map(|(property, reference)| {
                let value = match (&property.source, reference) {
                    (Source::Literal(text), _) => self.substitute(text).map_err(|problem| {
                        error(&Referrer::from(component), &property.name, problem)
                    })?,
                    (_, reference) => reference.clone().unwrap_or_default(),
                };
                Ok(ResolvedProperty {
                    name: property.name.clone(),
                    value,
                    secret_name: property.source.secret().map(str::to_owned),
                })
            })
            .collect::<Result<_, Error>>()?;
        Ok(ResolvedComponent {
            name: component.name.clone(),
            component_type: component.component_type.clone(),
            version: component.version.clone(),
            properties,
        })
    }

    fn substitute(&self, text: &str) -> Result<Secret, Problem> {
        if !text.contains('{') {
            return Ok(Secret::new(text));
        }
        let mut text = text.to_owned();
        while text.contains("{uuid}") {
            text = text.replacen("{uuid}", &uuid::random(), 1);
        }
        if text.contains("{podName}") {
            let pod = self.environment.non_empty("POD_NAME");
            text = text.replace("{podName}", pod.ok_or(Problem::NoPodName)?);
        }
        let namespace = format!("{}.{}", self.namespace.unwrap_or("default"), self.app_id);
        let text = text.replace("{namespace}", &namespace);
        Ok(Secret::new(text.replace("{appID}", self.app_id)))
    }
}

fn error(referrer: &Referrer<'_>, property: &str, problem: Problem) -> Error {
    Error {
        kind: referrer.kind,
        name: referrer.name.to_owned(),
        property: property.to_owned(),
        problem: Box::new(problem),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_become_what_they_stand_for() {
        let environment: Environment = [("POD_NAME", "pod")].into_iter().collect();
        let resolver = Resolver {
            environment: &environment,
            app_id: "app",
            namespace: None,
            default_store: None,
            scopes_apply: false,
        };
        let substitute = |text: &str| resolver.substitute(text).unwrap().expose().to_owned();
        assert_eq!(
            substitute("{appID}-{podName}-{namespace}"),
            "app-pod-default.app"
        );
        assert_eq!(substitute("{other} {} {"), "{other} {} {");
        let uuids = substitute("{uuid} {uuid}");
        let (one, other) = uuids.split_once(' ').unwrap();
        assert_ne!(one, other);
        assert_eq!((one.len(), &one[14..15]), (36, "4"));
    }

    #[test]
    fn a_pod_name_has_to_be_known() {
        let resolver = Resolver {
            environment: &Environment::default(),
            app_id: "app",
            namespace: None,
            default_store: None,
            scopes_apply: false,
        };
        let problem = resolver.substitute("{podName}").unwrap_err();
        let text = "placeholder {podName} needs the variable \"POD_NAME\"";
        assert_eq!(problem.to_string(), text);
    }

    #[test]
    fn compares_fillings_by_value() {
        let filling = |values: &[Option<&str>]| -> References {
            values.iter().map(|value| value.map(Secret::new)).collect()
        };
        let one = filling(&[None, Some("a")]);
        assert!(one == filling(&[None, Some("a")]));
        for other in [
            &[][..],
            &[None, Some("b")],
            &[Some("a"), None],
            &[None, None],
        ] {
            assert!(one != filling(other));
        }
    }
}
