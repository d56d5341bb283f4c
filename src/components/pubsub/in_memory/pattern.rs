//! Topics with `*`.

/// A topic that a subscription names; each `*` stands for any text, an empty one too.
#[derive(Debug)]
pub(super) struct Pattern {
    text: String,
    has_wildcard: bool,
}

impl Pattern {
    pub(super) fn new(text: &str) -> Self {
        Self {
            text: text.to_owned(),
            has_wildcard: text.contains('*'),
        }
    }

    pub(super) fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether a topic is one of those that are meant.
    pub(super) fn matches(&self, topic: &str) -> bool {
        if !self.has_wildcard {
            return self.text == topic;
        }
        let mut pieces = self.text.split('*');
        let (first, last) = (pieces.next(), pieces.next_back());
        let rest = first.and_then(|first| topic.strip_prefix(first));
        let rest = rest
            .zip(last)
            .and_then(|(rest, last)| rest.strip_suffix(last));
        let Some(mut rest) = rest else {
            return false;
        };
        for piece in pieces {
            let Some(at) = rest.find(piece) else {
                return false;
            };
            rest = &rest[at + piece.len()..];
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_text() {
        for (pattern, topics, others) in [
            ("orders", &["orders"][..], &["order", "orders2", "*"][..]),
            ("orders*", &["orders", "orders.new"], &["my orders"]),
            ("*.new", &["orders.new", ".new"], &["orders.newer", "new"]),
            ("a*b*c", &["abc", "axxbyyc", "abbc"], &["acb", "ab", "ac"]),
            ("aa*aa", &["aaaa", "aa aa"], &["aaa", "aa"]),
            ("*", &["", "x"], &[]),
        ] {
            let pattern = Pattern::new(pattern);
            for topic in topics {
                assert!(pattern.matches(topic), "{pattern:?} {topic:?}");
            }
            for topic in others {
                assert!(!pattern.matches(topic), "{pattern:?} {topic:?}");
            }
        }
    }
}
