//! Who may get pods injected.
//!
//! Without a list everybody may: the API server has authorised the creation of the pod already.
//! Where a list is set, a pod that somebody else wants injected is denied. (Dapr lets such a pod
//! through without a sidecar, and so without its protection.)

use super::glob::Glob;

/// The controllers that make pods in a usual cluster, and three that Dapr knows beside them
/// (Dapr 1.18). They are accepted wherever a list is set.
const CONTROLLERS: [&str; 10] = [
    "kube-system:replicaset-controller",
    "kube-system:replication-controller",
    "kube-system:deployment-controller",
    "kube-system:cronjob-controller",
    "kube-system:job-controller",
    "kube-system:statefulset-controller",
    "kube-system:daemon-set-controller",
    "openshift-operator-lifecycle-manager:olm-operator-serviceaccount",
    "tekton-pipelines:tekton-pipelines-controller",
    "mirrord:mirrord-operator",
];

/// The group of cluster administrators, which Kubernetes lets do everything.
const MASTERS: &str = "system:masters";

/// How Kubernetes names the user that a service account is:
/// `system:serviceaccount:<namespace>:<name>`.
const SERVICE_ACCOUNT: &str = "system:serviceaccount:";

/// A list entry that cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum RequesterError {
    /// It is not of the form `namespace:name`.
    #[error(
        "allowed service account {0:?} is not of the form \"namespace:name\" (globs are accepted)"
    )]
    Form(String),
    /// One half is no glob.
    #[error("allowed service account {entry:?} is no pattern: {cause}")]
    Glob {
        /// The entry.
        entry: String,
        /// What is wrong with it.
        cause: String,
    },
}

/// The service accounts that may get pods injected.
#[derive(Clone, Debug, Default)]
pub struct Requesters(Option<Vec<ServiceAccounts>>);

#[derive(Clone, Debug)]
struct ServiceAccounts {
    namespace: Glob,
    name: Glob,
}

impl Requesters {
    /// Parses a comma-separated list of `namespace:name` globs. A list without entries lets
    /// everybody in; one with entries lets in those and the controllers of a usual cluster.
    pub fn parse(list: &str) -> Result<Self, RequesterError> {
        let entries: Vec<&str> = list
            .split(',')
            .map(str::trim)
            .filter(|entry| !entry.is_empty())
            .collect();
        if entries.is_empty() {
            return Ok(Self(None));
        }
        let all = entries.into_iter().chain(CONTROLLERS);
        Ok(Self(Some(
            all.map(ServiceAccounts::parse).collect::<Result<_, _>>()?,
        )))
    }

    /// Whether this user, with these groups, may get pods injected.
    pub fn allow(&self, username: &str, groups: &[String]) -> bool {
        let Some(accepted) = &self.0 else {
            return true;
        };
        if groups.iter().any(|group| group == MASTERS) {
            return true;
        }
        username
            .strip_prefix(SERVICE_ACCOUNT)
            .and_then(|account| account.split_once(':'))
            // No account has a colon in its name, but a glob could match it.
            .filter(|(_, name)| !name.contains(':'))
            .is_some_and(|(namespace, name)| {
                accepted.iter().any(|accounts| {
                    accounts.namespace.matches(namespace) && accounts.name.matches(name)
                })
            })
    }
}

impl ServiceAccounts {
    fn parse(entry: &str) -> Result<Self, RequesterError> {
        let form = || RequesterError::Form(entry.to_owned());
        let (namespace, name) = entry.split_once(':').ok_or_else(form)?;
        let (namespace, name) = (namespace.trim(), name.trim());
        if name.contains(':') || (namespace.is_empty() && name.is_empty()) {
            return Err(form());
        }
        let glob = |half: &str| {
            Glob::parse(half).map_err(|cause| RequesterError::Glob {
                entry: entry.to_owned(),
                cause: cause.to_string(),
            })
        };
        Ok(Self {
            namespace: glob(namespace)?,
            name: glob(name)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(list: &str, account: &str) -> bool {
        Requesters::parse(list)
            .unwrap()
            .allow(&format!("{SERVICE_ACCOUNT}{account}"), &[])
    }

    #[test]
    fn matches_service_accounts() {
        for (list, account, wanted) in [
            ("ns:sa", "ns:sa", true),
            ("ns:sa", "ns:sb", false),
            ("ns:sa", "nt:sa", false),
            ("ns-*:sa", "ns-a:sa", true),
            ("ns-*:sa", "ns-:sa", true),
            ("ns-*:sa", "ns:sa", false),
            ("ns:sa-?", "ns:sa-1", true),
            ("ns:sa-?", "ns:sa-12", false),
            ("ns:[abc]x", "ns:bx", true),
            ("ns:[a-z]x", "ns:1x", false),
            ("ns:a*z", "ns:abcz", true),
            ("*:*", "any:thing", true),
            ("a:b, c:d", "c:d", true),
            (" ns : sa ", "ns:sa", true),
            ("ns:sa", "kube-system:deployment-controller", true),
            ("ns:sa", "kube-system:deployment-controller-extra", false),
            ("*:*", "ns:sa:extra", false),
        ] {
            assert_eq!(allows(list, account), wanted, "{list:?} {account:?}");
        }
    }

    #[test]
    fn without_a_list_everybody_may() {
        for list in ["", " , ,"] {
            assert!(
                Requesters::parse(list).unwrap().allow("jane", &[]),
                "{list:?}"
            );
        }
    }

    #[test]
    fn with_a_list_users_need_the_group_of_administrators() {
        let requesters = Requesters::parse("*:*").unwrap();
        assert!(!requesters.allow("jane", &["system:kubelet".to_owned()]));
        assert!(requesters.allow("jane", &[MASTERS.to_owned()]));
    }

    #[test]
    fn refuses_entries_of_another_form() {
        for entry in ["sa", "a:b:c", ":", "ns-[:a"] {
            assert!(Requesters::parse(entry).is_err(), "{entry}");
        }
        assert_eq!(
            Requesters::parse("kube-system").unwrap_err().to_string(),
            "allowed service account \"kube-system\" is not of the form \"namespace:name\" \
             (globs are accepted)"
        );
        assert_eq!(
            Requesters::parse("ns-[:sa").unwrap_err().to_string(),
            "allowed service account \"ns-[:sa\" is no pattern: \"ns-[\" has a \"[\" without its \
             \"]\""
        );
    }
}
