//! `tracestate`: what vendors add to the context of a call (W3C Trace Context, section 3.3). Pure.

use http::{HeaderMap, HeaderValue};

use super::context::TRACESTATE;

/// The most members of a list; one with more is not valid.
const MAX_MEMBERS: usize = 32;
/// The most characters that are passed on. Everybody has to pass on as many.
const MAX_LENGTH: usize = 512;
/// Members above this go first where the list is too long.
const LARGE_MEMBER: usize = 128;

/// Keeps the list of a call within the limits, and removes one that is not valid. A list that is
/// fine stays as it came.
pub(super) fn sanitise(headers: &mut HeaderMap) {
    if !headers.contains_key(TRACESTATE) {
        return;
    }
    let texts: Option<Vec<&str>> = headers
        .get_all(TRACESTATE)
        .iter()
        .map(|value| value.to_str().ok())
        .collect();
    let outcome = texts.map_or(Outcome::Invalid, |texts| judge(&texts.join(",")));
    match outcome {
        Outcome::Fine => {}
        Outcome::Invalid => drop(headers.remove(TRACESTATE)),
        Outcome::Shortened(text) => match HeaderValue::try_from(text) {
            Ok(value) if !value.is_empty() => drop(headers.insert(TRACESTATE, value)),
            _ => drop(headers.remove(TRACESTATE)),
        },
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Fine,
    Shortened(String),
    Invalid,
}

fn judge(list: &str) -> Outcome {
    let members = list
        .split(',')
        .map(|member| member.trim_matches([' ', '\t']));
    // Empty members are allowed, and count for nothing.
    let mut members: Vec<&str> = members.filter(|member| !member.is_empty()).collect();
    let mut keys = Vec::with_capacity(members.len());
    for member in &members {
        match member.split_once('=') {
            Some((key, value)) if is_key(key) && is_value(value) => keys.push(key),
            _ => return Outcome::Invalid,
        }
    }
    keys.sort_unstable();
    let is_repeated = keys.windows(2).any(|pair| pair[0] == pair[1]);
    if is_repeated || members.is_empty() || members.len() > MAX_MEMBERS {
        return Outcome::Invalid;
    }
    if list.len() <= MAX_LENGTH {
        return Outcome::Fine;
    }
    // Whole members only: the large ones, then the oldest, which stand last.
    if length(&members) > MAX_LENGTH {
        members.retain(|member| member.len() <= LARGE_MEMBER);
    }
    while length(&members) > MAX_LENGTH {
        members.pop();
    }
    Outcome::Shortened(members.join(","))
}

fn length(members: &[&str]) -> usize {
    let commas = members.len().saturating_sub(1);
    members.iter().map(|member| member.len()).sum::<usize>() + commas
}

/// `key`, or `tenant@system`. Level 2 lets a key begin with a digit.
fn is_key(key: &str) -> bool {
    let is_part = |part: &str, most: usize| {
        let first = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let rest = |byte: &u8| first(byte) || b"_-*/".contains(byte);
        let bytes = part.as_bytes();
        (1..=most).contains(&bytes.len()) && first(&bytes[0]) && bytes.iter().all(rest)
    };
    match key.split_once('@') {
        Some((tenant, system)) => is_part(tenant, 241) && is_part(system, 14),
        None => is_part(key, 256),
    }
}

/// 1 to 256 printable characters without `,` and `=`, the last one no blank.
fn is_value(value: &str) -> bool {
    let is_allowed = |byte: u8| (b' '..=b'~').contains(&byte) && byte != b'=';
    (1..=256).contains(&value.len()) && value.bytes().all(is_allowed) && !value.ends_with(' ')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn takes_lists_of_the_standard() {
        for list in [
            "a=1",
            "a=1,b=2",
            "a=1, ,b=2",
            "tenant@system=x y",
            "1a=!",
            "a_-*/=1",
        ] {
            assert_eq!(judge(list), Outcome::Fine, "{list}");
        }
    }

    #[test]
    fn refuses_what_is_none() {
        let many: Vec<_> = (0..33).map(|number| format!("k{number}=1")).collect();
        for list in [
            "",
            ",",
            "a",
            "a=",
            "A=1",
            "=1",
            "a=1=2",
            "a=1,a=2",
            "@a=1",
            "a@=1",
            "a=\u{e9}",
            &many.join(","),
        ] {
            assert_eq!(judge(list), Outcome::Invalid, "{list}");
        }
    }

    #[test]
    fn a_long_list_loses_whole_members() {
        let large = format!("large={}", "x".repeat(200));
        let small = |number: usize| format!("k{number}={}", "y".repeat(90));
        let list = [large.clone(), small(1), small(2), small(3), small(4)].join(",");
        let kept = [small(1), small(2), small(3), small(4)].join(",");
        assert_eq!(judge(&list), Outcome::Shortened(kept));
        let list: Vec<_> = (0..10).map(small).collect();
        assert_eq!(
            judge(&list.join(",")),
            Outcome::Shortened(list[..5].join(","))
        );
    }

    #[test]
    fn a_list_in_several_headers_is_one_list() {
        let mut headers = HeaderMap::new();
        headers.append(TRACESTATE, HeaderValue::from_static("a=1"));
        headers.append(TRACESTATE, HeaderValue::from_static("b=2"));
        sanitise(&mut headers);
        assert_eq!(headers.get_all(TRACESTATE).iter().count(), 2);
        headers.append(TRACESTATE, HeaderValue::from_static("a=3"));
        sanitise(&mut headers);
        assert!(headers.is_empty());
    }

    proptest! {
        #[test]
        fn what_is_passed_on_is_within_the_limits(list in "([a-c]{1,3}=[ -~]{0,150},){0,40}") {
            if let Outcome::Shortened(text) = judge(&list) {
                prop_assert!(text.len() <= MAX_LENGTH);
                prop_assert!(text.is_empty() || judge(&text) == Outcome::Fine);
            }
        }
    }
}
