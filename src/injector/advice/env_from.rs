//! `envFrom` of a Secret that holds a token.
//!
//! The key of a token is `token`, so that such a container gets a variable of that name, while
//! SDKs read `DAPR_API_TOKEN` and apps `APP_API_TOKEN`.

use serde_json::Value;

use crate::injector::annotations::{shown, table as key};
use crate::injector::foreign::is_foreign;
use crate::injector::pod::SIDECAR;
use crate::injector::settings::Receivers;

/// The annotations of the two Secrets, and the variables that are read.
const TOKENS: [(&str, &str); 2] = [
    (key::API_TOKEN_SECRET.key, "DAPR_API_TOKEN"),
    (key::APP_TOKEN_SECRET.key, "APP_API_TOKEN"),
];

/// Warns of each container that gets a token under a name which nobody reads.
pub(super) fn warnings(template: &Value) -> Vec<String> {
    let annotations = &template["metadata"]["annotations"];
    let receivers = annotations[key::APP_ENV_TOKENS.key].as_str();
    let receivers = Receivers::parse(receivers.unwrap_or(key::APP_ENV_TOKENS.default));
    let mut all = Vec::new();
    for container in list(&template["spec"]["containers"]) {
        let name = container["name"].as_str().unwrap_or_default();
        if name == SIDECAR || is_foreign(name) || receivers.include(name) {
            continue;
        }
        for (annotation, variable) in TOKENS {
            let Some(secret) = annotations[annotation].as_str() else {
                continue;
            };
            let is_read = list(&container["env"]).any(|env| env["name"] == variable);
            let source =
                list(&container["envFrom"]).find(|source| source["secretRef"]["name"] == secret);
            if let (Some(source), false) = (source, is_read) {
                let prefix = source["prefix"].as_str().unwrap_or_default();
                all.push(format!(
                    "container {}: envFrom of Secret {} gives a variable {}, and {variable} is \
                     what is read: set {:?} to \"true\"",
                    shown(name),
                    shown(secret),
                    shown(&format!("{prefix}token")),
                    key::APP_ENV_TOKENS.key
                ));
            }
        }
    }
    all
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}
