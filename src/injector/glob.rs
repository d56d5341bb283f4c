//! The patterns of the list of requesters: `*`, `?`, `[abc]`, `[a-z]`, `[^a]`, and `\` before a
//! character that means itself. They are those of Go's `path.Match`, which Dapr uses.

/// A text that is no pattern.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum GlobError {
    /// A `[` without its `]`.
    #[error("{0:?} has a \"[\" without its \"]\"")]
    OpenClass(String),
    /// `[]`, or a range that ends before it begins.
    #[error("{0:?} has an empty \"[]\"")]
    EmptyClass(String),
    /// A `\` with nothing after it.
    #[error("{0:?} ends with \"\\\"")]
    Escape(String),
}

/// A pattern that matches whole texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Glob(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    /// `*`: any number of characters, none included.
    Any,
    /// One character.
    One(Class),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Class {
    negated: bool,
    ranges: Vec<(char, char)>,
}

impl Glob {
    /// Parses a pattern.
    pub(super) fn parse(text: &str) -> Result<Self, GlobError> {
        let mut pieces = Vec::new();
        let mut rest = text.chars();
        while let Some(c) = rest.next() {
            pieces.push(match c {
                '*' => Piece::Any,
                '?' => Piece::One(Class::all()),
                '[' => Piece::One(Class::parse(&mut rest, text)?),
                '\\' => {
                    let c = rest
                        .next()
                        .ok_or_else(|| GlobError::Escape(text.to_owned()))?;
                    Piece::One(Class::only(c))
                }
                c => Piece::One(Class::only(c)),
            });
        }
        Ok(Self(pieces))
    }

    /// Whether the whole of `text` matches. Takes at most pieces × characters steps.
    pub(super) fn matches(&self, text: &str) -> bool {
        let text: Vec<char> = text.chars().collect();
        let (mut piece, mut at) = (0, 0);
        // Where to go on after a mismatch: behind the last `*`, one character further.
        let mut retry = None;
        loop {
            match self.0.get(piece) {
                Some(Piece::Any) => {
                    retry = Some((piece + 1, at));
                    piece += 1;
                    continue;
                }
                Some(Piece::One(class)) if text.get(at).is_some_and(|c| class.contains(*c)) => {
                    piece += 1;
                    at += 1;
                    continue;
                }
                None if at == text.len() => return true,
                _ => {}
            }
            match retry {
                Some((after_star, from)) if from < text.len() => {
                    retry = Some((after_star, from + 1));
                    (piece, at) = (after_star, from + 1);
                }
                _ => return false,
            }
        }
    }
}

impl Class {
    fn all() -> Self {
        Self {
            negated: true,
            ranges: Vec::new(),
        }
    }

    fn only(c: char) -> Self {
        Self {
            negated: false,
            ranges: vec![(c, c)],
        }
    }

    fn contains(&self, c: char) -> bool {
        let listed = self
            .ranges
            .iter()
            .any(|(from, to)| (*from..=*to).contains(&c));
        listed != self.negated
    }

    /// Parses what follows a `[`, the `]` included.
    fn parse(rest: &mut std::str::Chars<'_>, text: &str) -> Result<Self, GlobError> {
        let negated = rest.as_str().starts_with('^');
        if negated {
            rest.next();
        }
        let open = || GlobError::OpenClass(text.to_owned());
        let mut ranges = Vec::new();
        loop {
            let from = match rest.next().ok_or_else(open)? {
                ']' => break,
                '\\' => rest.next().ok_or_else(open)?,
                c => c,
            };
            let mut to = from;
            if rest.as_str().starts_with('-') && !rest.as_str().starts_with("-]") {
                rest.next();
                to = match rest.next().ok_or_else(open)? {
                    '\\' => rest.next().ok_or_else(open)?,
                    c => c,
                };
            }
            ranges.push((from, to));
        }
        if ranges.is_empty() || ranges.iter().any(|(from, to)| from > to) {
            return Err(GlobError::EmptyClass(text.to_owned()));
        }
        Ok(Self { negated, ranges })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_whole_texts() {
        for (glob, text, wanted) in [
            ("", "", true),
            ("", "a", false),
            ("a", "a", true),
            ("a", "A", false),
            ("*", "", true),
            ("a*", "a", true),
            ("a*c", "abbc", true),
            ("a*c", "abb", false),
            ("*a*b*", "xaybz", true),
            ("?", "ä", true),
            ("?", "", false),
            ("[^a]", "b", true),
            ("[^a]", "a", false),
            ("[a-cx]", "x", true),
            ("[a-]", "-", true),
            ("\\*", "*", true),
            ("\\*", "a", false),
        ] {
            assert_eq!(
                Glob::parse(glob).unwrap().matches(text),
                wanted,
                "{glob:?} {text:?}"
            );
        }
    }

    #[test]
    fn refuses_what_is_no_pattern() {
        for bad in ["[", "[]", "[^]", "[z-a]", "a\\", "[a", "[a-"] {
            assert!(Glob::parse(bad).is_err(), "{bad}");
        }
    }

    proptest::proptest! {
        #[test]
        fn never_panics(glob in ".*", text in ".*") {
            if let Ok(glob) = Glob::parse(&glob) {
                glob.matches(&text);
            }
        }

        #[test]
        fn a_text_without_special_characters_matches_itself_alone(
            glob in "[a-z0-9-]{0,8}",
            text in "[a-z0-9-]{0,8}",
        ) {
            proptest::prop_assert_eq!(Glob::parse(&glob).unwrap().matches(&text), glob == text);
        }
    }
}
