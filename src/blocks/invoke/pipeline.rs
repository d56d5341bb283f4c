//! The middlewares between a sidecar and its app (`spec.appHttpPipeline`).

use http::uri::PathAndQuery;
use http::{Request, Response, Uri};

use super::{Answer, Failure, Head};
use crate::base::method_path::MethodPath;
use crate::blocks::error::Reason;
use crate::blocks::pipeline::{Pipeline, Stopped};
use crate::process::body::whole;
use crate::process::listener::Remote;

/// What a pipeline makes of a call.
pub(super) enum Outcome {
    /// It goes on to the app, perhaps to another path.
    Passed(Head),
    /// A middleware answered it in place of the app.
    Answered(Answer),
}

/// Sends a call of an HTTP app through. A path that a middleware wrote is normalised as a caller's
/// is.
pub(super) async fn through(pipeline: &Pipeline, mut head: Head) -> Result<Outcome, Failure> {
    let Some(method) = head.method.clone().filter(|_| !pipeline.is_empty()) else {
        return Ok(Outcome::Passed(head));
    };
    let invalid = |text: String| Failure::new(Reason::InvokeMethodInvalid, text);
    let path = head.path.encoded();
    let target = match &head.query {
        Some(query) => format!("/{path}?{query}"),
        None => format!("/{path}"),
    };
    let target = PathAndQuery::try_from(target)
        .map_err(|_| invalid("path and query make no HTTP request target".to_owned()))?;
    let mut request = Request::new(());
    *request.method_mut() = method;
    *request.uri_mut() = Uri::from(target);
    *request.headers_mut() = std::mem::take(&mut head.headers);
    let (mut parts, ()) = request.into_parts();
    // Nobody knows here from where the call came: all callers are one.
    match pipeline.run(&mut parts, Remote::Unix).await {
        Ok(()) => {}
        Err(Stopped::Unavailable(error)) => {
            return Err(Failure::new(error.reason(), error.message()));
        }
        Err(Stopped::Rejected(rejection)) => {
            let mut answer = Response::new(whole(rejection.body));
            *answer.status_mut() = rejection.status;
            *answer.headers_mut() = rejection.headers;
            return Ok(Outcome::Answered(Answer::Http(answer)));
        }
    }
    let path = MethodPath::from_encoded(parts.uri.path());
    head.path = path.map_err(|error| invalid(error.to_string()))?;
    head.query = parts.uri.query().map(str::to_owned);
    head.headers = parts.headers;
    Ok(Outcome::Passed(head))
}
