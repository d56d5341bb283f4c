//! Other webhooks of the cluster that add sidecars to pods with Dapr's annotations. Where two may
//! add one, the order of their names decides, which nobody means.

pub mod kubernetes;

use std::sync::Arc;

use k8s_openapi::api::admissionregistration::v1::{MutatingWebhook, MutatingWebhookConfiguration};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use serde_json::Value;
use tokio::sync::watch;

use super::annotations::shown;

/// The name of the webhook in the configurations of Dapr's chart, and of the Service it calls.
const DAPR: (&str, &str) = ("sidecar-injector.dapr.io", "dapr-sidecar-injector");

/// The name of the webhook in the configurations of Sidegate's chart.
const SIDEGATE: &str = "injector.sidegate.dev";

/// The label that the API server gives every namespace: its name.
const NAMESPACE_NAME: &str = "kubernetes.io/metadata.name";

/// The other injectors of the moment.
pub type OtherInjectors = watch::Receiver<Arc<[OtherInjector]>>;

/// No other injectors, for ever.
pub fn none() -> OtherInjectors {
    watch::channel(Arc::default()).1
}

/// A webhook that adds Dapr sidecars and is not ours.
#[derive(Clone, Debug, PartialEq)]
pub struct OtherInjector {
    configuration: String,
    namespaces: LabelSelector,
    pods: LabelSelector,
}

impl OtherInjector {
    /// Those of one configuration. Other Sidegates are known only where `own` is, the name of the
    /// configuration of this one.
    pub fn of(configuration: &MutatingWebhookConfiguration, own: Option<&str>) -> Vec<Self> {
        let name = configuration.metadata.name.as_deref().unwrap_or_default();
        if own == Some(name) {
            return Vec::new();
        }
        let webhooks = configuration.webhooks.iter().flatten();
        let injectors = webhooks.filter(|webhook| {
            let is_injector = is_dapr(webhook) || (own.is_some() && webhook.name == SIDEGATE);
            is_injector && sees_new_pods(webhook)
        });
        injectors
            .map(|webhook| Self {
                configuration: name.to_owned(),
                namespaces: webhook.namespace_selector.clone().unwrap_or_default(),
                pods: webhook.object_selector.clone().unwrap_or_default(),
            })
            .collect()
    }

    /// Whether it is certain that it is called for a pod. Of the labels of a namespace only its
    /// name is known here; match conditions, which are programs, count as true.
    fn is_called_for(&self, namespace: &str, pod: &Value) -> bool {
        let labels = &pod["metadata"]["labels"];
        let of_pod = |key: &str| Some(labels[key].as_str());
        let of_namespace = |key: &str| (key == NAMESPACE_NAME).then_some(Some(namespace));
        is_certain(&self.pods, of_pod) && is_certain(&self.namespaces, of_namespace)
    }
}

/// Warns where another injector is called for a pod to which this one gives a sidecar.
pub(super) fn warning(others: &[OtherInjector], namespace: &str, pod: &Value) -> Option<String> {
    let other = others
        .iter()
        .find(|other| other.is_called_for(namespace, pod))?;
    Some(format!(
        "another injector, MutatingWebhookConfiguration {}, is registered for this namespace too: \
         the order of their names decides which adds the sidecar; exclude it from one",
        shown(&other.configuration)
    ))
}

fn is_dapr(webhook: &MutatingWebhook) -> bool {
    let service = webhook.client_config.service.as_ref();
    webhook.name == DAPR.0 || service.is_some_and(|service| service.name == DAPR.1)
}

fn sees_new_pods(webhook: &MutatingWebhook) -> bool {
    let has = |list: &Option<Vec<String>>, word: &str| {
        let mut words = list.iter().flatten();
        words.any(|one| one == word || one == "*")
    };
    let mut rules = webhook.rules.iter().flatten();
    rules.any(|rule| {
        has(&rule.api_groups, "")
            && has(&rule.api_versions, "v1")
            && (has(&rule.resources, "pods") || has(&rule.resources, "*/*"))
            && has(&rule.operations, "CREATE")
    })
}

/// Whether a selector matches whatever the labels are that `label` does not know: it gives none
/// for those, and `Some(None)` for labels that are not there.
fn is_certain<'a>(
    selector: &LabelSelector,
    label: impl Fn(&str) -> Option<Option<&'a str>>,
) -> bool {
    let mut equal = selector.match_labels.iter().flatten();
    let mut expressions = selector.match_expressions.iter().flatten();
    equal.all(|(key, value)| label(key) == Some(Some(value)))
        && expressions.all(|one| {
            let values = one.values.as_deref().unwrap_or_default();
            let is_listed = |value: &str| values.iter().any(|listed| listed == value);
            label(&one.key).is_some_and(|value| match one.operator.as_str() {
                "In" => value.is_some_and(is_listed),
                "NotIn" => !value.is_some_and(is_listed),
                "Exists" => value.is_some(),
                "DoesNotExist" => value.is_none(),
                _ => false,
            })
        })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn configuration(name: &str, webhook: Value) -> MutatingWebhookConfiguration {
        let mut whole = json!({
            "name": DAPR.0,
            "clientConfig": {"service": {"namespace": "dapr-system", "name": "other"}},
            "admissionReviewVersions": ["v1"],
            "sideEffects": "None",
            "rules": [{
                "apiGroups": [""],
                "apiVersions": ["v1"],
                "resources": ["pods"],
                "operations": ["CREATE"],
            }],
        });
        let fields = whole.as_object_mut().unwrap();
        fields.extend(webhook.as_object().unwrap().clone());
        serde_json::from_value(json!({"metadata": {"name": name}, "webhooks": [whole]})).unwrap()
    }

    #[test]
    fn knows_injectors_by_their_names() {
        let service = |name: &str| json!({"service": {"namespace": "a", "name": name}});
        let rule = |resource: &str, operation: &str| {
            json!([{
                "apiGroups": ["*"],
                "apiVersions": ["*"],
                "resources": [resource],
                "operations": [operation],
            }])
        };
        let ours = Some("sidegate-injector");
        for (webhook, own, wanted) in [
            (json!({}), ours, 1),
            (json!({}), None, 1),
            (json!({"name": "mesh.example.com"}), ours, 0),
            (
                json!({"name": "a.example.com", "clientConfig": service(DAPR.1)}),
                ours,
                1,
            ),
            (json!({"name": SIDEGATE}), ours, 1),
            // It may be ours.
            (json!({"name": SIDEGATE}), None, 0),
            (json!({"name": SIDEGATE}), Some("other"), 0),
            (json!({"rules": rule("*", "*")}), ours, 1),
            (json!({"rules": rule("*/*", "CREATE")}), ours, 1),
            (json!({"rules": rule("deployments", "*")}), ours, 0),
            (json!({"rules": rule("pods", "UPDATE")}), ours, 0),
            (json!({"rules": null}), ours, 0),
        ] {
            let configuration = configuration("other", webhook);
            let found = OtherInjector::of(&configuration, own);
            assert_eq!(found.len(), wanted, "{configuration:?}");
        }
    }

    #[test]
    fn warns_where_both_are_certain_to_be_called() {
        let named = |operator: &str| {
            json!({"matchExpressions": [
                {"key": NAMESPACE_NAME, "operator": operator, "values": ["shop", "bank"]},
            ]})
        };
        let unknown = json!({"matchLabels": {"team": "shop"}});
        let mut both = named("In");
        both["matchLabels"] = json!({"team": "shop"});
        for (namespaces, pods, wanted) in [
            (Value::Null, Value::Null, true),
            (json!({}), json!({}), true),
            (named("In"), Value::Null, true),
            (named("NotIn"), Value::Null, false),
            (named("Exists"), Value::Null, true),
            (named("DoesNotExist"), Value::Null, false),
            (named("Sounds"), Value::Null, false),
            (
                json!({"matchLabels": {NAMESPACE_NAME: "shop"}}),
                Value::Null,
                true,
            ),
            (
                json!({"matchLabels": {NAMESPACE_NAME: "bank"}}),
                Value::Null,
                false,
            ),
            (unknown, Value::Null, false),
            (both, Value::Null, false),
            (Value::Null, json!({"matchLabels": {"app": "cart"}}), true),
            (Value::Null, json!({"matchLabels": {"app": "till"}}), false),
            (
                Value::Null,
                json!({"matchExpressions": [{"key": "dapr", "operator": "DoesNotExist"}]}),
                true,
            ),
            (
                Value::Null,
                json!({"matchExpressions": [
                    {"key": "dapr", "operator": "NotIn", "values": ["a"]},
                ]}),
                true,
            ),
        ] {
            let selectors = json!({"namespaceSelector": namespaces, "objectSelector": pods});
            let others = OtherInjector::of(&configuration("dapr", selectors.clone()), None);
            let pod = json!({"metadata": {"labels": {"app": "cart"}}});
            let warning = warning(&others, "shop", &pod);
            assert_eq!(warning.is_some(), wanted, "{selectors}");
        }
    }

    #[test]
    fn names_the_other() {
        let others = OtherInjector::of(&configuration("dapr", json!({})), None);
        assert_eq!(
            warning(&others, "shop", &json!({})).unwrap(),
            "another injector, MutatingWebhookConfiguration \"dapr\", is registered for this \
             namespace too: the order of their names decides which adds the sidecar; exclude it \
             from one"
        );
    }
}
