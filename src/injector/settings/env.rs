//! What the pod adds to the sidecar's environment.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{EnvVar, EnvVarSource, SecretKeySelector};

use crate::base::names::is_dns_subdomain;
use crate::injector::annotations::table as key;
use crate::injector::annotations::{Annotation, Annotations, shown, words};
use crate::injector::denial::{Denial, DenyReason};

/// The names that the injector itself may give to the sidecar.
pub(in crate::injector) const RESERVED: &[&str] = &[
    "NAMESPACE",
    "DAPR_TRUST_ANCHORS",
    "POD_NAME",
    "DAPR_CONTROLPLANE_NAMESPACE",
    "DAPR_CONTROLPLANE_TRUST_DOMAIN",
    "DAPR_HOST_IP",
    "DAPR_ENV_KEYS",
    "DAPR_COMPONENT_SOCKETS_FOLDER",
    "DAPR_COMPONENTS_SOCKETS_FOLDER",
    "DAPR_API_TOKEN",
    "APP_API_TOKEN",
];

/// Makes daprd run as root.
const UNSAFE: &str = "DAPR_UNSAFE_SKIP_CONTAINER_UID_GID_CHECK";

/// A variable with a fixed value.
pub(in crate::injector) fn literal(name: &str, value: &str) -> EnvVar {
    EnvVar {
        name: name.to_owned(),
        value: (!value.is_empty()).then(|| value.to_owned()),
        ..EnvVar::default()
    }
}

/// A variable from a Secret of the pod's namespace. Without the Secret the container does not
/// start.
pub(in crate::injector) fn from_secret(name: &str, secret: &str, key: &str) -> EnvVar {
    EnvVar {
        name: name.to_owned(),
        value_from: Some(EnvVarSource {
            secret_key_ref: Some(SecretKeySelector {
                name: secret.to_owned(),
                key: key.to_owned(),
                optional: None,
            }),
            ..EnvVarSource::default()
        }),
        ..EnvVar::default()
    }
}

/// Reads both annotations: literal variables, then those from Secrets. Of several with one name the
/// last counts, as it would for the kubelet.
pub(super) fn check(
    annotations: &mut Annotations<'_>,
    weakened: bool,
) -> Result<Vec<EnvVar>, Denial> {
    let mut found: Vec<(Annotation, EnvVar)> = Vec::new();
    for entry in entries(annotations.text(&key::ENV)) {
        match entry.split_once('=') {
            Some((name, value)) => found.push((key::ENV, literal(name, value))),
            None => dropped(annotations, &key::ENV, entry),
        }
    }
    for entry in words(annotations.text(&key::ENV_FROM_SECRET)) {
        match secret_reference(entry)? {
            Some(variable) => found.push((key::ENV_FROM_SECRET, variable)),
            None => dropped(annotations, &key::ENV_FROM_SECRET, entry),
        }
    }
    for (row, variable) in &found {
        check_name(annotations, row, &variable.name, weakened)?;
    }
    let mut names = BTreeSet::new();
    let mut env = Vec::new();
    for (row, variable) in found.into_iter().rev() {
        if names.insert(variable.name.clone()) {
            env.push(variable);
            continue;
        }
        annotations.warn(format!(
            "annotation {:?}: {} is set again after this; the last one counts",
            row.key,
            shown(&variable.name)
        ));
    }
    env.reverse();
    Ok(env)
}

fn dropped(annotations: &mut Annotations<'_>, row: &Annotation, entry: &str) {
    let form = if *row == key::ENV {
        "NAME=value"
    } else {
        "NAME=secret or NAME=secret:key"
    };
    annotations.warn(format!(
        "annotation {:?}: {} is not {form}; it is ignored",
        row.key,
        shown(entry)
    ));
}

fn check_name(
    annotations: &mut Annotations<'_>,
    row: &Annotation,
    name: &str,
    weakened: bool,
) -> Result<(), Denial> {
    let start = format!("annotation {:?}: {}", row.key, shown(name));
    if RESERVED.contains(&name) {
        let instead = match name {
            "DAPR_API_TOKEN" => "; set \"dapr.io/api-token-secret\"",
            "APP_API_TOKEN" => "; set \"dapr.io/app-token-secret\"",
            _ => "",
        };
        return Err(Denial {
            reason: DenyReason::ReservedEnv,
            message: format!(
                "{start} is a name that the injector writes itself: accepted are others{instead}"
            ),
        });
    }
    if name == UNSAFE {
        let message = format!("{start} would let the sidecar run as root; remove it");
        return annotations.weakens(weakened, message);
    }
    if !is_env_name(name) {
        return Err(Denial::cannot_run(format!(
            "{start} is not the name of a variable: accepted are letters, digits, \"_\", \"-\" \
             and \".\", without a digit at the beginning"
        )));
    }
    Ok(())
}

/// Kubernetes' rule for names of variables before version 1.30, which all versions accept.
fn is_env_name(name: &str) -> bool {
    !name.starts_with(|first: char| first.is_ascii_digit())
        && !name.is_empty()
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c))
}

/// `NAME=secret` or `NAME=secret:key`; `Ok(None)` where it has another form.
fn secret_reference(entry: &str) -> Result<Option<EnvVar>, Denial> {
    let Some((name, reference)) = entry.split_once('=') else {
        return Ok(None);
    };
    let (secret, key) = match reference.split_once(':') {
        None => (reference.trim(), reference.trim()),
        Some((_, key)) if key.contains(':') => return Ok(None),
        Some((secret, key)) => (secret.trim(), key.trim()),
    };
    let row = key::ENV_FROM_SECRET.key;
    if !is_dns_subdomain(secret) {
        return Err(Denial {
            reason: DenyReason::SecretName,
            message: format!(
                "annotation {row:?}: {} is not the name of a Secret: accepted are 1 to 253 of the \
                 characters a-z, 0-9, \"-\" and \".\", with a letter or digit at both ends",
                shown(secret)
            ),
        });
    }
    let key_ok = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    if key.is_empty() || !key.chars().all(key_ok) {
        return Err(Denial::cannot_run(format!(
            "annotation {row:?}: {} is not the key of a Secret: accepted are letters, digits, \
             \"_\", \"-\" and \".\"",
            shown(key)
        )));
    }
    Ok(Some(from_secret(name.trim(), secret, key)))
}

/// The entries of `dapr.io/env`, trimmed: one begins at the start, and after each comma that is
/// followed by spaces, an identifier and `=` (Dapr 1.18).
fn entries(text: &str) -> impl Iterator<Item = &str> {
    let mut starts = vec![0];
    let commas = text.match_indices(',').map(|(at, _)| at + 1);
    starts.extend(commas.filter(|&at| begins_entry(&text[at..])));
    let ends = starts.clone().into_iter().skip(1).map(|at| at - 1);
    let ends = ends.chain([text.len()]);
    starts
        .into_iter()
        .zip(ends)
        .map(|(start, end)| text[start..end].trim())
        .filter(|entry| !entry.is_empty())
}

fn begins_entry(rest: &str) -> bool {
    let identifier = rest.trim_start().split('=').next().unwrap_or_default();
    rest.contains('=')
        && identifier.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && identifier
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn begins_an_entry_at_a_comma_before_a_name() {
        for (text, expected) in [
            ("", vec![]),
            ("A=x,B=y=z", vec!["A=x", "B=y=z"]),
            ("A=1, B=2", vec!["A=1", "B=2"]),
            ("A=1, B =2", vec!["A=1, B =2"]),
            ("A=1,,B=2", vec!["A=1,", "B=2"]),
            ("A=1,", vec!["A=1,"]),
            (
                "NO_PROXY=\"localhost,127.0.0.1\",B=1",
                vec!["NO_PROXY=\"localhost,127.0.0.1\"", "B=1"],
            ),
            (
                "OTEL_RESOURCE_ATTRIBUTES=service.namespace=prod,k8s.pod.name=p,ENV=1",
                vec![
                    "OTEL_RESOURCE_ATTRIBUTES=service.namespace=prod,k8s.pod.name=p",
                    "ENV=1",
                ],
            ),
        ] {
            assert_eq!(entries(text).collect::<Vec<_>>(), expected, "{text}");
        }
    }
}
