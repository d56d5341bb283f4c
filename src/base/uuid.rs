//! UUIDs, as random texts and as numbers.

use std::fmt::Write as _;

use ring::rand::{SecureRandom as _, SystemRandom};

/// A random UUID of version 4 (RFC 9562, 5.4).
pub fn random() -> String {
    let mut bytes = [0_u8; 16];
    // Without randomness the text is still a valid name, only not a unique one.
    let _ = SystemRandom::new().fill(&mut bytes);
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    of_number(u128::from_be_bytes(bytes))
}

/// The UUID of these 128 bits, in lower case.
pub fn of_number(number: u128) -> String {
    let bytes = number.to_be_bytes();
    let mut text = String::with_capacity(36);
    for (at, byte) in bytes.iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// The 128 bits of a UUID in its usual form, with hyphens.
pub fn number(text: &str) -> Option<u128> {
    let has_hyphens = [8, 13, 18, 23]
        .iter()
        .all(|at| text.as_bytes().get(*at) == Some(&b'-'));
    let digits = text.replace('-', "");
    let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    if text.len() != 36 || digits.len() != 32 || !has_hyphens || !is_hex {
        return None;
    }
    u128::from_str_radix(&digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_a_number_as_well() {
        let text = "2b1d6f9e-8a4c-4d0e-9c1b-2f3e4d5c6b7a";
        let of_text = 0x2b1d_6f9e_8a4c_4d0e_9c1b_2f3e_4d5c_6b7a;
        assert_eq!(number(text), Some(of_text));
        assert_eq!(number(&text.to_uppercase()), Some(of_text));
        for number_of in [0, 1, u128::MAX, of_text] {
            assert_eq!(number(&of_number(number_of)), Some(number_of));
        }
        for text in [
            "",
            "2b1d6f9e8a4c4d0e9c1b2f3e4d5c6b7a",
            "2b1d6f9e-8a4c-4d0e-9c1b-2f3e4d5c6b7",
            "2b1d6f9e-8a4c-4d0e-9c1b-2f3e4d5c6b7g",
            "2b1d6f9e-8a4c-4d0e-9c1b--f3e4d5c6b7a",
            "2b1d6f9e-8a4c-4d0e-9c1b-2f3e4d5c6b7aa",
            "+b1d6f9e-8a4c-4d0e-9c1b-2f3e4d5c6b7a",
        ] {
            assert_eq!(number(text), None, "{text:?}");
        }
    }

    #[test]
    fn is_of_version_4_and_not_twice_the_same() {
        let uuid = random();
        let lengths: Vec<_> = uuid.split('-').map(str::len).collect();
        assert_eq!(lengths, [8, 4, 4, 4, 12], "{uuid}");
        assert_eq!(&uuid[14..15], "4", "{uuid}");
        assert!("89ab".contains(&uuid[19..20]), "{uuid}");
        assert_ne!(uuid, random());
    }
}
