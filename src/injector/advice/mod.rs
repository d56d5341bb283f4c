//! Advice at apply time: what the author of a workload should know about its pods.
//!
//! Warnings on a pod reach its creator, and that is a controller where a Deployment makes it. So
//! the same code runs over the pod template when somebody applies the workload, and over little
//! more: mistakes that a pod alone does not show. Nothing is ever denied here.

mod env_from;
mod keys;

use serde_json::Value;

use super::annotations::shown;
use super::config::Config;
use super::inject::wants_sidecar;
use super::judgement::Judgement;
use super::others::OtherInjector;
use super::requester::Requesters;
use super::review::Review;
use super::workload::{Workload, pod_pointer};

/// Kinds whose objects are not looked at where a controller made them: whoever wrote that one was
/// told already.
const MADE_BY_OTHERS: [&str; 2] = ["ReplicaSet", "Job"];

/// What to tell the author of a workload, as the warnings of a judgement that lets it pass. Only
/// the creation and the change of a workload's pod template are looked at.
pub fn advise(review: &Review, config: &Config, others: &[OtherInjector]) -> Judgement {
    let request = &review.request;
    let kind = request.kind.kind.as_str();
    let pointer = match request.kind.group.as_str() {
        group @ ("apps" | "batch") => pod_pointer(group, kind),
        _ => None,
    };
    let Some(pointer) = pointer else {
        return Judgement::passed("other_kind");
    };
    if !request.sub_resource.is_empty() {
        return Judgement::passed("subresource");
    }
    if !["CREATE", "UPDATE"].contains(&request.operation.as_str()) {
        return Judgement::passed("other_operation");
    }
    let workload = Workload {
        kind,
        object: &request.object,
        pointer,
    };
    if MADE_BY_OTHERS.contains(&kind) && workload.is_controlled() {
        return Judgement::passed("controlled");
    }
    let Some(pod) = workload.pod() else {
        return Judgement::passed("no_template");
    };
    if request.operation == "UPDATE" && is_unchanged(&workload, &review.old_object()) {
        return Judgement::passed("unchanged");
    }
    let mut texts = of_the_pod(pod, &request.namespace, config, others);
    texts.extend(keys::changing_app_id(&workload));
    texts.extend(beside_the_pod(&workload));
    let name = shown(workload.name());
    let about = |text: String| format!("{kind} {name}: {text}");
    let warnings: Vec<_> = texts.into_iter().map(about).collect();
    let reason = if warnings.is_empty() {
        "nothing_to_say"
    } else {
        "warnings"
    };
    Judgement {
        warnings,
        ..Judgement::passed(reason)
    }
}

/// Whether nothing changed that advice is given about, as where a Deployment is scaled.
fn is_unchanged(workload: &Workload<'_>, old: &Value) -> bool {
    let old = Workload {
        object: old,
        ..*workload
    };
    workload.template() == old.template() && keys::outside(workload) == keys::outside(&old)
}

/// What the webhook will say about a pod.
fn of_the_pod(
    pod: Value,
    namespace: &str,
    config: &Config,
    others: &[OtherInjector],
) -> Vec<String> {
    let review = Review::of_new_pod(namespace.to_owned(), pod);
    let judgement = review.judge(config, &Requesters::default(), others);
    let denial = judgement.denial.iter();
    let denial = denial.map(|denial| format!("its pods will be refused: {}", denial.message));
    denial.chain(judgement.warnings).collect()
}

/// What is to be said of a workload beyond what the webhook says about its pods.
pub fn beside_the_pod(workload: &Workload<'_>) -> Vec<String> {
    let Some(template) = workload.template() else {
        return Vec::new();
    };
    let mut all = keys::warnings(workload, template);
    if wants_sidecar(template) {
        all.extend(env_from::warnings(template));
    }
    all
}
