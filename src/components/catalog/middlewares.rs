//! The types of middlewares.

use std::sync::Arc;

use super::{is_first, listed};
use crate::components::metadata::Reader;
#[cfg(feature = "remote")]
use crate::components::middleware::bearer::Bearer;
use crate::components::middleware::ratelimit::RateLimit;
use crate::components::middleware::routeralias::RouterAlias;
use crate::components::middleware::{Middleware, SharedMiddleware};
use crate::components::{Error, ResolvedComponent};

/// A middleware that this build makes.
#[derive(Clone, Copy)]
enum MiddlewareType {
    Bearer,
    RateLimit,
    RouterAlias,
}

const MIDDLEWARE_TYPES: &[(&str, MiddlewareType)] = &[
    ("middleware.http.bearer", MiddlewareType::Bearer),
    ("middleware.http.ratelimit", MiddlewareType::RateLimit),
    ("middleware.http.routeralias", MiddlewareType::RouterAlias),
];

/// The middlewares of daprd 1.18 that this build does not make.
pub(super) const UNSERVED: [&str; 7] = [
    "middleware.http.oauth2",
    "middleware.http.oauth2clientcredentials",
    "middleware.http.opa",
    "middleware.http.routerchecker",
    "middleware.http.sentinel",
    "middleware.http.uppercase",
    "middleware.http.wasm",
];

/// The types, for error texts.
pub(in crate::components) fn types() -> String {
    listed(MIDDLEWARE_TYPES)
}

pub(super) async fn build(component: &ResolvedComponent) -> Result<SharedMiddleware, Error> {
    let middleware_type = middleware_type(&component.component_type, &component.version)?;
    let mut reader = Reader::new(component)?;
    let middleware: Arc<dyn Middleware> = match middleware_type {
        MiddlewareType::Bearer => bearer(&component.name, &mut reader).await?,
        MiddlewareType::RateLimit => Arc::new(RateLimit::start(&mut reader)?),
        MiddlewareType::RouterAlias => Arc::new(RouterAlias::start(&mut reader)?),
    };
    reader.warn_unknown();
    Ok(middleware)
}

#[cfg(feature = "remote")]
async fn bearer(name: &str, reader: &mut Reader<'_>) -> Result<SharedMiddleware, Error> {
    Ok(Arc::new(Bearer::start(name, reader).await?))
}

#[cfg(not(feature = "remote"))]
async fn bearer(_: &str, _: &mut Reader<'_>) -> Result<SharedMiddleware, Error> {
    let problem = "this build cannot read the keys of an issuer: it was made without the feature \
                   \"remote\"";
    Err(Error::Init(problem.to_owned()))
}

/// Whether this build makes a type of middleware.
///
/// # Errors
///
/// A type that nobody knows, or that only Dapr has.
pub fn check_middleware_type(component_type: &str, version: &str) -> Result<(), Error> {
    middleware_type(component_type, version).map(|_| ())
}

fn middleware_type(component_type: &str, version: &str) -> Result<MiddlewareType, Error> {
    let wanted = component_type.to_lowercase();
    let known = MIDDLEWARE_TYPES.iter().find(|(name, _)| *name == wanted);
    match known {
        Some((_, middleware_type)) if is_first(version) => Ok(*middleware_type),
        _ if UNSERVED.contains(&&*wanted) => Err(Error::UnservedMiddleware {
            component_type: component_type.to_owned(),
        }),
        _ => Err(Error::UnknownMiddleware {
            component_type: component_type.to_owned(),
            version: version.to_owned(),
        }),
    }
}
