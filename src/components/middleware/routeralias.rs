//! `middleware.http.routeralias`: paths under which other paths can be called.
//!
//! An alias only rewrites. What the new path means is decided where the old one would have been:
//! it is normalised and matched to a route as if the client had sent it.

use std::borrow::Cow;

use async_trait::async_trait;
use form_urlencoded::{byte_serialize, parse};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{StatusCode, Uri};
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};

use super::{Middleware, Rejection};
use crate::components::Error;
use crate::components::metadata::Reader;
use crate::process::listener::Remote;

/// The most aliases of one component: all of them are looked at for each request.
const MAX_ROUTES: usize = 1000;

/// Rewrites the paths that it knows, once, and leaves all others.
#[derive(Debug)]
pub struct RouterAlias {
    /// Of two that match, the one with a literal segment where the other has a parameter is first.
    routes: Vec<Alias>,
}

#[derive(Debug)]
struct Alias {
    pattern: Vec<Segment>,
    /// The path of the target, escaped.
    path: String,
    /// The query of the target, escaped.
    query: Option<String>,
    /// The names of parameters that a client cannot set: those of the pattern and of the target.
    fixed: Vec<String>,
}

/// A segment of a path, escaped.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    Literal(String),
    /// `{name}`: any segment that is not empty.
    Parameter(String),
}

impl RouterAlias {
    /// Reads `routes`: JSON or YAML, a mapping of paths to paths.
    ///
    /// # Errors
    ///
    /// A mapping that is missing or cannot be read, and an alias that could not work.
    pub fn start(reader: &mut Reader<'_>) -> Result<Self, Error> {
        let missing = "missing routes in metadata: a mapping of paths to paths in JSON or YAML";
        let text = reader.required(&["routes"], missing)?;
        let invalid = |problem: String| Error::Init(format!("the value of \"routes\": {problem}"));
        let routes: Map<String, Value> = serde_saphyr::from_str_with_options(text, options())
            .map_err(|_| invalid("it is not a mapping of paths to paths in JSON or YAML".into()))?;
        if routes.len() > MAX_ROUTES {
            return Err(invalid(format!("it has more than {MAX_ROUTES} aliases")));
        }
        let mut parsed: Vec<Alias> = Vec::with_capacity(routes.len());
        for (pattern, target) in &routes {
            let wrong = |problem: &str| invalid(format!("alias {pattern:?}: {problem}"));
            let target = target
                .as_str()
                .ok_or_else(|| wrong("its target is no text"))?;
            let alias = Alias::parse(pattern, target).map_err(wrong)?;
            if parsed.iter().any(|other| other.matches_the_same(&alias)) {
                return Err(wrong("another alias matches the same paths"));
            }
            parsed.push(alias);
        }
        parsed.sort_by_key(Alias::specificity);
        Ok(Self { routes: parsed })
    }

    fn rewritten(&self, uri: &Uri) -> Option<Result<Uri, http::Error>> {
        let path = uri.path();
        let (alias, values) = self
            .routes
            .iter()
            .find_map(|alias| Some((alias, alias.captured(path)?)))?;
        let target = alias.target(&values, uri.query());
        let target = PathAndQuery::try_from(target).map(Uri::from);
        Some(target.map_err(Into::into))
    }
}

/// As for resource files: no excerpts in errors, and a limit on what aliases of YAML stand for.
fn options() -> serde_saphyr::Options {
    serde_saphyr::options! {
        with_snippet: false,
        emit_comments: false,
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: MAX_ROUTES },
    }
}

impl Alias {
    fn parse(pattern: &str, target: &str) -> Result<Self, &'static str> {
        let pattern = segments(pattern)?;
        if target.contains(['{', '}']) {
            return Err("its target has a \"{\" or \"}\": parameters become part of the query");
        }
        if target.contains('#') || !target.starts_with('/') {
            return Err("its target is not a path that begins with \"/\", with or without a query");
        }
        let parsed: PathAndQuery = target
            .parse()
            .map_err(|_| "its target has a character that no path has: escape it")?;
        let mut fixed = Vec::new();
        for segment in &pattern {
            if let Segment::Parameter(name) = segment {
                if fixed.contains(name) {
                    return Err("it names one parameter twice");
                }
                fixed.push(name.clone());
            }
        }
        let query = parsed.query().filter(|query| !query.is_empty());
        let own = query.map(|query| parse(query.as_bytes()).map(|(name, _)| name.into_owned()));
        fixed.extend(own.into_iter().flatten());
        Ok(Self {
            pattern,
            path: parsed.path().to_owned(),
            query: query.map(str::to_owned),
            fixed,
        })
    }

    fn matches_the_same(&self, other: &Self) -> bool {
        self.pattern.len() == other.pattern.len()
            && self
                .pattern
                .iter()
                .zip(&other.pattern)
                .all(|pair| match pair {
                    (Segment::Literal(one), Segment::Literal(other)) => one == other,
                    (Segment::Parameter(_), Segment::Parameter(_)) => true,
                    _ => false,
                })
    }

    /// Orders aliases: a literal segment goes before a parameter.
    fn specificity(&self) -> Vec<bool> {
        let is_parameter = |segment: &Segment| matches!(segment, Segment::Parameter(_));
        self.pattern.iter().map(is_parameter).collect()
    }

    /// The names and decoded values of the parameters, where the path matches. A segment that is
    /// no text after decoding matches nothing.
    fn captured<'a>(&'a self, path: &'a str) -> Option<Vec<(&'a str, Cow<'a, str>)>> {
        let mut values = Vec::new();
        let mut given = path.strip_prefix('/')?.split('/');
        for segment in &self.pattern {
            let given = given.next()?;
            match segment {
                Segment::Literal(literal) if literal == given => {}
                Segment::Parameter(name) if !given.is_empty() => {
                    values.push((name.as_str(), percent_decode_str(given).decode_utf8().ok()?));
                }
                _ => return None,
            }
        }
        given.next().is_none().then_some(values)
    }

    /// The path of the target with its own query, the captured parameters, and of the client's
    /// query what names none of both: a parameter that is sent twice is read differently by
    /// different apps.
    fn target(&self, values: &[(&str, Cow<'_, str>)], query: Option<&str>) -> String {
        let captured = values.iter().map(|(name, value)| {
            let escaped = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
            Cow::Owned(format!("{}={}", escaped(name), escaped(value)))
        });
        let of_client = query.into_iter().flat_map(|query| query.split('&'));
        let of_client = of_client.filter(|pair| {
            let name = parse(pair.as_bytes()).next().map(|(name, _)| name);
            name.is_none_or(|name| !self.fixed.iter().any(|fixed| *fixed == name))
        });
        let own = self.query.as_deref().map(Cow::Borrowed);
        let pairs: Vec<Cow<'_, str>> = own
            .into_iter()
            .chain(captured)
            .chain(of_client.map(Cow::Borrowed))
            .filter(|pair| !pair.is_empty())
            .collect();
        if pairs.is_empty() {
            self.path.clone()
        } else {
            format!("{}?{}", self.path, pairs.join("&"))
        }
    }
}

/// The segments of a pattern.
fn segments(pattern: &str) -> Result<Vec<Segment>, &'static str> {
    let rest = pattern
        .strip_prefix('/')
        .ok_or("it does not begin with \"/\"")?;
    if rest.contains(['?', '#']) {
        return Err("it has a \"?\" or \"#\": only the path is compared");
    }
    rest.split('/').map(segment).collect()
}

fn segment(text: &str) -> Result<Segment, &'static str> {
    if matches!(text, "" | "." | "..") {
        return Err(
            "it has an empty segment, \".\" or \"..\", which no request has that gets here",
        );
    }
    let name = text
        .strip_prefix('{')
        .and_then(|text| text.strip_suffix('}'));
    let is_name = |name: &str| {
        let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        !name.is_empty() && name.bytes().all(is_letter)
    };
    match name {
        Some(name) if is_name(name) => Ok(Segment::Parameter(name.to_owned())),
        None if !text.contains(['{', '}', '*']) => {
            let is_path = format!("/{text}").parse::<PathAndQuery>().is_ok() && text.is_ascii();
            let literal = is_path.then(|| Segment::Literal(text.to_owned()));
            literal.ok_or("it has a character that no path has: escape it")
        }
        _ => Err("a parameter is a whole segment, \"{name}\"; \"*\" and patterns are not served"),
    }
}

#[async_trait]
impl Middleware for RouterAlias {
    async fn handle(&self, head: &mut Parts, _: Remote) -> Result<(), Rejection> {
        match self.rewritten(&head.uri) {
            None => Ok(()),
            Some(Ok(uri)) => {
                head.uri = uri;
                Ok(())
            }
            Some(Err(_)) => Err(Rejection::new(
                StatusCode::URI_TOO_LONG,
                "414 URI Too Long\n",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::contract::component;
    use proptest::prelude::*;

    const DOCUMENTED: &str = r#"{
        "/mall/activity/info": "/v1.0/invoke/srv.default/method/mall/activity/info",
        "/hello/activity/{id}/info": "/v1.0/invoke/srv.default/method/hello/activity/info",
        "/hello/activity/{id}/user": "/v1.0/invoke/srv.default/method/hello/activity/user"
    }"#;

    fn started(routes: &str) -> Result<RouterAlias, String> {
        let component = component("middleware.http.routeralias", &[("routes", routes)]);
        let mut reader = Reader::new(&component).unwrap();
        RouterAlias::start(&mut reader).map_err(|error| error.to_string())
    }

    fn rewritten(alias: &RouterAlias, uri: &str) -> Option<String> {
        let uri = alias.rewritten(&uri.parse().unwrap())?;
        Some(uri.unwrap().to_string())
    }

    #[test]
    fn rewrites_as_documented() {
        let alias = started(DOCUMENTED).unwrap();
        let invoke = "/v1.0/invoke/srv.default/method";
        for (uri, expected) in [
            ("/mall/activity/info", Some("/mall/activity/info")),
            (
                "/mall/activity/info?id=123",
                Some("/mall/activity/info?id=123"),
            ),
            ("/hello/activity/1/info", Some("/hello/activity/info?id=1")),
            (
                "/hello/activity/1/info?b=2&c",
                Some("/hello/activity/info?id=1&b=2&c"),
            ),
            (
                "/hello/activity/a%20b%26c=d/user",
                Some("/hello/activity/user?id=a+b%26c%3Dd"),
            ),
            (
                "http://host/hello/activity/1/info",
                Some("/hello/activity/info?id=1"),
            ),
            ("/hello/activity/1/other", None),
            ("/hello/activity//info", None),
            ("/hello/activity/%ff/info", None),
            ("/hello/activity/1/2/info", None),
            ("/mall/activity/info/", None),
            ("/MALL/activity/info", None),
            ("/", None),
        ] {
            let expected = expected.map(|path| format!("{invoke}{path}"));
            assert_eq!(rewritten(&alias, uri), expected, "{uri}");
        }
    }

    #[test]
    fn reads_yaml_and_prefers_literal_segments() {
        let alias = started("/a/{x}: /by-parameter\n/a/b: /by-literal?own=1\n/{y}/b: /first\n");
        let alias = alias.unwrap();
        for (uri, expected) in [
            ("/a/b", "/by-literal?own=1"),
            ("/a/c", "/by-parameter?x=c"),
            ("/c/b", "/first?y=c"),
        ] {
            assert_eq!(rewritten(&alias, uri).as_deref(), Some(expected));
        }
    }

    #[test]
    fn a_client_cannot_set_what_the_alias_sets() {
        let alias = started("{\"/a/{id}\": \"/t?role=user&a+b\"}").unwrap();
        for query in [
            "id=2",
            "role=admin",
            "%69d=2",
            "i%64=",
            "id",
            "a%20b=1",
            "&&",
        ] {
            let expected = "/t?role=user&a+b&id=1".to_owned();
            assert_eq!(
                rewritten(&alias, &format!("/a/1?{query}")),
                Some(expected),
                "{query}"
            );
        }
        assert_eq!(
            rewritten(&alias, "/a/1?x=1&id=2&ID=3").unwrap(),
            "/t?role=user&a+b&id=1&x=1&ID=3"
        );
    }

    #[test]
    fn refuses_aliases_that_could_not_work() {
        for (routes, expected) in [
            (
                "[]",
                "it is not a mapping of paths to paths in JSON or YAML",
            ),
            ("{", "it is not a mapping of paths to paths in JSON or YAML"),
            (
                "text",
                "it is not a mapping of paths to paths in JSON or YAML",
            ),
            ("/a: 1", "alias \"/a\": its target is no text"),
            ("a: /b", "alias \"a\": it does not begin with \"/\""),
            (
                "/a?b: /b",
                "alias \"/a?b\": it has a \"?\" or \"#\": only the path is compared",
            ),
            (
                "/a/../b: /b",
                "alias \"/a/../b\": it has an empty segment, \".\" or \"..\", which no request \
                 has that gets here",
            ),
            (
                "\"/a/{id:[0-9]+}\": /b",
                "alias \"/a/{id:[0-9]+}\": a parameter is a whole segment, \"{name}\"; \"*\" and \
                 patterns are not served",
            ),
            (
                "/a/*: /b",
                "alias \"/a/*\": a parameter is a whole segment, \"{name}\"; \"*\" and patterns \
                 are not served",
            ),
            (
                "\"/{a}/{a}\": /b",
                "alias \"/{a}/{a}\": it names one parameter twice",
            ),
            (
                "{\"/{a}/x\": /b, \"/{b}/x\": /c}",
                "alias \"/{b}/x\": another alias matches the same paths",
            ),
            (
                "\"/{a}\": \"/b/{a}\"",
                "alias \"/{a}\": its target has a \"{\" or \"}\": parameters become part of the \
                 query",
            ),
            (
                "/a: http://host/b",
                "alias \"/a\": its target is not a path that begins with \"/\", with or without a \
                 query",
            ),
            (
                "/a: /b c",
                "alias \"/a\": its target has a character that no path has: escape it",
            ),
        ] {
            let expected = format!("the value of \"routes\": {expected}");
            assert_eq!(started(routes).err(), Some(expected), "{routes}");
        }
        let missing = started("").unwrap_err();
        assert!(
            missing.starts_with("missing routes in metadata"),
            "{missing}"
        );
    }

    #[tokio::test]
    async fn a_target_that_is_too_long_ends_the_request() {
        let long = "x".repeat(40_000);
        let alias = started(&format!("{{\"/a\": \"/{long}\"}}")).unwrap();
        let request = http::Request::get(format!("/a?{long}")).body(()).unwrap();
        let mut head = request.into_parts().0;
        let rejection = alias.handle(&mut head, Remote::Unix).await.unwrap_err();
        assert_eq!(rejection.status, 414);
        assert_eq!(head.uri.path(), "/a");
    }

    proptest! {
        #[test]
        fn what_is_captured_stays_one_parameter(value in "[^/]{1,12}", query in "[ -~]{0,12}") {
            let alias = started("{\"/a/{id}/b\": \"/t\"}").unwrap();
            let set = percent_encoding::NON_ALPHANUMERIC;
            let escaped = percent_encoding::utf8_percent_encode(&value, set);
            let Ok(uri) = format!("/a/{escaped}/b?{query}").parse::<Uri>() else { return Ok(()) };
            let target = alias.rewritten(&uri).unwrap().unwrap();
            prop_assert_eq!(target.path(), "/t");
            let pairs: Vec<_> = parse(target.query().unwrap().as_bytes()).collect();
            prop_assert_eq!(&pairs[0], &("id".into(), Cow::from(value)));
            prop_assert!(pairs[1..].iter().all(|(name, _)| name != "id"));
        }
    }
}
