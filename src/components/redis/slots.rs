//! Which server of a cluster has a key.

use redis::{Arg, Cmd, Value};

use super::hosts::Host;

/// How many slots a cluster has.
const SLOTS: u16 = 16384;

/// A part of the keys, which one server has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::components) struct Slot(u16);

impl Slot {
    /// Of a key: what stands between its first `{` and the next `}` counts, or else all of it.
    pub(in crate::components) fn of(key: &[u8]) -> Self {
        Self(checksum(tag(key).unwrap_or(key)) % SLOTS)
    }

    /// Of the key of a command, where it has one. Commands with several have them in one slot.
    pub(super) fn of_command(command: &Cmd) -> Option<Self> {
        let mut words = command.args_iter().map(|word| match word {
            Arg::Simple(bytes) => bytes,
            _ => &[],
        });
        let name = words.next()?.to_ascii_uppercase();
        let key = match &name[..] {
            b"PING" | b"INFO" | b"CLUSTER" | b"CONFIG" | b"PUBLISH" | b"SCAN" => None,
            b"EVAL" | b"EVALSHA" => {
                let count = words.nth(1)?;
                if count == b"0" { None } else { words.next() }
            }
            b"XGROUP" | b"XINFO" => words.nth(1),
            _ => words.next(),
        };
        key.map(Self::of)
    }
}

fn tag(key: &[u8]) -> Option<&[u8]> {
    let begin = key.iter().position(|&byte| byte == b'{')? + 1;
    let rest = &key[begin..];
    let length = rest.iter().position(|&byte| byte == b'}')?;
    (length > 0).then_some(&rest[..length])
}

/// CRC-16/XMODEM, as Redis Cluster specifies.
fn checksum(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |sum, &byte| {
        (0..8).fold(sum ^ (u16::from(byte) << 8), |sum: u16, _| {
            let polynomial = if sum & 0x8000 == 0 { 0 } else { 0x1021 };
            (sum << 1) ^ polynomial
        })
    })
}

/// Which server has which slots.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct SlotMap {
    /// The first and the last slot of ranges in their order, with the primary.
    ranges: Vec<(Slot, Slot, Host)>,
}

impl SlotMap {
    /// From the answer of `CLUSTER SLOTS` of a server. `None` where it is none.
    pub(super) fn parse(answer: &Value, asked: &Host) -> Option<Self> {
        let Value::Array(ranges) = answer else {
            return None;
        };
        let ranges: Option<Vec<_>> = ranges
            .iter()
            .map(|range| parse_range(range, asked))
            .collect();
        let mut ranges = ranges?;
        ranges.sort_unstable_by_key(|(first, ..)| *first);
        Some(Self { ranges })
    }

    /// The primary that has a slot.
    pub(super) fn owner(&self, slot: Slot) -> Option<&Host> {
        let after = self.ranges.partition_point(|(first, ..)| *first <= slot);
        let (_, last, host) = self.ranges.get(after.checked_sub(1)?)?;
        (slot <= *last).then_some(host)
    }

    /// The primaries. One with several ranges comes several times.
    pub(super) fn hosts(&self) -> impl Iterator<Item = &Host> {
        self.ranges.iter().map(|(.., host)| host)
    }
}

fn parse_range(range: &Value, asked: &Host) -> Option<(Slot, Slot, Host)> {
    let Value::Array(parts) = range else {
        return None;
    };
    let [
        Value::Int(first),
        Value::Int(last),
        Value::Array(primary),
        ..,
    ] = &parts[..]
    else {
        return None;
    };
    let [name, Value::Int(port), ..] = &primary[..] else {
        return None;
    };
    let slot = |number: i64| u16::try_from(number).ok().map(Slot);
    let name = match name {
        Value::BulkString(name) => std::str::from_utf8(name).ok()?,
        Value::SimpleString(name) => name,
        _ => "",
    };
    Some((
        slot(*first)?,
        slot(*last)?,
        asked.beside(name, u16::try_from(*port).ok()?),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(key: &str) -> u16 {
        Slot::of(key.as_bytes()).0
    }

    #[test]
    fn keys_with_one_tag_are_in_one_slot() {
        assert_eq!(checksum(b"123456789"), 0x31c3);
        assert_eq!(slot("foo"), 12182);
        assert_eq!(slot("app||{foo}.a"), 12182);
        assert_eq!(slot("{foo}{bar}"), 12182);
        assert_eq!(slot("foo{{bar}}zap"), slot("{bar"));
        assert_eq!(slot("foo{}{bar}"), checksum(b"foo{}{bar}") % SLOTS);
        assert_eq!(slot("{foo"), checksum(b"{foo") % SLOTS);
        assert_eq!(slot(""), 0);
    }

    #[test]
    fn finds_the_key_of_a_command() {
        let foo = Some(Slot(12182));
        for (words, expected) in [
            (&["GET", "foo"][..], foo),
            (&["xadd", "foo", "*", "a", "b"], foo),
            (&["XGROUP", "CREATE", "foo", "g", "0"], foo),
            (&["EVAL", "return 1", "1", "foo", "a"], foo),
            (&["EVALSHA", "abc", "2", "foo", "{foo}", "a"], foo),
            (&["EVAL", "return 1", "0", "foo"], None),
            (&["PING"], None),
            (&["CLUSTER", "SLOTS"], None),
        ] {
            let mut command = redis::cmd(words[0]);
            command.arg(&words[1..]);
            assert_eq!(Slot::of_command(&command), expected, "{words:?}");
        }
    }

    fn asked() -> Host {
        Host {
            name: "asked".to_owned(),
            port: 1,
        }
    }

    #[test]
    fn knows_owners_from_an_answer() {
        let answer = b"*3\r\n*3\r\n:8192\r\n:16383\r\n*3\r\n$0\r\n\r\n:7002\r\n$1\r\na\r\n\
            *4\r\n:0\r\n:100\r\n*3\r\n$8\r\n10.0.0.1\r\n:7001\r\n$1\r\nb\r\n\
            *3\r\n$8\r\n10.0.0.9\r\n:7001\r\n$1\r\nc\r\n\
            *3\r\n:102\r\n:8191\r\n*3\r\n$-1\r\n:7003\r\n$1\r\nd\r\n";
        let answer = redis::parse_redis_value(answer).unwrap();
        let map = SlotMap::parse(&answer, &asked()).unwrap();
        let owner = |slot| map.owner(Slot(slot)).map(Host::to_string);
        assert_eq!(owner(0).as_deref(), Some("10.0.0.1:7001"));
        assert_eq!(owner(100).as_deref(), Some("10.0.0.1:7001"));
        assert_eq!(owner(101), None);
        assert_eq!(owner(102).as_deref(), Some("asked:7003"));
        assert_eq!(owner(16383).as_deref(), Some("asked:7002"));
        assert_eq!(map.hosts().count(), 3);
        assert_eq!(SlotMap::parse(&Value::Nil, &asked()), None);
        let empty = SlotMap::parse(&Value::Array(Vec::new()), &asked()).unwrap();
        assert_eq!(empty.owner(Slot(0)), None);
    }
}
