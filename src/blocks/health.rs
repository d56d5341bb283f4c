//! Whether the sidecar can be used.

use crate::process::readiness::Readiness;

use super::error::{Error, Reason};

/// The two health checks of the API.
#[derive(Clone, Debug)]
pub struct Health {
    app_id: String,
    /// Everything, the app and its subscriptions included.
    whole: Readiness,
    /// The APIs that the app calls. It does not wait for the app.
    outbound: Readiness,
}

impl Health {
    /// Checks these two states.
    pub fn new(app_id: impl Into<String>, whole: Readiness, outbound: Readiness) -> Self {
        Self {
            app_id: app_id.into(),
            whole,
            outbound,
        }
    }

    /// Whether the sidecar is ready, and, where `app_id` is given, whether it is that app's.
    pub fn check(&self, app_id: Option<&str>) -> Result<(), Error> {
        let pending = self.whole.pending();
        if !pending.is_empty() {
            let text = format!("dapr is not ready: [{}]", pending.join(" "));
            return Err(Error::new(Reason::NotReady, text));
        }
        match app_id {
            Some(app_id) if app_id != self.app_id => Err(Error::new(
                Reason::AppIdMismatch,
                "dapr app-id does not match",
            )),
            _ => Ok(()),
        }
    }

    /// Whether the APIs that the app calls are usable.
    pub fn check_outbound(&self) -> Result<(), Error> {
        if self.outbound.is_ready() {
            Ok(())
        } else {
            let text = "dapr outbound is not ready";
            Err(Error::new(Reason::OutboundNotReady, text))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_what_is_not_ready() {
        let (whole, outbound) = (Readiness::new(), Readiness::new());
        let health = Health::new("app", whole.clone(), outbound.clone());
        let guards = (whole.wait_for("app"), outbound.wait_for("runtime"));
        let error = health.check(None).unwrap_err();
        assert_eq!(error.reason(), Reason::NotReady);
        assert_eq!(error.message(), "dapr is not ready: [app]");
        let error = health.check_outbound().unwrap_err();
        assert_eq!(error.message(), "dapr outbound is not ready");
        drop(guards);
        assert!(health.check(None).is_ok() && health.check_outbound().is_ok());
    }

    #[test]
    fn knows_its_own_app_id_only() {
        let health = Health::new("app", Readiness::new(), Readiness::new());
        assert!(health.check(Some("app")).is_ok());
        for other in ["", "App", "app2"] {
            let error = health.check(Some(other)).unwrap_err();
            assert_eq!(error.reason(), Reason::AppIdMismatch, "{other}");
        }
    }
}
