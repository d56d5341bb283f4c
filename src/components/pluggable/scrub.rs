//! Takes what must not be shown out of the texts of components.

use std::collections::BTreeSet;

use percent_encoding::percent_decode_str;

use crate::base::secret::Secret;

/// The shortest text that is taken for a secret. Shorter ones, such as numbers, would make every
/// text unreadable.
const SHORTEST: usize = 4;
/// The most characters that are kept of a text.
const LONGEST: usize = 1024;
/// What stands in place of a secret.
const HIDDEN: &str = "***";

/// Knows the settings of a component, any of which may be a secret.
pub(super) struct Scrubber {
    /// The longest first, so that none leaves a rest of another.
    hidden: Vec<Secret>,
}

impl Scrubber {
    /// Hides the values of these settings, and what connection strings among them are made of.
    pub(super) fn new<'a>(values: impl Iterator<Item = &'a Secret>) -> Self {
        let mut texts = BTreeSet::new();
        for value in values {
            // Exposed to be looked for only.
            let value = value.expose();
            texts.insert(value.to_owned());
            texts.extend(value.lines().map(|line| line.trim().to_owned()));
            if value.contains(['@', '=']) {
                let parts = value.split(['/', '@', ';', '=', ',', '&', '?', ' ']);
                for part in parts.flat_map(|part| [Some(part), part.split_once(':').map(|p| p.1)]) {
                    let part = part.unwrap_or_default();
                    texts.insert(part.to_owned());
                    texts.insert(percent_decode_str(part).decode_utf8_lossy().into_owned());
                }
            }
        }
        let is_secret = |text: &String| {
            text.len() >= SHORTEST && !matches!(text.to_lowercase().as_str(), "true" | "false")
        };
        let mut hidden: Vec<_> = texts.into_iter().filter(is_secret).collect();
        hidden.sort_by_key(|text| std::cmp::Reverse(text.len()));
        Self {
            hidden: hidden.into_iter().map(Secret::new).collect(),
        }
    }

    /// The text on one line, cut where it is long, with nothing in it that must be hidden.
    pub(super) fn clean(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for secret in &self.hidden {
            text = text.replace(secret.expose(), HIDDEN);
        }
        let shown = text.chars().take(LONGEST);
        shown
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clean(values: &[&str], text: &str) -> String {
        let values: Vec<_> = values.iter().copied().map(Secret::new).collect();
        Scrubber::new(values.iter()).clean(text)
    }

    #[test]
    fn hides_values_wherever_they_stand() {
        let values = ["hunter2", "hunter22", "true", "10"];
        let text = "hunter22 and xhunter2x are refused after 10 tries: true";
        let expected = "*** and x***x are refused after 10 tries: true";
        assert_eq!(clean(&values, text), expected);
    }

    #[test]
    fn hides_what_connection_strings_are_made_of() {
        let url = "amqp://guest:pa%24word@rabbit:5672/v";
        for text in [
            "cannot reach amqp://guest:pa%24word@rabbit:5672/v",
            "password pa%24word is refused",
            "password pa$word is refused",
        ] {
            let shown = clean(&[url], text);
            assert!(!shown.contains("pa%24word"), "{shown}");
            assert!(!shown.contains("pa$"), "{shown}");
        }
        let shown = clean(&["Endpoint=sb://x;SharedAccessKey=c2VjcmV0"], "c2VjcmV0?");
        assert_eq!(shown, "***?");
    }

    #[test]
    fn keeps_texts_on_one_line_of_bounded_length() {
        assert_eq!(clean(&[], "a\nb\u{1b}[0m"), "a b [0m");
        assert_eq!(clean(&[], &"x".repeat(5000)).len(), LONGEST);
    }
}
