//! Values of every kind, and keys of every kind.

use std::sync::Arc;

use bytes::Bytes;

use super::{Subject, run};
use crate::components::state::StateStore;

/// Keys that some store might read otherwise than as a text. No two of them are one key.
const ODD_KEYS: &[&str] = &[
    "ünïcödé",
    "u\u{308}",
    "ü",
    "键",
    "🔑",
    "\u{1}\u{2}\u{1f}\u{7f}",
    "line\nbreak",
    "line\r\nbreak",
    "tab\t",
    "space",
    "space ",
    " space",
    "Case",
    "case",
    "'single'",
    "\"double\"",
    "`back`",
    "back\\slash",
    "back\\\\slash",
    "%",
    "%25",
    "%_like_%",
    "*",
    "?[a-z]*",
    "{}",
    "{tag}x",
    "x{tag}",
    "a||b",
    "||",
    "a:b:c",
    "a/b/../c",
    "$1 ?1 :a @b",
    "'; DROP TABLE state; --",
    "NULL",
    "0",
    "00",
    "1e3",
    "-1",
    "true",
    "{\"json\": [1]}",
    "\u{202e}right to left",
    "\u{feff}mark",
    "\u{ffff}\u{10ffff}",
];

pub(super) async fn check(store: &Arc<dyn StateStore>, prefix: &str) {
    let on = (store, prefix);
    run(on, "binary values", binary).await;
    run(on, "values that look like something", looks).await;
    run(on, "large values", large).await;
    run(on, "odd keys", odd_keys).await;
    run(on, "a long key", long_key).await;
}

/// Writes values, in bulk and one by one, and reads them back.
async fn come_back(on: &Subject, values: &[Bytes]) {
    for (number, value) in values.iter().enumerate() {
        let key = format!("value{number}");
        on.put(&key, value).await;
        let read = on.value(&key).await;
        // Not as a comparison that shows them: they are large.
        assert!(read.as_ref() == Some(value), "value {number} came back");
    }
    let keys: Vec<_> = (0..values.len()).map(|at| format!("value{at}")).collect();
    let keys: Vec<_> = keys.iter().map(String::as_str).collect();
    let read = on.values(&keys, 10).await;
    for (number, (read, value)) in read.iter().zip(values).enumerate() {
        assert!(read.as_ref() == Some(value), "value {number} in bulk");
    }
}

async fn binary(on: Subject) {
    let all: Vec<u8> = (0..=u8::MAX).collect();
    let nothing_but = |byte: u8| Bytes::from(vec![byte; 100]);
    let values = [
        Bytes::from(all),
        Bytes::new(),
        nothing_but(0),
        nothing_but(0xff),
        Bytes::from_static(b"\xc3\x28 \xf0\x28\x8c\x28"),
        Bytes::from_static(b"text\0with\0zeros"),
        Bytes::from_static(b"\0"),
    ];
    come_back(&on, &values).await;
}

async fn looks(on: Subject) {
    let texts = [
        "null",
        "\"text\"",
        "\"\"",
        "{\"a\": 1.0, \"a\": 2}",
        "[1, 2",
        "0",
        "007",
        "1e400",
        "12345678901234567890123",
        " \n",
        "aGVsbG8=",
        "||",
        "key||name",
        "\\x00ff",
        "'quoted'",
        "ünïcödé 🔑",
    ];
    let values: Vec<_> = texts
        .iter()
        .map(|text| Bytes::from_static(text.as_bytes()))
        .collect();
    come_back(&on, &values).await;
}

async fn large(on: Subject) {
    for mebibytes in [1, 3] {
        let size = mebibytes << 20;
        let mut bytes = vec![0; size];
        fastrand::fill(&mut bytes);
        come_back(&on, &[Bytes::from(bytes), Bytes::from(vec![b'x'; size])]).await;
    }
    on.put("value0", "small").await;
    let read = on.value("value0").await;
    assert_eq!(read.as_deref(), Some(&b"small"[..]), "a small one instead");
}

async fn odd_keys(on: Subject) {
    for (number, key) in ODD_KEYS.iter().enumerate() {
        assert_eq!(on.item(key).await, None, "{key:?} is no other one's");
        on.put(key, number.to_string()).await;
    }
    let values = on.values(ODD_KEYS, 10).await;
    for (number, (key, in_bulk)) in ODD_KEYS.iter().zip(values).enumerate() {
        let expected = Some(Bytes::from(number.to_string()));
        assert_eq!(on.value(key).await, expected, "{key:?}");
        assert_eq!(in_bulk, expected, "{key:?} in bulk");
    }
    for (number, key) in ODD_KEYS.iter().enumerate() {
        on.remove(key).await;
        assert_eq!(on.item(key).await, None, "{key:?} is deleted");
        if let Some(next) = ODD_KEYS.get(number + 1) {
            assert!(on.item(next).await.is_some(), "{next:?} is still there");
        }
    }
}

async fn long_key(on: Subject) {
    let long = "k".repeat(1024);
    let longer = format!("{long}k");
    on.put(&long, "long").await;
    on.put(&longer, "longer").await;
    assert_eq!(on.value(&long).await, super::some("long"));
    assert_eq!(on.value(&longer).await, super::some("longer"));
}
