//! The limits that Kubernetes sets to admission warnings: where all of them together have more
//! than 4096 characters, it cuts each to 256 and drops what is then still too much
//! (`k8s.io/apiserver/pkg/endpoints/filters/warning.go`). Done here, the answer can say what is
//! missing.

/// The most characters of all warnings of an answer.
const TOTAL: usize = 4096;

/// The most characters of one warning where all together are too many.
const EACH: usize = 256;

/// Room for the words that say how many are left out.
const RESERVED: usize = 64;

/// Keeps warnings within the limits. Control characters, which Kubernetes refuses in warnings,
/// become spaces.
pub(super) fn limit(warnings: &[String]) -> Vec<String> {
    let mut limited: Vec<String> = warnings.iter().map(|text| printable(text)).collect();
    if total(&limited) <= TOTAL {
        return limited;
    }
    for text in &mut limited {
        if let Some((end, _)) = text.char_indices().nth(EACH - 1) {
            text.truncate(end);
            text.push('…');
        }
    }
    if total(&limited) <= TOTAL {
        return limited;
    }
    let mut room = TOTAL - RESERVED;
    let fit = limited
        .iter()
        .take_while(|text| match room.checked_sub(text.chars().count()) {
            Some(left) => {
                room = left;
                true
            }
            None => false,
        })
        .count();
    let left_out = limited.len() - fit;
    limited.truncate(fit);
    limited.push(format!("{left_out} more warnings are not shown"));
    limited
}

fn total(warnings: &[String]) -> usize {
    warnings.iter().map(|text| text.chars().count()).sum()
}

fn printable(text: &str) -> String {
    text.replace(char::is_control, " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaves_few_short_warnings_alone() {
        let warnings = ["a".repeat(1000), "b".to_owned()];
        assert_eq!(limit(&warnings), warnings);
        assert_eq!(limit(&["a\nb".to_owned()]), ["a b"]);
    }

    #[test]
    fn cuts_each_where_all_are_too_long() {
        let limited = limit(&["ä".repeat(5000), "short".to_owned()]);
        assert_eq!(limited[0].chars().count(), EACH);
        assert!(limited[0].ends_with("ä…"));
        assert_eq!(limited[1], "short");
    }

    #[test]
    fn says_how_many_are_left_out() {
        let limited = limit(&vec!["w".repeat(250); 100]);
        assert_eq!(limited.len(), 17);
        assert_eq!(limited[16], "84 more warnings are not shown");
        assert!(total(&limited) <= TOTAL);
    }
}
