//! Which browsers' origins may call (Fetch standard, "CORS protocol"), with Dapr's answers.

use axum::body::Body;
use http::{HeaderMap, HeaderValue, Method, header};

use super::answer::Answer;

const METHODS: [Method; 7] = [
    Method::HEAD,
    Method::GET,
    Method::POST,
    Method::PUT,
    Method::PATCH,
    Method::DELETE,
    Method::OPTIONS,
];

/// The rule for browsers' origins. The default is none: nothing is allowed, nothing is said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Cors {
    /// No rule: an `OPTIONS` call is a call like others.
    #[default]
    Off,
    /// Every origin.
    Any,
    /// These origins, in lower case; one `*` in an entry stands for any text.
    Only(Vec<String>),
}

/// What the rule says about one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// There is no rule.
    NoRule,
    /// The call has no origin, or one that may not call.
    Refused,
    /// The value of `Access-Control-Allow-Origin`.
    Allowed(HeaderValue),
}

impl Cors {
    /// Reads `--allowed-origins`: empty, or a comma list in which `*` allows all.
    pub fn parse(list: &str) -> Self {
        let entries = list.split(',').map(str::trim);
        let origins: Vec<_> = entries
            .filter(|entry| !entry.is_empty())
            .map(str::to_ascii_lowercase)
            .collect();
        match origins.as_slice() {
            [] => Self::Off,
            all if all.iter().any(|origin| origin == "*") => Self::Any,
            _ => Self::Only(origins),
        }
    }

    /// Judges the origin of a call.
    pub(crate) fn origin(&self, method: &Method, headers: &HeaderMap) -> Origin {
        if *self == Self::Off {
            return Origin::NoRule;
        }
        match headers.get(header::ORIGIN) {
            Some(origin) if METHODS.contains(method) && self.allows(origin) => {
                Origin::Allowed(match self {
                    Self::Any => HeaderValue::from_static("*"),
                    _ => origin.clone(),
                })
            }
            _ => Origin::Refused,
        }
    }

    /// Says in an answer what was judged.
    pub(crate) fn mark(&self, origin: Origin, headers: &mut HeaderMap) {
        match origin {
            Origin::NoRule => return,
            Origin::Refused => {}
            Origin::Allowed(value) => {
                headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, value);
            }
        }
        headers.append(header::VARY, HeaderValue::from_static("Origin"));
    }

    /// The answer to a browser that asks before it calls: 200 without a body, and without a word
    /// where the call would not be allowed. Browsers cannot send a token with it.
    pub(crate) fn preflight(&self, method: &Method, headers: &HeaderMap) -> Option<Answer> {
        if *self == Self::Off || *method != Method::OPTIONS {
            return None;
        }
        let wanted = headers.get(header::ACCESS_CONTROL_REQUEST_METHOD)?;
        let mut answer = Answer::new(Body::empty());
        let said = answer.headers_mut();
        for name in [
            header::ACCESS_CONTROL_REQUEST_METHOD,
            header::ACCESS_CONTROL_REQUEST_HEADERS,
        ] {
            said.append(header::VARY, name.into());
        }
        let is_allowed = headers.get(header::ORIGIN).is_some_and(|o| self.allows(o))
            && METHODS.iter().any(|method| *wanted == *method.as_str());
        if is_allowed {
            said.insert(header::ACCESS_CONTROL_ALLOW_METHODS, wanted.clone());
            if let Some(names) = headers.get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
                said.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, names.clone());
            }
        }
        Some(answer)
    }

    fn allows(&self, origin: &HeaderValue) -> bool {
        let Ok(origin) = origin.to_str() else {
            return false;
        };
        match self {
            Self::Off => false,
            Self::Any => true,
            Self::Only(list) => {
                let origin = origin.to_ascii_lowercase();
                list.iter().any(|entry| matches(entry, &origin))
            }
        }
    }
}

fn matches(entry: &str, origin: &str) -> bool {
    match entry.split_once('*') {
        None => entry == origin,
        Some((before, after)) => {
            origin.len() >= before.len() + after.len()
                && origin.starts_with(before)
                && origin.ends_with(after)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(origin: &str) -> HeaderMap {
        HeaderMap::from_iter([(header::ORIGIN, origin.parse().unwrap())])
    }

    #[test]
    fn reads_the_flag() {
        assert_eq!(Cors::parse(""), Cors::Off);
        assert_eq!(Cors::parse(" , "), Cors::Off);
        assert_eq!(Cors::parse("*"), Cors::Any);
        assert_eq!(Cors::parse("http://a,*"), Cors::Any);
        let list = vec!["http://a".to_owned(), "http://b".to_owned()];
        assert_eq!(Cors::parse("http://A, http://b"), Cors::Only(list));
    }

    #[test]
    fn allows_only_the_listed_origins() {
        let cors = Cors::parse("https://a.example,https://*.b.example");
        for (origin, allowed) in [
            ("https://a.example", true),
            ("https://A.example", true),
            ("https://x.b.example", true),
            ("https://b.example", false),
            ("http://a.example", false),
            ("https://a.example.evil", false),
            ("null", false),
        ] {
            let judged = cors.origin(&Method::GET, &call(origin));
            assert_eq!(matches!(judged, Origin::Allowed(_)), allowed, "{origin}");
        }
    }

    #[test]
    fn says_nothing_without_a_rule() {
        let cors = Cors::Off;
        let mut headers = HeaderMap::new();
        cors.mark(cors.origin(&Method::GET, &call("http://a")), &mut headers);
        assert!(headers.is_empty());
    }

    #[test]
    fn answers_a_preflight_only_when_it_is_one() {
        let mut headers = call("http://a");
        assert!(Cors::Any.preflight(&Method::OPTIONS, &headers).is_none());
        let method = header::ACCESS_CONTROL_REQUEST_METHOD;
        headers.insert(method, "PUT".parse().unwrap());
        assert!(Cors::Any.preflight(&Method::GET, &headers).is_none());
        assert!(Cors::Off.preflight(&Method::OPTIONS, &headers).is_none());
        let answer = Cors::Any.preflight(&Method::OPTIONS, &headers).unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(
            answer.headers()[header::ACCESS_CONTROL_ALLOW_METHODS],
            "PUT"
        );
    }

    #[test]
    fn tells_a_refused_preflight_nothing() {
        let mut headers = call("http://evil");
        let method = header::ACCESS_CONTROL_REQUEST_METHOD;
        headers.insert(method, "GET".parse().unwrap());
        let cors = Cors::parse("http://a");
        let answer = cors.preflight(&Method::OPTIONS, &headers).unwrap();
        assert_eq!(answer.status(), 200);
        assert!(answer.headers().keys().all(|name| *name == header::VARY));
    }
}
