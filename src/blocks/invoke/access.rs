//! Whether a caller may call the own app.

use http::Method;
use tracing::warn;

use super::{Failure, Invoke};
use crate::base::grpc_method::GrpcMethod;
use crate::base::method_path::MethodPath;
use crate::base::spiffe_id::SpiffeId;
use crate::blocks::error::Reason;
use crate::peers::access_control::{AccessControl, Decision, Operation};
use crate::process::log_rate::LogRate;

/// The access policy, and the log of what it denied.
#[derive(Debug)]
pub(super) struct Gate {
    access_control: AccessControl,
    denials: LogRate,
}

impl Gate {
    pub(super) fn new(access_control: AccessControl) -> Self {
        Self {
            access_control,
            denials: LogRate::default(),
        }
    }

    fn pass(&self, caller: Option<&SpiffeId>, call: Operation<'_>) -> Result<(), Failure> {
        let decision = self.access_control.decide(caller, call);
        count(decision);
        if decision.is_allowed {
            return Ok(());
        }
        let id = caller.map(ToString::to_string).unwrap_or_default();
        let text = format!("access control policy has denied access to id: {id} {call}");
        if let Some(left_out) = self.denials.pass() {
            warn!(left_out, "{text}");
        }
        Err(Failure::new(Reason::InvokeDenied, text))
    }
}

/// Counts a decision. Labels come from policies, so that callers cannot make any.
fn count(decision: Decision<'_>) {
    let Some(policy) = decision.policy else {
        let name = if decision.is_allowed {
            "dapr_runtime_acl_global_policy_action_allowed_total"
        } else {
            "dapr_runtime_acl_global_policy_action_blocked_total"
        };
        return metrics::counter!(name).increment(1);
    };
    let name = if decision.is_allowed {
        "dapr_runtime_acl_app_policy_action_allowed_total"
    } else {
        "dapr_runtime_acl_app_policy_action_blocked_total"
    };
    let labels = [
        ("src_app_id", policy.app_id().to_owned()),
        ("trust_domain", policy.trust_domain().to_owned()),
        ("namespace", policy.namespace().to_owned()),
    ];
    metrics::counter!(name, &labels).increment(1);
}

impl Invoke {
    /// Lets a call of a method in, or not. Calls of the own app's client do not come here.
    pub(super) fn admit(
        &self,
        caller: Option<&SpiffeId>,
        path: &MethodPath,
        verb: Option<&Method>,
    ) -> Result<(), Failure> {
        let Some(gate) = &self.gate else {
            return Ok(());
        };
        let is_grpc = |app: &crate::app_channel::AppChannel| app.config().protocol.is_grpc();
        let operation = if self.app.as_ref().is_some_and(is_grpc) {
            Operation::Invoke(path)
        } else {
            Operation::Http { path, verb }
        };
        gate.pass(caller, operation)
    }

    /// The same for a call of the app's own service.
    pub(super) fn admit_proxied(
        &self,
        caller: Option<&SpiffeId>,
        method: &GrpcMethod,
    ) -> Result<(), Failure> {
        let gate = self.gate.as_ref();
        gate.map_or(Ok(()), |gate| gate.pass(caller, Operation::Grpc(method)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::metrics::Metrics;

    #[test]
    fn decisions_are_counted_with_the_names_of_policies_only() {
        let metrics = Metrics::new(None);
        let policy = SpiffeId::new("td", "ns", "app").unwrap();
        metrics::with_local_recorder(&metrics, || {
            for is_allowed in [true, false] {
                for policy in [None, Some(&policy)] {
                    count(Decision { is_allowed, policy });
                }
            }
        });
        let text = metrics.render();
        let labels = "{src_app_id=\"app\",trust_domain=\"td\",namespace=\"ns\"}";
        for line in [
            "dapr_runtime_acl_global_policy_action_allowed_total 1".to_owned(),
            "dapr_runtime_acl_global_policy_action_blocked_total 1".to_owned(),
            format!("dapr_runtime_acl_app_policy_action_allowed_total{labels} 1"),
            format!("dapr_runtime_acl_app_policy_action_blocked_total{labels} 1"),
        ] {
            assert!(text.lines().any(|other| other == line), "{line}\n{text}");
        }
    }
}
