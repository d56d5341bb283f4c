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
    check(&status)
}

fn check(status: &str) -> anyhow::Result<()> {
    let effective = |name| effective_id(status, name).context("/proc/self/status has no ids");
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
    fn refuses_the_effective_uid_and_gid_of_root() {
        let status = |uid, gid| format!("Name:\tx\nUid:\t1\t{uid}\t1\t1\nGid:\t1\t{gid}\t1\t1\n");
        assert!(check(&status(1000, 1000)).is_ok());
        let error = check(&status(0, 1000)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the sidecar may not run as root in Kubernetes: its uid is 0 and its gid is 1000; set \
             runAsUser and runAsGroup, or DAPR_UNSAFE_SKIP_CONTAINER_UID_GID_CHECK=true"
        );
        assert!(check(&status(1000, 0)).is_err());
        assert!(check("").is_err());
    }

    #[test]
    fn root_is_fine_where_somebody_insists() {
        let environment = Environment::from_iter([(SKIP, "true")]);
        assert!(refuse_root(&environment).is_ok());
    }
}
