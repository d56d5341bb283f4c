//! Whether an outage of the webhook would touch pods that ask for no sidecar.

use serde_json::Value;

/// The key that a condition has to look at.
const ENABLED: &str = "dapr.io/enabled";

/// The names of webhooks that would refuse every pod while they are down: those whose
/// `failurePolicy` is `Fail`, which is Kubernetes' default, and of whose `matchConditions` none
/// mentions the annotation `dapr.io/enabled`. Conditions are joined by "and", so one is enough.
pub(super) fn unguarded(configuration: &Value) -> Vec<&str> {
    let webhooks = configuration["webhooks"].as_array();
    let all = webhooks.into_iter().flatten();
    let open = all.filter(|webhook| fails_closed(webhook) && !is_conditional(webhook));
    open.filter_map(|webhook| webhook["name"].as_str())
        .collect()
}

fn fails_closed(webhook: &Value) -> bool {
    webhook["failurePolicy"].as_str() != Some("Ignore")
}

fn is_conditional(webhook: &Value) -> bool {
    let conditions = webhook["matchConditions"].as_array();
    let mut expressions = conditions
        .into_iter()
        .flatten()
        .filter_map(|condition| condition["expression"].as_str());
    expressions.any(|expression| expression.contains(ENABLED))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn finds_webhooks_that_would_refuse_every_pod() {
        let ours = json!([{ "name": "a", "expression": "'dapr.io/enabled' in object.x" }]);
        let other = json!([{ "name": "a", "expression": "true" }]);
        for (policy, conditions, wanted) in [
            (json!("Fail"), ours.clone(), false),
            (json!("Fail"), other.clone(), true),
            (json!("Fail"), json!(null), true),
            (json!(null), json!(null), true),
            (json!("Ignore"), json!(null), false),
        ] {
            let webhook = json!({
                "name": "x", "failurePolicy": policy, "matchConditions": conditions,
            });
            let configuration = json!({ "webhooks": [webhook] });
            assert_eq!(
                unguarded(&configuration) == ["x"],
                wanted,
                "{configuration}"
            );
        }
        assert!(unguarded(&json!({})).is_empty());
    }
}
