//! The scenarios, in their order: each leaves the installation as it found it.

use crate::cluster::Cluster;

mod certificates;
mod install;
mod invocation;
mod messages;
mod mistakes;
mod neighbours;
mod outage;
mod quickstarts;
mod rotation;
mod scale;
mod tokens;
mod upgrade;
mod workloads;

/// A name, what it is about, and the scenario.
type Entry = (&'static str, &'static str, fn(&Cluster));

/// All of them.
pub(crate) const ALL: &[Entry] = &[
    (
        "install",
        "helm install, then helm test",
        install::installs_and_passes_its_own_test,
    ),
    (
        "tokens",
        "a Deployment with both annotations: 401 without token, 200 with it, HTTP and gRPC",
        tokens::guard_the_api_and_reach_the_app,
    ),
    (
        "envfrom",
        "the way of the public guide: kubectl patch and envFrom",
        tokens::by_patch_and_env_from,
    ),
    (
        "invocation",
        "an app calls that of another pod, which sees its own token",
        invocation::reaches_the_app_of_another_pod,
    ),
    (
        "messages",
        "a topic by objects of the cluster: the app gets its messages, with its token",
        messages::reach_the_app_with_its_token,
    ),
    (
        "quickstarts",
        "a secret and a state store with a password, by apps of the SDKs, as the page says",
        quickstarts::do_what_they_say,
    ),
    (
        "rotation",
        "both Secrets change, kubectl rollout restart under load: no request is lost",
        rotation::loses_no_request,
    ),
    (
        "workloads",
        "Pod, StatefulSet, DaemonSet, Job, CronJob; Jobs end by themselves",
        workloads::of_every_kind,
    ),
    (
        "init-order",
        "an init container that needs the sidecar",
        workloads::with_an_init_container_that_needs_the_sidecar,
    ),
    (
        "security",
        "a namespace with the restricted standard; a pod whose user is root",
        workloads::under_every_security_context,
    ),
    (
        "untouched",
        "dry run, ephemeral containers, scale, rollout undo",
        neighbours::leave_alone_what_is_no_new_pod,
    ),
    (
        "neighbours",
        "webhooks that add containers, env and volumes before and after us",
        neighbours::add_before_and_after_us,
    ),
    (
        "migration",
        "from another injector, a namespace at a time",
        neighbours::of_daprs_kind_hand_over_a_namespace_at_a_time,
    ),
    (
        "mistakes",
        "missing Secret, missing key, blank token, a token pasted without base64",
        mistakes::in_tokens_are_named,
    ),
    (
        "typos",
        "wrong annotations: what kubectl apply says",
        mistakes::in_annotations_are_told_at_apply_time,
    ),
    (
        "one-replica",
        "one injector is killed while 100 pods are created",
        outage::of_one_replica_is_not_seen,
    ),
    (
        "no-replica",
        "all injectors are gone, and come back",
        outage::of_all_replicas_touches_annotated_pods_only,
    ),
    (
        "certificates",
        "certificates that live for seconds, while pods are created all the time",
        certificates::rotate_while_pods_are_created,
    ),
    ("scale", "500 pods of one Deployment", scale::of_500_pods),
    (
        "starts",
        "time to ready with a sidecar and without",
        scale::of_time_to_ready,
    ),
    (
        "upgrade",
        "helm upgrade to a later chart, and back",
        upgrade::there_and_back,
    ),
    (
        "templates",
        "helm template | kubectl apply, twice",
        upgrade::by_templates_does_not_drift,
    ),
    (
        "uninstall",
        "helm uninstall leaves nothing behind",
        upgrade::away_leaves_nothing,
    ),
];
