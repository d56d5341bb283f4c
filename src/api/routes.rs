//! The HTTP routes: one table, and the one place where a path is read.
//!
//! Invariant: a path is normalised once, here. The same normalised path decides the route, with it
//! the exemption from the token, and is what handlers see. Two readings of one path were the cause
//! of Dapr's bypasses (CVE-2023-37918, CVE-2026-41491).

use std::borrow::Cow;
use std::ops::Range;

use http::Method;

use crate::base::method_path::has_valid_escapes;

mod table;

pub use table::ROUTES;

/// A route of the HTTP API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RouteId {
    /// Whether the sidecar is ready.
    Healthz,
    /// Whether the APIs that an app calls are usable.
    HealthzOutbound,
    /// What the sidecar says of itself.
    GetMetadata,
    /// Adds to what it says.
    SetMetadata,
    /// Ends the process.
    Shutdown,
    /// Every secret of a store.
    GetBulkSecret,
    /// One secret.
    GetSecret,
    /// Publishes several messages.
    BulkPublish,
    /// Publishes a message.
    Publish,
    /// An operation of an output binding.
    InvokeBinding,
    /// Reads a value.
    GetState,
    /// Deletes one.
    DeleteState,
    /// Saves values.
    SaveState,
    /// Reads several.
    BulkGetState,
    /// Saves and deletes, all or nothing.
    StateTransaction,
    /// Looks for values.
    QueryState,
    /// Items of a configuration store.
    GetConfiguration,
    /// Begins to tell the app of changes of items.
    SubscribeConfiguration,
    /// Ends that.
    UnsubscribeConfiguration,
    /// Takes a lock.
    TryLock,
    /// Gives a lock back.
    Unlock,
    /// Service invocation by path.
    Invoke,
    /// Everything else: service invocation by header, or an unknown path.
    Fallback,
}

/// A listener that serves HTTP routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Surface {
    /// The HTTP API (3500, or a Unix socket).
    Api,
    /// The public port (3501): health and metadata.
    Public,
}

/// One row of the table.
#[derive(Debug)]
pub struct Route {
    /// Its name in the code.
    pub id: RouteId,
    /// The methods that it answers; empty: all.
    pub methods: &'static [Method],
    /// Literal segments, `{name}` for one segment, and `{*name}` at the end for the rest. Also the
    /// value of the metric label `path`.
    pub pattern: &'static str,
    /// Whether the public port serves it too.
    pub on_public: bool,
    /// Whether it may be called without the API token.
    pub exempt: bool,
    /// Its name in the API lists of a Configuration, after its version where that is not 1; empty:
    /// it cannot be denied.
    pub api_name: &'static str,
}

/// The index in [`ROUTES`] of the row that matches everything.
pub const FALLBACK: usize = ROUTES.len() - 1;

/// A path with a `%` that two hexadecimal digits do not follow, or whose bytes are no UTF-8.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
#[error("the path has an escape that is not valid")]
pub struct PathError;

/// The path of a request: absolute, without empty, `.` and `..` segments and without a slash at
/// the end. Percent escapes are kept and well-formed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CleanPath<'a>(Cow<'a, str>);

impl<'a> CleanPath<'a> {
    /// Normalises the path as it came, still escaped.
    pub fn parse(raw: &'a str) -> Result<Self, PathError> {
        if !has_valid_escapes(raw) {
            return Err(PathError);
        }
        if raw == "/" || is_clean(raw) {
            return Ok(Self(Cow::Borrowed(raw)));
        }
        let mut segments = Vec::new();
        for segment in raw.split('/') {
            match segment {
                "" | "." => {}
                ".." => drop(segments.pop()),
                other => segments.push(other),
            }
        }
        Ok(Self(Cow::Owned(format!("/{}", segments.join("/")))))
    }

    /// The path as text, escaped.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether normalising changed anything.
    pub fn is_changed(&self) -> bool {
        matches!(self.0, Cow::Owned(_))
    }
}

fn is_clean(path: &str) -> bool {
    path.len() > 1
        && path.starts_with('/')
        && path[1..]
            .split('/')
            .all(|segment| !matches!(segment, "" | "." | ".."))
}

/// Decodes the percent escapes of one segment, once. `+` stays `+`: a path is no form (RFC 3986).
pub fn decode_segment(segment: &str) -> Result<Cow<'_, str>, PathError> {
    if !segment.contains('%') {
        return Ok(Cow::Borrowed(segment));
    }
    if !has_valid_escapes(segment) {
        return Err(PathError);
    }
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let (digits, after) = rest.split_at_checked(2).ok_or(PathError)?;
        let digits = std::str::from_utf8(digits).map_err(|_| PathError)?;
        bytes.push(u8::from_str_radix(digits, 16).map_err(|_| PathError)?);
        rest = after;
    }
    String::from_utf8(bytes)
        .map(Cow::Owned)
        .map_err(|_| PathError)
}

/// The route of a path, with its `{…}` segments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Match {
    /// The index of the row in [`ROUTES`].
    pub index: usize,
    /// Where the segments stand in the path.
    params: [Range<usize>; 2],
}

impl Match {
    /// What a surface does not serve.
    pub const FALLBACK: Self = Self {
        index: FALLBACK,
        params: [0..0, 0..0],
    };

    /// The row.
    pub fn route(&self) -> &'static Route {
        &ROUTES[self.index]
    }

    /// The `{…}` segment at a position from 0, decoded. `path` is the path that was matched.
    pub fn param<'p>(&self, position: usize, path: &'p str) -> Result<Cow<'p, str>, PathError> {
        let range = self.params.get(position).cloned().unwrap_or_default();
        decode_segment(path.get(range).unwrap_or_default())
    }
}

/// Finds the route of a call.
pub fn find(surface: Surface, method: &Method, path: &CleanPath<'_>) -> Match {
    for (index, route) in ROUTES.iter().enumerate() {
        let serves = surface == Surface::Api || route.on_public;
        let takes = route.methods.is_empty() || route.methods.contains(method);
        if serves
            && takes
            && let Some(params) = match_pattern(route.pattern, path.as_str())
        {
            return Match { index, params };
        }
    }
    Match::FALLBACK
}

fn match_pattern(pattern: &str, path: &str) -> Option<[Range<usize>; 2]> {
    let mut params = [0..0, 0..0];
    let mut found = 0;
    // Patterns and paths both begin with a slash.
    let (mut patterns, mut at) = (pattern[1..].split('/'), 1);
    while let Some(pattern) = patterns.next() {
        if pattern.starts_with("{*") {
            *params.get_mut(found)? = at..path.len();
            return Some(params);
        }
        let rest = path.get(at..)?;
        let end = at + rest.find('/').unwrap_or(rest.len());
        if pattern.starts_with('{') {
            *params.get_mut(found)? = at..end;
            found += 1;
        } else if pattern != &path[at..end] {
            return None;
        }
        if end == path.len() {
            return patterns.next().is_none().then_some(params);
        }
        at = end + 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(surface: Surface, method: &Method, raw: &str) -> RouteId {
        let path = CleanPath::parse(raw).unwrap();
        find(surface, method, &path).route().id
    }

    #[test]
    fn only_two_routes_are_exempt_and_only_for_get() {
        let exempt: Vec<_> = ROUTES.iter().filter(|route| route.exempt).collect();
        let ids: Vec<_> = exempt.iter().map(|route| route.id).collect();
        assert_eq!(ids, [RouteId::Healthz, RouteId::HealthzOutbound]);
        assert!(exempt.iter().all(|route| route.methods == [Method::GET]));
    }

    #[test]
    fn the_last_row_takes_everything_and_is_not_exempt() {
        let last = &ROUTES[FALLBACK];
        assert_eq!(last.id, RouteId::Fallback);
        assert!(last.methods.is_empty() && !last.exempt && !last.on_public);
    }

    #[test]
    fn normalises_paths() {
        for (raw, clean) in [
            ("/", "/"),
            ("", "/"),
            ("*", "/*"),
            ("/v1.0/healthz", "/v1.0/healthz"),
            ("/v1.0/healthz/", "/v1.0/healthz"),
            ("//v1.0///healthz//", "/v1.0/healthz"),
            ("/x/../v1.0/./healthz", "/v1.0/healthz"),
            ("/../../v1.0", "/v1.0"),
            ("/a%2Fb/%2e%2e/c", "/a%2Fb/%2e%2e/c"),
        ] {
            assert_eq!(CleanPath::parse(raw).unwrap().as_str(), clean, "{raw}");
        }
    }

    #[test]
    fn refuses_broken_escapes() {
        for raw in ["/%", "/%2", "/%zz", "/a%2/b", "/%%41", "/é%"] {
            assert_eq!(CleanPath::parse(raw), Err(PathError), "{raw}");
        }
    }

    #[test]
    fn decodes_a_segment_once() {
        for (raw, decoded) in [
            ("a", "a"),
            ("a%2Fb", "a/b"),
            ("%2541", "%41"),
            ("a+b%2B", "a+b+"),
            ("%C3%A9", "é"),
        ] {
            assert_eq!(decode_segment(raw).unwrap(), decoded, "{raw}");
        }
        for raw in ["%ff", "%", "%2", "%+1", "%é"] {
            assert_eq!(decode_segment(raw), Err(PathError), "{raw}");
        }
    }

    #[test]
    fn finds_routes() {
        use RouteId::{
            BulkGetState, BulkPublish, DeleteState, Fallback, GetBulkSecret, GetMetadata,
            GetSecret, GetState, Healthz, HealthzOutbound, Invoke, Publish, QueryState, SaveState,
            SetMetadata, Shutdown, StateTransaction,
        };
        for (method, path, expected) in [
            (Method::GET, "/v1.0/healthz", Healthz),
            (Method::GET, "/v1.0/healthz/outbound/", HealthzOutbound),
            (Method::HEAD, "/v1.0/healthz", Fallback),
            (Method::GET, "/v1.0/%68ealthz", Fallback),
            (Method::GET, "/v1.0/healthz%2foutbound", Fallback),
            (Method::GET, "/%2fv1.0/healthz", Fallback),
            (Method::GET, "/v1.0/Healthz", Fallback),
            (Method::GET, "/v1.0/healthz;x", Fallback),
            (Method::GET, "/v1.0/healthzz", Fallback),
            (Method::GET, "/v1.0/healthz/x", Fallback),
            (Method::GET, "/v1.0/metadata", GetMetadata),
            (Method::PUT, "/v1.0/metadata/a", SetMetadata),
            (Method::GET, "/v1.0/metadata/a", Fallback),
            (Method::POST, "/v1.0/shutdown", Shutdown),
            (Method::GET, "/v1.0/secrets/s/bulk", GetBulkSecret),
            (Method::GET, "/v1.0/secrets/s/k", GetSecret),
            (Method::GET, "/v1.0/secrets/s/%62ulk", GetSecret),
            (Method::POST, "/v1.0/secrets/s/k", Fallback),
            (Method::GET, "/v1.0/secrets/s", Fallback),
            (Method::GET, "/v1.0/secrets/s/k/x", Fallback),
            (Method::PATCH, "/v1.0/invoke/a/method/b/c", Invoke),
            (Method::POST, "/v1.0/publish/p/t", Publish),
            (Method::PUT, "/v1.0/publish/p/t/u/v", Publish),
            (Method::POST, "/v1.0/publish/bulk/p/t", BulkPublish),
            (Method::PUT, "/v1.0-alpha1/publish/bulk/p/t/u", BulkPublish),
            (Method::POST, "/v1.0/publish/bulk/t", Publish),
            (Method::POST, "/v1.0/publish/p", Fallback),
            (Method::POST, "/v1.0/publish/p/", Fallback),
            (Method::POST, "/v1.0-alpha1/publish/p/t", Fallback),
            (Method::GET, "/v1.0/publish/p/t", Fallback),
            (Method::GET, "/v1.0/state/s/k", GetState),
            (Method::GET, "/v1.0/state/s/bulk", GetState),
            (Method::DELETE, "/v1.0/state/s/transaction", DeleteState),
            (Method::PUT, "/v1.0/state/s", SaveState),
            (Method::POST, "/v1.0/state/s/bulk", BulkGetState),
            (Method::POST, "/v1.0/state/s/transaction/", StateTransaction),
            (Method::POST, "/v1.0-alpha1/state/s/query", QueryState),
            (Method::POST, "/v1.0/state/s/query", Fallback),
            (Method::POST, "/v1.0/state/s/k", Fallback),
            (Method::GET, "/v1.0/state/s", Fallback),
            (Method::GET, "/v1.0/state/s/k/l", Fallback),
            (Method::GET, "/v1.0-alpha1/state/s/k", Fallback),
            (Method::GET, "/", Fallback),
            (Method::GET, "/v1.0", Fallback),
        ] {
            assert_eq!(id(Surface::Api, &method, path), expected, "{method} {path}");
        }
    }

    #[test]
    fn finds_configuration_and_locks() {
        use RouteId::{
            Fallback, GetConfiguration, SubscribeConfiguration, TryLock, Unlock,
            UnsubscribeConfiguration,
        };
        for (method, path, expected) in [
            (Method::GET, "/v1.0/configuration/s", GetConfiguration),
            (
                Method::GET,
                "/v1.0-alpha1/configuration/s",
                GetConfiguration,
            ),
            (
                Method::GET,
                "/v1.0/configuration/s/subscribe",
                SubscribeConfiguration,
            ),
            (
                Method::GET,
                "/v1.0-alpha1/configuration/s/i/unsubscribe",
                UnsubscribeConfiguration,
            ),
            (Method::GET, "/v1.0/configuration/s/k", Fallback),
            (Method::POST, "/v1.0/configuration/s", Fallback),
            (Method::GET, "/v1.0/configuration", Fallback),
            (Method::POST, "/v1.0-alpha1/lock/s", TryLock),
            (Method::POST, "/v1.0-alpha1/unlock/s", Unlock),
            (Method::POST, "/v1.0/lock/s", Fallback),
            (Method::GET, "/v1.0-alpha1/lock/s", Fallback),
        ] {
            assert_eq!(id(Surface::Api, &method, path), expected, "{method} {path}");
        }
    }

    #[test]
    fn the_public_port_serves_health_and_get_metadata_only() {
        for route in &ROUTES {
            let method = route.methods.first().unwrap_or(&Method::GET);
            let path = route.pattern.replace(['{', '}', '*'], "");
            let expected = if route.on_public {
                route.id
            } else {
                RouteId::Fallback
            };
            assert_eq!(id(Surface::Public, method, &path), expected, "{path}");
        }
        assert_eq!(
            id(Surface::Public, &Method::PUT, "/v1.0/metadata/a"),
            RouteId::Fallback
        );
    }

    #[test]
    fn hands_on_decoded_segments() {
        let path = CleanPath::parse("/v1.0/secrets/my%2Fstore/a%20b").unwrap();
        let found = find(Surface::Api, &Method::GET, &path);
        assert_eq!(found.param(0, path.as_str()).unwrap(), "my/store");
        assert_eq!(found.param(1, path.as_str()).unwrap(), "a b");
        assert_eq!(found.param(2, path.as_str()).unwrap(), "");
    }

    proptest::proptest! {
        #[test]
        fn normalising_twice_changes_nothing(raw in "[/.%a-z0-9]*") {
            if let Ok(once) = CleanPath::parse(&raw) {
                let text = once.as_str().to_owned();
                let twice = CleanPath::parse(&text).unwrap();
                proptest::prop_assert_eq!(twice.as_str(), text.as_str());
            }
        }

        #[test]
        fn nothing_but_the_two_paths_is_exempt(
            raw in "(/|\\.|%2f|%2F|%68|v1\\.0|healthz|outbound|;|x){0,12}"
        ) {
            let Ok(path) = CleanPath::parse(&raw) else { return Ok(()) };
            let found = find(Surface::Api, &Method::GET, &path);
            let exact = ["/v1.0/healthz", "/v1.0/healthz/outbound"].contains(&path.as_str());
            proptest::prop_assert_eq!(found.route().exempt, exact);
        }

        #[test]
        fn never_panics(raw in ".*") {
            if let Ok(path) = CleanPath::parse(&raw) {
                let _ = find(Surface::Api, &Method::GET, &path);
            }
            let _ = decode_segment(&raw);
        }
    }
}
