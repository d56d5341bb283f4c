//! The middlewares that calls go through before anybody answers them.

use std::sync::Arc;

use http::request::Parts;
use tracing::error;

use super::error::{Error, Reason};
use crate::base::token::TOKEN_HEADER;
use crate::process::listener::Remote;
use crate::process::log_rate::LogRate;
use crate::registry::Registry;
use crate::registry::pipelines::Place;
use crate::registry::snapshot::Snapshot;

pub use crate::components::middleware::Rejection;

/// One of the two pipelines of a sidecar. Cheap to clone.
///
/// Invariant: a call that passes went through every middleware that the Configuration names, in
/// their order, and has no token of an API or an app in its headers.
#[derive(Clone)]
pub struct Pipeline {
    registry: Arc<Registry>,
    of: fn(&Snapshot) -> &Arc<[Place]>,
    stopped: Arc<LogRate>,
}

/// Why a call ends in a pipeline.
#[derive(Debug)]
pub enum Stopped {
    /// A middleware answered it.
    Rejected(Rejection),
    /// A middleware does not run, so that nobody can tell whether it would pass.
    Unavailable(Error),
}

impl Pipeline {
    /// The pipeline of calls of the HTTP API (`spec.httpPipeline`).
    pub fn http(registry: Arc<Registry>) -> Self {
        Self::new(registry, |snapshot| &snapshot.pipelines.http)
    }

    /// The pipeline of calls to the app over HTTP (`spec.appHttpPipeline`).
    pub fn app_http(registry: Arc<Registry>) -> Self {
        Self::new(registry, |snapshot| &snapshot.pipelines.app_http)
    }

    fn new(registry: Arc<Registry>, of: fn(&Snapshot) -> &Arc<[Place]>) -> Self {
        Self {
            registry,
            of,
            stopped: Arc::default(),
        }
    }

    /// Whether every call passes as it is.
    pub fn is_empty(&self) -> bool {
        (self.of)(&self.registry.peek()).is_empty()
    }

    /// Sends the head of a call through. Its path may be another one afterwards, which has to be
    /// normalised and judged as if the caller had sent it.
    ///
    /// # Errors
    ///
    /// The call ends here.
    pub async fn run(&self, head: &mut Parts, caller: Remote) -> Result<(), Stopped> {
        let places = Arc::clone((self.of)(&self.registry.peek()));
        for place in &*places {
            let Some(middleware) = &place.middleware else {
                return Err(self.unavailable(&place.component));
            };
            if let Err(rejection) = middleware.handle(head, caller).await {
                count(&place.component, "rejected");
                return Err(Stopped::Rejected(rejection));
            }
        }
        head.headers.remove(TOKEN_HEADER);
        Ok(())
    }

    fn unavailable(&self, component: &str) -> Stopped {
        count(component, "unavailable");
        if let Some(left_out) = self.stopped.pass() {
            error!(
                component,
                left_out, "Stopped a call: a middleware of its pipeline does not run"
            );
        }
        Stopped::Unavailable(Error::new(
            Reason::MiddlewareUnavailable,
            format!("middleware {component} of the pipeline is not available"),
        ))
    }
}

fn count(component: &str, reason: &'static str) {
    metrics::counter!("sidegate_middleware_stopped_total",
        "component" => component.to_owned(), "reason" => reason)
    .increment(1);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::components::middleware::Middleware;
    use crate::registry::pipelines::Pipelines;
    use async_trait::async_trait;
    use http::{HeaderValue, Request, StatusCode};

    /// Adds its name to a header, sets a token, and rejects what it is told to.
    struct Marks(&'static str);

    #[async_trait]
    impl Middleware for Marks {
        async fn handle(&self, head: &mut Parts, _: Remote) -> Result<(), Rejection> {
            let name = HeaderValue::from_static(self.0);
            head.headers.append("seen-by", name);
            let token = HeaderValue::from_static("smuggled");
            head.headers.append(TOKEN_HEADER, token);
            if head.uri.path() == format!("/stop-at-{}", self.0) {
                return Err(Rejection::new(StatusCode::IM_A_TEAPOT, self.0));
            }
            Ok(())
        }
    }

    fn snapshot(places: &[(&'static str, bool)]) -> Snapshot {
        let place = |(name, runs): &(&'static str, bool)| Place {
            component: (*name).to_owned(),
            middleware: runs.then(|| Arc::new(Marks(name)) as _),
        };
        Snapshot {
            pipelines: Pipelines {
                http: places.iter().map(place).collect(),
                app_http: Arc::default(),
            },
            ..Snapshot::default()
        }
    }

    async fn run(pipeline: &Pipeline, path: &str) -> (Result<(), Stopped>, Parts) {
        let mut head = Request::get(path).body(()).unwrap().into_parts().0;
        let outcome = pipeline.run(&mut head, Remote::Unix).await;
        (outcome, head)
    }

    fn seen_by(head: &Parts) -> Vec<&str> {
        let values = head.headers.get_all("seen-by").into_iter();
        values.map(|value| value.to_str().unwrap()).collect()
    }

    #[tokio::test]
    async fn goes_through_all_in_their_order_and_leaves_no_token() {
        let registry = Registry::holding(snapshot(&[("a", true), ("b", true), ("c", true)]));
        let pipeline = Pipeline::http(Arc::clone(&registry));
        let (outcome, head) = run(&pipeline, "/").await;
        assert!(outcome.is_ok());
        assert_eq!(seen_by(&head), ["a", "b", "c"]);
        assert!(!head.headers.contains_key(TOKEN_HEADER));
        let (outcome, head) = run(&pipeline, "/stop-at-b").await;
        let Err(Stopped::Rejected(rejection)) = outcome else {
            panic!("{outcome:?}")
        };
        assert_eq!((rejection.status.as_u16(), rejection.body), (418, "b"));
        assert_eq!(seen_by(&head), ["a", "b"]);
        assert!(!pipeline.is_empty());
        assert!(Pipeline::app_http(registry).is_empty());
    }

    #[tokio::test]
    async fn stops_at_a_middleware_that_does_not_run_until_it_does() {
        let registry = Registry::holding(snapshot(&[("a", true), ("b", false), ("c", true)]));
        let pipeline = Pipeline::http(Arc::clone(&registry));
        let (outcome, head) = run(&pipeline, "/").await;
        let Err(Stopped::Unavailable(error)) = outcome else {
            panic!("{outcome:?}")
        };
        assert_eq!(error.reason(), Reason::MiddlewareUnavailable);
        assert_eq!(
            error.message(),
            "middleware b of the pipeline is not available"
        );
        assert_eq!(seen_by(&head), ["a"]);
        registry.replace(snapshot(&[("a", true), ("b", true)]));
        let (outcome, head) = run(&pipeline, "/").await;
        assert!(outcome.is_ok());
        assert_eq!(seen_by(&head), ["a", "b"]);
    }
}
