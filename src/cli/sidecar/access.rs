//! The access policy of the own app.

use tracing::warn;

use crate::peers::access_control::AccessControl;
use crate::resources::configuration::Configuration;

/// Said once: policies are about callers, and only certificates tell who calls.
const NOBODY_IS_KNOWN: &str = "spec.accessControl has policies, but without mTLS no caller is \
                               known: its defaultAction decides on every call";

/// From the Configuration, where it limits who may call. `has_mtls`: callers have certificates.
pub(super) fn control(configuration: &Configuration, has_mtls: bool) -> Option<AccessControl> {
    let section = configuration.access_control.as_ref()?;
    let access_control = AccessControl::new(section);
    if access_control.has_policies() && !has_mtls {
        warn!("{NOBODY_IS_KNOWN}");
    }
    Some(access_control)
}
