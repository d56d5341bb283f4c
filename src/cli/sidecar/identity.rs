//! Who the process runs as.

use anyhow::{Context as _, bail};

use crate::base::environment::Environment;
use crate::base::truthy::is_truthy;

/// Set by people who run the sidecar as root in Kubernetes all the same (Dapr 1.18).
const SKIP: &str = "DAPR_UNSAFE_SKIP_CONTAINER_UID_GID_CHECK";

/// Refuses to run as root in Kubernetes, as daprd does.
pub(super) fn refuse_root(environment: &Environment) -> anyhow::Result<()> {
    if environment.value(SKIP).is_some_and(is_truthy) {
        return Ok(());
    }
    let status = std::fs::read_to_string("/proc/self/status")
        .context("cannot read /proc/self/status, which tells the uid")?;
    let effective = |name| effective_id(&status, name).context("/proc/self/status has no ids");
    let (uid, gid) = (effective("Uid:")?, effective("Gid:")?);
    if uid == 0 || gid == 0 {
        bail!(
            "the sidecar may not run as root in Kubernetes: its uid is {uid} and its gid is {gid}; \
             set runAsUser and runAsGroup, or {SKIP}=true"
        );
    }
    Ok(())
}

/// The second number of a line of `/proc/<pid>/status` is the effective id (proc(5)).
fn effective_id(status: &str, name: &str) -> Option<u32> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_effective_ids() {
        let status = "Name:\tx\nUid:\t1000\t0\t1000\t1000\nGid:\t5\t6\t7\t8\n";
        assert_eq!(effective_id(status, "Uid:"), Some(0));
        assert_eq!(effective_id(status, "Gid:"), Some(6));
        assert_eq!(effective_id("", "Uid:"), None);
    }

    #[test]
    fn root_is_fine_where_somebody_insists() {
        let environment = Environment::from_iter([(SKIP, "true")]);
        assert!(refuse_root(&environment).is_ok());
    }
}
