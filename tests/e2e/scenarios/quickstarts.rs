//! The page with the quickstarts, as it is written: Redis, and apps of the unchanged SDKs.

use sidegate::testing::quickstart::{Part, run_part};

use crate::cluster::Cluster;

/// Apps read a secret, and keep state in a Redis whose password is a secret that changes.
pub(crate) fn do_what_they_say(_: &Cluster) {
    let image = |variable: &str, default: &str| {
        let image = std::env::var(variable).unwrap_or_else(|_| default.to_owned());
        format!("image: {image}\n")
    };
    let redis = image("E2E_REDIS_IMAGE", "localhost/e2e-redis:1");
    let python = image("E2E_PYTHON_IMAGE", "localhost/e2e-python:1");
    let javascript = image("E2E_JAVASCRIPT_IMAGE", "localhost/e2e-javascript:1");
    let part = Part {
        page: "docs/quickstarts.md",
        heading: "## In Kubernetes",
        replacing: &[
            ("image: redis:8\n", &redis),
            ("image: example.com/python-with-dapr:1\n", &python),
            ("image: example.com/node-with-dapr:1\n", &javascript),
        ],
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    // It deletes its namespace, as its last command.
    runtime.block_on(run_part(part, &[], &[]));
}
