//! Kubernetes' rules for names, and the nearest of several known names.

/// Whether a text is a label of RFC 1123: 1 to 63 characters of `a-z`, `0-9` and `-`, with a letter
/// or digit at both ends. Kubernetes wants this form of Service and container names.
pub fn is_dns_label(text: &str) -> bool {
    let alphanumeric = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    matches!(bytes.len(), 1..=63)
        && bytes.iter().all(|byte| alphanumeric(byte) || *byte == b'-')
        && bytes.first().is_some_and(alphanumeric)
        && bytes.last().is_some_and(alphanumeric)
}

/// Whether a text is a subdomain of RFC 1123: labels joined by `.`, 253 characters at most (here a
/// label may have more than 63, as in Kubernetes). Secrets and ConfigMaps have such names.
pub fn is_dns_subdomain(text: &str) -> bool {
    let alphanumeric = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    text.len() <= 253
        && text.split('.').all(|label| {
            let bytes = label.as_bytes();
            bytes.iter().all(|byte| alphanumeric(byte) || *byte == b'-')
                && bytes.first().is_some_and(alphanumeric)
                && bytes.last().is_some_and(alphanumeric)
        })
}

/// The known name that is most like `name`, where one is near enough to be meant.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(name, candidate), candidate))
        .filter(|(likeness, _)| *likeness > 0.85)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dns_labels() {
        let longest = "a".repeat(63);
        for good in ["a", "a-b", "0a", longest.as_str()] {
            assert!(is_dns_label(good), "{good}");
        }
        let too_long = "a".repeat(64);
        for bad in [
            "",
            "-a",
            "a-",
            "A",
            "a_b",
            "a.b",
            " a",
            "ä",
            too_long.as_str(),
        ] {
            assert!(!is_dns_label(bad), "{bad}");
        }
    }

    #[test]
    fn dns_subdomains() {
        for good in ["a", "a.b", "dapr-api-token", "a.b-c.d"] {
            assert!(is_dns_subdomain(good), "{good}");
        }
        for bad in ["", ".", "a.", ".a", "a..b", "a/b", "A", "a_b", "a.-b"] {
            assert!(!is_dns_subdomain(bad), "{bad}");
        }
    }

    #[test]
    fn finds_what_was_meant() {
        let known = ["dapr.io/enabled", "dapr.io/app-id", "dapr.io/app-port"];
        assert_eq!(nearest("dapr.io/enable", known), Some("dapr.io/enabled"));
        assert_eq!(nearest("dapr.io/appid", known), Some("dapr.io/app-id"));
        assert_eq!(nearest("something else", known), None);
    }
}
