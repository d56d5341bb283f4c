//! Dapr's idea of a true value.

/// Whether a text counts as true: `y`, `yes`, `true`, `t`, `on`, `1`, in any case, trimmed.
/// Everything else, the empty text included, is false. (Dapr's `kit/utils`.)
pub fn is_truthy(text: &str) -> bool {
    let text = text.trim();
    ["y", "yes", "true", "t", "on", "1"]
        .iter()
        .any(|word| text.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::is_truthy;

    #[test]
    fn knows_the_six_words() {
        for yes in ["y", "YES", "True", "t", "on", "1", " true "] {
            assert!(is_truthy(yes), "{yes}");
        }
        for no in ["", "0", "no", "false", "off", "truee", "2"] {
            assert!(!is_truthy(no), "{no}");
        }
    }
}
