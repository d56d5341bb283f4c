//! Random UUIDs.

use std::fmt::Write as _;

use ring::rand::{SecureRandom as _, SystemRandom};

/// A random UUID of version 4 (RFC 9562, 5.4).
pub fn random() -> String {
    let mut bytes = [0_u8; 16];
    // Without randomness the text is still a valid name, only not a unique one.
    let _ = SystemRandom::new().fill(&mut bytes);
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let mut text = String::with_capacity(36);
    for (at, byte) in bytes.iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::random;

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
