//! The path of a gRPC call.

use std::fmt;

/// What the names of Dapr's own services begin with.
const DAPR: &str = "dapr.proto.";

/// `/<service>/<method>`, each of letters, digits, `.`, `_` and `-` (gRPC over HTTP/2, "Requests").
/// What has another form is read in different ways by those on the way, so it goes nowhere.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct GrpcMethod(String);

/// A path that is no gRPC method.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "malformed method name: accepted is /service/method with letters, digits, \".\", \"_\" and \
     \"-\""
)]
pub struct GrpcMethodError;

impl GrpcMethod {
    /// From the path of a request, which is not decoded.
    pub fn parse(path: &str) -> Result<Self, GrpcMethodError> {
        let (service, method) = path
            .strip_prefix('/')
            .and_then(|rest| rest.split_once('/'))
            .ok_or(GrpcMethodError)?;
        if is_name(service) && is_name(method) {
            Ok(Self(path.to_owned()))
        } else {
            Err(GrpcMethodError)
        }
    }

    /// The path.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the method belongs to one of Dapr's own services. Callers reach none of them in an
    /// app or another sidecar: they would speak as a sidecar does.
    pub fn is_dapr(&self) -> bool {
        self.0[1..].starts_with(DAPR)
    }
}

impl fmt::Display for GrpcMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_name(text: &str) -> bool {
    let of_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    text.bytes().all(of_name) && text.bytes().any(|byte| byte != b'.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_two_names_and_nothing_else() {
        for (path, is_method) in [
            ("/a.b.C/D", true),
            ("/grpc.health.v1.Health/Check", true),
            ("/my-service/do_it", true),
            ("/a/b/c", false),
            ("/a", false),
            ("/a/", false),
            ("//a", false),
            ("/../a", false),
            ("/a/..", false),
            ("/a/%62", false),
            ("/a/b?c", false),
            ("/a;b/c", false),
            ("/ä/b", false),
            ("a/b", false),
            ("", false),
        ] {
            assert_eq!(GrpcMethod::parse(path).is_ok(), is_method, "{path}");
        }
    }

    #[test]
    fn knows_daprs_own_services() {
        for (path, is_dapr) in [
            ("/dapr.proto.internals.v1.ServiceInvocation/CallLocal", true),
            ("/dapr.proto.runtime.v1.AppCallback/OnTopicEvent", true),
            ("/dapr.protocol.Own/Call", false),
            ("/own.dapr.proto.X/Call", false),
        ] {
            assert_eq!(
                GrpcMethod::parse(path).unwrap().is_dapr(),
                is_dapr,
                "{path}"
            );
        }
    }
}
