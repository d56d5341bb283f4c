//! The scenarios, in their order: each leaves the installation as it found it.

use crate::cluster::Cluster;

mod install;
mod rotation;
mod tokens;

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
        "rotation",
        "both Secrets change, kubectl rollout restart under load: no request is lost",
        rotation::loses_no_request,
    ),
];
