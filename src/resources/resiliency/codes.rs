//! Lists of status codes, such as `429,500-599`.

use std::ops::RangeInclusive;

/// The codes that a list may hold.
#[derive(Debug)]
pub struct Accepted {
    codes: RangeInclusive<u16>,
    example: &'static str,
}

/// The statuses of HTTP.
pub const HTTP: Accepted = Accepted {
    codes: 100..=599,
    example: "429,500-599",
};
/// The codes of gRPC.
pub const GRPC: Accepted = Accepted {
    codes: 0..=16,
    example: "4,13-14",
};

/// A set of status codes; all of them where nothing is listed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Codes(Option<Vec<RangeInclusive<u16>>>);

impl Codes {
    /// No code at all.
    pub const NONE: Self = Self(Some(Vec::new()));

    /// Reads codes and ranges of codes with commas between them. An empty text means all.
    ///
    /// # Errors
    ///
    /// The entry that is wrong, and what is accepted.
    pub fn parse(text: &str, accepted: &Accepted) -> Result<Self, String> {
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        let Accepted { codes, example } = accepted;
        let ranges = text.split(',').map(|entry| {
            range(entry, codes).ok_or_else(|| {
                format!(
                    "{entry:?} is no status code and no range of them: accepted are {} to {}, \
                     such as {example:?}",
                    codes.start(),
                    codes.end(),
                )
            })
        });
        ranges.collect::<Result<_, _>>().map(Some).map(Self)
    }

    /// Whether a code is in the set.
    pub fn contains(&self, code: u16) -> bool {
        let ranges = self.0.as_ref();
        ranges.is_none_or(|ranges| ranges.iter().any(|range| range.contains(&code)))
    }
}

fn range(entry: &str, valid: &RangeInclusive<u16>) -> Option<RangeInclusive<u16>> {
    let (first, last) = entry.split_once('-').unwrap_or((entry, entry));
    let code = |text: &str| {
        let digits = text.trim();
        let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
        let code = is_number.then(|| digits.parse().ok()).flatten()?;
        valid.contains(&code).then_some(code)
    };
    let (first, last) = (code(first)?, code(last)?);
    (first <= last).then_some(first..=last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_codes_and_ranges() {
        let codes = Codes::parse("429, 500-502,503", &HTTP).unwrap();
        for (code, is_in) in [(429, true), (500, true), (503, true), (504, false)] {
            assert_eq!(codes.contains(code), is_in, "{code}");
        }
        for all in ["", " "] {
            assert!(Codes::parse(all, &GRPC).unwrap().contains(14));
        }
        assert!(!Codes::NONE.contains(500));
    }

    #[test]
    fn refuses_everything_else() {
        for bad in [
            "42", "600", "5xx", "500-", "-500", "502-500", "1-2-3", "+500", "500,,501", ",",
        ] {
            assert!(Codes::parse(bad, &HTTP).is_err(), "{bad}");
        }
        assert_eq!(
            Codes::parse("14,17", &GRPC).unwrap_err(),
            "\"17\" is no status code and no range of them: accepted are 0 to 16, such as \
             \"4,13-14\""
        );
    }
}
