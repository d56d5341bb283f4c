//! Which middlewares the calls go through, as the Configuration names them.
//!
//! Invariant: a place in a pipeline is never left out. One whose middleware does not run stays, and
//! stops the calls.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::plan::is_same_version;
use super::running::Running;
use super::snapshot::Snapshot;
use crate::base::names::nearest;
use crate::components::catalog::check_middleware_type;
use crate::components::middleware::SharedMiddleware;
use crate::resources::configuration::{Configuration, Handler};

/// The pipelines of a sidecar at one moment.
#[derive(Clone, Default)]
pub(crate) struct Pipelines {
    /// Of calls of the HTTP API (`spec.httpPipeline`).
    pub(crate) http: Arc<[Place]>,
    /// Of calls to the app over HTTP (`spec.appHttpPipeline`).
    pub(crate) app_http: Arc<[Place]>,
}

/// One place in a pipeline.
#[derive(Clone)]
pub(crate) struct Place {
    /// The name of the component.
    pub(crate) component: String,
    /// Where it runs, and has the type that the pipeline names.
    pub(crate) middleware: Option<SharedMiddleware>,
}

impl Pipelines {
    /// The pipelines of a configuration with what runs now.
    pub(super) fn new(configuration: &Configuration, running: &BTreeMap<String, Running>) -> Self {
        let place = |handler: &Handler| Place {
            component: handler.name.clone(),
            middleware: running
                .get(&handler.name)
                .and_then(|run| run.middleware(handler))
                .cloned(),
        };
        Self {
            http: configuration.http_pipeline.iter().map(place).collect(),
            app_http: configuration.app_http_pipeline.iter().map(place).collect(),
        }
    }
}

impl Handler {
    /// Whether a component is what the pipeline means by its type and version.
    pub(super) fn is_of(&self, component_type: &str, version: &str) -> bool {
        self.handler_type.eq_ignore_ascii_case(component_type)
            && is_same_version(&self.version, version)
    }
}

/// What is wrong with the pipelines of the configuration, a line each. A component that is there
/// and does not run yet (`ignoreErrors`, or a secret that is missing) is no problem: calls are
/// stopped until it does.
pub(super) fn problems(snapshot: &Snapshot) -> Vec<String> {
    let configuration = &snapshot.configuration;
    let sections = [
        ("httpPipeline", &configuration.http_pipeline),
        ("appHttpPipeline", &configuration.app_http_pipeline),
    ];
    let mut problems = Vec::new();
    for (section, handlers) in sections {
        for (at, handler) in handlers.iter().enumerate() {
            if let Err(problem) = check(handler, snapshot) {
                let place = format!("spec.{section}.handlers[{at}] of the Configuration");
                problems.push(format!("{place}: handler {:?}: {problem}", handler.name));
            }
        }
    }
    problems
}

fn check(handler: &Handler, snapshot: &Snapshot) -> Result<(), String> {
    check_middleware_type(&handler.handler_type, &handler.version)
        .map_err(|problem| problem.to_string())?;
    let running = snapshot.components.iter();
    let running = running.map(|one| (&one.name, &one.component_type, &one.version));
    let failed = snapshot.failed.iter();
    let failed = failed.map(|one| (&one.name, &one.component_type, &one.version));
    let all: Vec<_> = running.chain(failed).collect();
    match all.iter().find(|(name, ..)| **name == handler.name) {
        Some((_, component_type, version)) if handler.is_of(component_type, version) => Ok(()),
        Some((_, component_type, version)) => Err(format!(
            "the component of that name is a {component_type}/{version}, and the pipeline wants a \
             {}/{}",
            handler.handler_type, handler.version
        )),
        None => {
            let near = nearest(&handler.name, all.iter().map(|(name, ..)| name.as_str()));
            let hint = near.map(|near| format!("; did you mean {near:?}?"));
            Err(format!(
                "no component of that name is loaded{}",
                hint.unwrap_or_default()
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::snapshot::{FailedComponent, LoadedComponent};

    const TYPE: &str = "middleware.http.ratelimit";

    fn snapshot(handlers: &[(&str, &str, &str)]) -> Snapshot {
        let handlers = handlers
            .iter()
            .map(|(name, handler_type, version)| Handler {
                name: (*name).to_owned(),
                handler_type: (*handler_type).to_owned(),
                version: (*version).to_owned(),
            });
        let configuration = Configuration {
            app_http_pipeline: handlers.collect(),
            ..Configuration::default()
        };
        let loaded = |name: &str, component_type: &str| LoadedComponent {
            name: name.to_owned(),
            component_type: component_type.to_owned(),
            version: "v1".to_owned(),
            capabilities: Vec::new(),
        };
        let failed = FailedComponent {
            name: "waits".to_owned(),
            component_type: TYPE.to_owned(),
            version: String::new(),
            reason: "a secret is missing".to_owned(),
            keeps_running: false,
        };
        Snapshot {
            components: vec![
                loaded("limit", TYPE),
                loaded("store", "secretstores.local.env"),
            ],
            failed: vec![failed],
            configuration: Arc::new(configuration),
            ..Snapshot::default()
        }
    }

    #[test]
    fn a_handler_names_a_component_of_its_type() {
        let good = [
            ("limit", TYPE, "v1"),
            ("limit", "middleware.http.RateLimit", ""),
            ("waits", TYPE, "v1"),
        ];
        assert_eq!(problems(&snapshot(&good)), Vec::<String>::new());
    }

    #[test]
    fn tells_of_all_handlers_that_cannot_run() {
        let bad = [
            ("limits", TYPE, "v1"),
            ("auth", TYPE, ""),
            ("limit", "middleware.http.routeralias", "v1"),
            ("store", TYPE, "v1"),
        ];
        let problem = |at: usize, text: &str| {
            format!("spec.appHttpPipeline.handlers[{at}] of the Configuration: handler {text}")
        };
        assert_eq!(
            problems(&snapshot(&bad)),
            [
                problem(
                    0,
                    "\"limits\": no component of that name is loaded; did you mean \"limit\"?"
                ),
                problem(1, "\"auth\": no component of that name is loaded"),
                problem(
                    2,
                    "\"limit\": the component of that name is a middleware.http.ratelimit/v1, and \
                     the pipeline wants a middleware.http.routeralias/v1"
                ),
                problem(
                    3,
                    "\"store\": the component of that name is a secretstores.local.env/v1, and \
                     the pipeline wants a middleware.http.ratelimit/v1"
                ),
            ]
        );
        let unserved = [
            ("limit", "middleware.http.opa", "v1"),
            ("limit", "state.redis", "v1"),
        ];
        let problems = problems(&snapshot(&unserved));
        assert!(problems[0].contains("middleware.http.opa is not served by this build"));
        assert!(problems[1].contains("couldn't find middleware state.redis/v1"));
    }
}
