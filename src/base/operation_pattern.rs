//! Which paths of an app's methods an operation of an access policy is about.

use super::method_path::{MethodPath, MethodPathError};

/// The path of an operation, with wildcards: `*` as a segment is one segment, or none at the end;
/// inside a segment it is any text; `**` at the end is every further segment, or none.
///
/// It is normalised as the paths that it is compared with: `/a//b/` is `/a/b`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperationPattern {
    segments: Vec<Segment>,
    /// Whether it ends with `**`.
    is_open: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    Literal(String),
    /// Text with at least one `*`, and something else.
    Glob(String),
    Any,
}

/// Why a text is no pattern.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum OperationPatternError {
    /// Nothing.
    #[error("the name of an operation is empty; \"/**\" stands for every operation")]
    Empty,
    /// No path.
    #[error(transparent)]
    Path(#[from] MethodPathError),
    /// An escape, which paths do not have any more when they are compared.
    #[error("{0:?} is escaped: paths are compared after they were decoded")]
    Escaped(String),
    /// `**` before the end.
    #[error("{0:?} has \"**\" before its end, where \"*\" stands for one segment")]
    Open(String),
}

/// How closely a pattern describes a path. The greater of two is the closer one.
///
/// A number for each segment of the path, and one for its end.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Closeness(Vec<u8>);

const LITERAL: u8 = 3;
const GLOB: u8 = 2;
const ANY: u8 = 1;
const OPEN: u8 = 0;

impl OperationPattern {
    /// From the name of an operation, with `/` before it or without.
    pub fn parse(name: &str) -> Result<Self, OperationPatternError> {
        if name.is_empty() {
            return Err(OperationPatternError::Empty);
        }
        if has_escape(name) {
            return Err(OperationPatternError::Escaped(name.to_owned()));
        }
        let path = MethodPath::from_decoded(name)?;
        let (path, is_open) = match path.as_str().strip_suffix("**") {
            Some("") => ("", true),
            Some(rest) if rest.ends_with('/') => (rest, true),
            _ => (path.as_str(), false),
        };
        let segments: Vec<_> = segments(path).map(Segment::new).collect();
        if segments.contains(&Segment::Glob("**".to_owned())) {
            return Err(OperationPatternError::Open(name.to_owned()));
        }
        Ok(Self { segments, is_open })
    }

    /// The same in lower case, for paths in lower case.
    #[must_use]
    pub fn to_lowercase(&self) -> Self {
        let segments = self.segments.iter().map(|segment| match segment {
            Segment::Literal(text) => Segment::Literal(text.to_lowercase()),
            Segment::Glob(text) => Segment::Glob(text.to_lowercase()),
            Segment::Any => Segment::Any,
        });
        Self {
            segments: segments.collect(),
            is_open: self.is_open,
        }
    }

    /// Whether it describes the path, and how closely. With `beneath`, a pattern whose last
    /// segment is not `*` describes what is beneath its path too.
    pub fn matches(&self, path: &str, beneath: bool) -> Option<Closeness> {
        let mut closeness = Vec::new();
        let mut path = segments(path);
        let mut own = self.segments.iter().peekable();
        while let Some(segment) = own.next() {
            let Some(text) = path.next() else {
                // `/a/*` is about `/a` too, as in Dapr.
                let is_last = own.peek().is_none() && !self.is_open;
                return (is_last && *segment == Segment::Any).then(|| {
                    closeness.push(OPEN);
                    Closeness(closeness)
                });
            };
            closeness.push(segment.closeness(text)?);
        }
        let ends_with_name = !matches!(self.segments.last(), None | Some(Segment::Any));
        let rest = path.count();
        if rest > 0 && !(self.is_open || beneath && ends_with_name) {
            return None;
        }
        closeness.extend(std::iter::repeat_n(OPEN, rest));
        closeness.push(if self.is_open { OPEN } else { LITERAL });
        Some(Closeness(closeness))
    }
}

impl Segment {
    fn new(text: &str) -> Self {
        match text {
            "*" => Self::Any,
            text if text.contains('*') => Self::Glob(text.to_owned()),
            text => Self::Literal(text.to_owned()),
        }
    }

    fn closeness(&self, text: &str) -> Option<u8> {
        match self {
            Self::Literal(own) => (own == text).then_some(LITERAL),
            Self::Glob(own) => is_glob_of(own, text).then_some(GLOB),
            Self::Any => Some(ANY),
        }
    }
}

/// The segments of a normalised path. The root has none.
fn segments(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|segment| !segment.is_empty())
}

/// Whether `text` is `glob` with any text for each `*`: the pieces between them in their order,
/// each as early as possible, the last one at the end.
fn is_glob_of(glob: &str, text: &str) -> bool {
    let Some((first, rest)) = glob.split_once('*') else {
        return glob == text;
    };
    let Some(mut text) = text.strip_prefix(first) else {
        return false;
    };
    let (middle, last) = rest.rsplit_once('*').unwrap_or(("", rest));
    for piece in middle.split('*') {
        match text.find(piece) {
            Some(at) => text = &text[at + piece.len()..],
            None => return false,
        }
    }
    text.ends_with(last)
}

fn has_escape(text: &str) -> bool {
    let is_hex = |byte: &u8| byte.is_ascii_hexdigit();
    text.as_bytes()
        .windows(3)
        .any(|bytes| bytes[0] == b'%' && bytes[1..].iter().all(is_hex))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn matches(pattern: &str, path: &str) -> bool {
        let path = MethodPath::from_decoded(path).unwrap();
        let pattern = OperationPattern::parse(pattern).unwrap();
        pattern.matches(path.as_str(), false).is_some()
    }

    #[test]
    fn describes_paths() {
        for (pattern, yes, no) in [
            ("/", &["/"][..], &["a"][..]),
            ("/a", &["a"], &["", "b", "A", "a/b", "aa"]),
            ("a", &["a"], &["b"]),
            ("/a//b/./c/../", &["a/b"], &["a/b/c"]),
            ("/a/*", &["a", "a/b"], &["", "b", "a/b/c"]),
            ("/*", &["", "a"], &["a/b"]),
            ("/a/*/c", &["a/b/c"], &["a", "a/c", "a/b", "a/b/b/c"]),
            ("/**", &["", "a", "a/b/c"], &[]),
            ("/a/**", &["a", "a/b", "a/b/c"], &["", "b", "ab"]),
            ("/a/*/**", &["a/b", "a/b/c"], &["a", "b/c"]),
            ("/a*", &["a", "ab"], &["b", "a/b"]),
            ("/*a", &["a", "ba"], &["ab"]),
            (
                "/a*b*c",
                &["abc", "axxbyyc", "abbcc"],
                &["ab", "acb", "abcd"],
            ),
            ("/a*a", &["aa", "aba"], &["a"]),
            ("/**a", &["a", "ba"], &["b", "b/a"]),
        ] {
            for path in yes {
                assert!(matches(pattern, path), "{pattern} {path}");
            }
            for path in no {
                assert!(!matches(pattern, path), "{pattern} {path}");
            }
        }
    }

    #[test]
    fn what_is_beneath_belongs_to_a_name_where_that_is_asked_for() {
        let beneath = |pattern, path| {
            let pattern = OperationPattern::parse(pattern).unwrap();
            pattern.matches(path, true).is_some()
        };
        assert!(beneath("/a", "a/b/c") && beneath("/a*", "ab/c"));
        assert!(!beneath("/a", "ab") && !beneath("/a/*", "a/b/c") && !beneath("/", "a"));
    }

    #[test]
    fn the_closest_pattern_comes_last() {
        let path = "a/b";
        let order = [
            "/**", "/*/*", "/*/b", "/a/**", "/a/*", "/a/b*", "/a/b/**", "/a/b",
        ];
        let closeness = order.map(|pattern| {
            let pattern = OperationPattern::parse(pattern).unwrap();
            pattern.matches(path, false).unwrap()
        });
        assert!(closeness.is_sorted_by(|a, b| a < b), "{closeness:?}");
    }

    #[test]
    fn refuses_what_would_describe_nothing() {
        for name in ["", "/a?b", "/a#b", "/a\nb", "/a%20b", "/a/**/b", "**/b"] {
            assert!(OperationPattern::parse(name).is_err(), "{name}");
        }
        assert!(OperationPattern::parse("/100%").is_ok());
    }

    fn glob() -> impl Strategy<Value = String> {
        "[ab*]{0,6}"
    }

    /// The definition of a glob, which takes exponential time.
    fn is_glob_by_definition(glob: &str, text: &str) -> bool {
        match glob.split_at_checked(1) {
            None => text.is_empty(),
            Some(("*", rest)) => {
                (0..=text.len()).any(|at| is_glob_by_definition(rest, &text[at..]))
            }
            Some((letter, rest)) => text
                .strip_prefix(letter)
                .is_some_and(|text| is_glob_by_definition(rest, text)),
        }
    }

    proptest! {
        #[test]
        fn globs_are_what_they_are_defined_to_be(glob in glob(), text in "[ab]{0,8}") {
            prop_assert_eq!(is_glob_of(&glob, &text), is_glob_by_definition(&glob, &text));
        }

        #[test]
        fn a_path_is_described_by_itself(path in "[a-z/.]{1,12}") {
            let method = MethodPath::from_decoded(&path).unwrap();
            let pattern = OperationPattern::parse(&path).unwrap();
            prop_assert!(pattern.matches(method.as_str(), false).is_some());
        }
    }
}
