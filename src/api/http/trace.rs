//! The span of a call over HTTP: what is told of it, and what never is. Nothing in it is from the
//! query, the body or a header, but the id of the app that is called.

use http::request::Parts;
use http::{HeaderMap, Method, StatusCode};

use super::answer::Answer;
use crate::api::routes::{Route, RouteId, decode_segment};
use crate::blocks::invoke::headers::APP_ID;
use crate::process::trace::Tracer;
use crate::process::trace::span::{Outcome, Span};

/// What the path of an invocation begins with.
const INVOKE: &str = "/v1.0/invoke/";
/// What the paths of secrets and of state begin with.
const SECRETS: &str = "/v1.0/secrets/";
const STATE: &str = "/v1.0/state/";

/// Begins the span of a call whose head lost its token already, and writes its context into the
/// head. Health checks have none.
pub(super) fn begin(tracer: &Tracer, route: &'static Route, head: &mut Parts) -> Option<Span> {
    if route.exempt {
        return None;
    }
    let target = || target(route, &head.headers, head.uri.path());
    let mut span = tracer.server_span(&head.headers, || match target() {
        Some((app, method)) => format!("CallLocal/{app}/{method}").into(),
        None => route.pattern.into(),
    });
    span.inject(&mut head.headers);
    if span.is_recorded() {
        describe(&mut span, route, head);
    }
    Some(span)
}

/// The attributes in the names of Dapr, and in those of OpenTelemetry's conventions.
fn describe(span: &mut Span, route: &'static Route, head: &Parts) {
    let method = method_name(&head.method);
    span.set("http.request.method", method);
    span.set("http.route", route.pattern);
    span.set("dapr.protocol", "http");
    span.set("dapr.api", format!("{method} {}", route.pattern));
    let path = head.uri.path();
    if let Some((app, _)) = target(route, &head.headers, path) {
        span.set("rpc.service", "ServiceInvocation");
        span.set("net.peer.name", app.to_owned());
    } else if matches!(route.id, RouteId::GetSecret | RouteId::GetBulkSecret) {
        describe_store(span, "secrets", path.strip_prefix(SECRETS));
    } else if route.pattern.starts_with(STATE) {
        describe_store(span, "state", path.strip_prefix(STATE));
    }
}

/// The kind of a store and its name, with which the rest of its path begins; never a key.
fn describe_store(span: &mut Span, kind: &'static str, rest: Option<&str>) {
    span.set("db.system", kind);
    let store = rest.and_then(|rest| rest.split('/').next());
    if let Some(Ok(store)) = store.map(decode_segment) {
        span.set("db.name", store.into_owned());
    }
}

/// Ends the span with the status of an answer, which gets its context.
pub(super) fn end(span: Option<Span>, answer: &mut Answer) {
    let Some(mut span) = span else {
        return;
    };
    span.mark(answer.headers_mut());
    let status = answer.status();
    if span.is_recorded() {
        span.set("http.response.status_code", i64::from(status.as_u16()));
        span.set("dapr.status_code", status.as_u16().to_string());
    }
    span.end(outcome(status));
}

/// Only what is a fault of a server is one of the span (OpenTelemetry's conventions for HTTP).
fn outcome(status: StatusCode) -> Outcome {
    if status.is_server_error() {
        Outcome::Failed(status.canonical_reason().unwrap_or("server error"))
    } else {
        Outcome::Fine
    }
}

/// The app and the method of an invocation. There is none where the target has another form than
/// an app id: that of a URL may hold a password.
fn target<'a>(route: &Route, headers: &'a HeaderMap, path: &'a str) -> Option<(&'a str, &'a str)> {
    if !matches!(route.id, RouteId::Invoke | RouteId::Fallback) {
        return None;
    }
    let named = headers.get(APP_ID).and_then(|id| id.to_str().ok());
    let (app, method) = match named.filter(|id| !id.is_empty()) {
        Some(id) => (id, path.trim_start_matches('/')),
        None => path.strip_prefix(INVOKE)?.split_once("/method/")?,
    };
    is_app_id(app).then_some((app, method))
}

fn is_app_id(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    (1..=128).contains(&text.len()) && text.bytes().all(is_plain)
}

/// Callers may make methods up; the conventions have one name for all of these.
fn method_name(method: &Method) -> &'static str {
    const KNOWN: [&str; 9] = [
        "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH",
    ];
    let known = KNOWN.iter().find(|known| **known == method.as_str());
    known.copied().unwrap_or("_OTHER")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::routes::{CleanPath, Surface, find};
    use http::HeaderValue;

    fn target_of(path: &str, app: Option<&'static str>) -> Option<String> {
        let clean = CleanPath::parse(path).unwrap();
        let route = find(Surface::Api, &Method::POST, &clean).route();
        let mut headers = HeaderMap::new();
        if let Some(app) = app {
            headers.insert(APP_ID, HeaderValue::from_static(app));
        }
        let found = target(route, &headers, path);
        found.map(|(app, method)| format!("{app} {method}"))
    }

    #[test]
    fn a_target_is_an_app_id_or_not_told() {
        let told = |path, app| target_of(path, app).unwrap_or_default();
        assert_eq!(told("/v1.0/invoke/a.ns/method/m/n", None), "a.ns m/n");
        assert_eq!(told("/orders/1", Some("app")), "app orders/1");
        for (path, app) in [
            ("/v1.0/invoke/http:/u:p@host/method/m", None),
            ("/v1.0/invoke/a%2Fb/method/m", None),
            ("/v1.0/invoke/a", None),
            ("/orders/1", None),
            ("/orders/1", Some("https://u:p@host")),
            ("/v1.0/shutdown", Some("app")),
        ] {
            assert_eq!(told(path, app), "", "{path}");
        }
    }

    #[test]
    fn a_method_that_is_made_up_has_no_name_of_its_own() {
        assert_eq!(method_name(&Method::PATCH), "PATCH");
        assert_eq!(
            method_name(&Method::from_bytes(b"hunter2").unwrap()),
            "_OTHER"
        );
    }
}
