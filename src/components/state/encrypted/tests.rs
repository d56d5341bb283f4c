use super::*;
use crate::base::secret::Secret;
use crate::components::state::in_memory::InMemory;
use crate::testing::contract;
use crate::testing::state_contract::{self, get, set};

const OLD: &str = "000102030405060708090a0b0c0d0e0f";
const NEW: &str = "f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff101112131415161718191a1b1c1d1e1f";

/// A component with keys of secrets.
fn component(keys: &[(&str, &str, &str)]) -> ResolvedComponent {
    let mut component = contract::component("state.in-memory", &[("keyPrefix", "none")]);
    let property = |(name, value, secret): &(&str, &str, &str)| ResolvedProperty {
        name: (*name).to_owned(),
        value: Secret::new(*value),
        secret_name: Some((*secret).to_owned()),
    };
    component.properties.extend(keys.iter().map(property));
    component
}

fn keys(keys: &[(&str, &str, &str)]) -> Keys {
    let (keys, rest) = Keys::take(&component(keys)).unwrap();
    assert_eq!(rest.properties.len(), 1, "the store gets no key");
    keys.unwrap()
}

fn refusal(component: &ResolvedComponent) -> String {
    match Keys::take(component) {
        Ok(_) => panic!("it is taken"),
        Err(error) => error.to_string(),
    }
}

/// Values that Python's `cryptography` encrypted.
#[test]
fn opens_what_others_encrypted() {
    let all: Vec<u8> = (0..=u8::MAX).collect();
    let old = keys(&[(PRIMARY, OLD, "state-key")]);
    let stored = "DAsKCQgHBgUEAwIBHRkBFRVVhBpAMjDkfXym0DyMMloYGrlCcRuKvPEa6Q==||state-key";
    let value = old.decrypt(stored.as_bytes());
    assert_eq!(value, Ok(Bytes::from_static(b"{\"orderId\": 42}")));

    let rotated = keys(&[(PRIMARY, NEW, "new-key"), (SECONDARY, OLD, "old-key")]);
    for (stored, value) in [
        (
            "/+7dzLuqmYh3ZlVEtestI52vAtcnBdecUkRM9pBS5X3evEcKJBdkhCpXHXVRIY+Y6xIYWCTG923c5efLHAQJK\
             +kQR2+QYQR2ZpKnj3yKimjpPpRgxrOkqrPOWhxzABU2pYh5SbpTMJ0vZxGJGw9O/QwpLlrQOZsrudCsNOV2sR\
             Wbc6Vnclp6aHm17Cn+vYpkYnrUtKuxgYt+z4tWNMtTfaqzWrMD00UXdRucpbsSTX8jhB+fQy1s+CXJmm6ey1Y\
             2QSm0Ab7QsM53gQKD4KQIzT4JEGmBcdrJEfaD8P2frZZEvFlXKWVvsiBEqZMFC1Zo/WtxFO9yCtbsY4smiMoE\
             TsRjYMQiiTzrudL45J1gevtlJAZU4VFk2fox9/8=||new-key",
            &all[..],
        ),
        ("ESIzRFVmd4iZqrvMTqG9akn8/egloGcUpkgccQ==||new-key", b""),
        (
            "DAsKCQgHBgUEAwICmRBDERr9ldqxwmhz2yRk8v6MJB4K||old-key",
            b"hello",
        ),
    ] {
        let opened = rotated.decrypt(stored.as_bytes());
        assert_eq!(opened, Ok(Bytes::copy_from_slice(value)), "{stored}");
    }
}

#[test]
fn encrypts_with_the_primary_key_and_never_twice_the_same() {
    let rotated = keys(&[(PRIMARY, NEW, "new"), (SECONDARY, OLD, "old")]);
    for value in [&b""[..], b"value", b"a||b", &[0xff; 1000]] {
        let one = rotated.encrypt(value).unwrap();
        let two = rotated.encrypt(value).unwrap();
        assert_ne!(one, two, "nonces are random");
        assert!(one.ends_with(b"||new"), "{one:?}");
        for stored in [one, two] {
            assert_eq!(rotated.decrypt(&stored).unwrap(), value);
            let alone = keys(&[(PRIMARY, NEW, "new")]);
            assert_eq!(alone.decrypt(&stored).unwrap(), value);
        }
    }
}

#[test]
fn keys_of_one_secret_are_both_tried() {
    let before = keys(&[(PRIMARY, OLD, "secret")]);
    let after = keys(&[(PRIMARY, NEW, "secret"), (SECONDARY, OLD, "secret")]);
    let stored = before.encrypt(b"value").unwrap();
    assert_eq!(after.decrypt(&stored).unwrap(), &b"value"[..]);
}

#[test]
fn hands_on_nothing_that_it_cannot_open() {
    let own = keys(&[(PRIMARY, OLD, "name")]);
    let stored = own.encrypt(b"hunter2").unwrap();
    let others = keys(&[(PRIMARY, NEW, "name")]).encrypt(b"hunter2").unwrap();
    let unnamed = stored[..stored.len() - 4].to_vec();
    let renamed = [&unnamed[..], b"other"].concat();
    let cases: [&[u8]; 12] = [
        b"",
        b"||",
        b"||name",
        b"hunter2",
        b"\"hunter2\"",
        b"hunter2||name",
        b"AAAA||name",
        b"AAAAAAAAAAAAAAAA||name",
        &stored[..20],
        &unnamed,
        &renamed,
        &others,
    ];
    for stored in cases {
        match own.decrypt(stored) {
            Err(StateError::Refused(text)) => assert!(!text.contains("hunter2"), "{text}"),
            other => panic!("{stored:?}: {other:?}"),
        }
    }
    let (sealed, name) = stored.split_at(stored.len() - b"||name".len());
    let sealed = BASE64.decode(sealed).unwrap();
    for at in 0..sealed.len() {
        let mut changed = sealed.clone();
        changed[at] ^= 1;
        let changed = [BASE64.encode(changed).as_bytes(), name].concat();
        assert!(own.decrypt(&changed).is_err(), "byte {at} counts");
    }
}

#[test]
fn takes_keys_of_secrets_only() {
    let plain = contract::component("state.in-memory", &[(PRIMARY, OLD)]);
    assert_eq!(
        refusal(&plain),
        "the value of \"primaryEncryptionKey\" is not a reference to a secret (secretKeyRef)"
    );
    assert_eq!(
        refusal(&component(&[(SECONDARY, OLD, "old")])),
        "\"secondaryEncryptionKey\" is for values of before; \"primaryEncryptionKey\" is missing, \
         which encrypts new ones"
    );
    let twice = component(&[(PRIMARY, OLD, "a"), ("primaryencryptionkey", NEW, "b")]);
    assert_eq!(
        refusal(&twice),
        "key primaryencryptionkey is duplicate in the metadata"
    );
    let aes192 = &NEW[..48];
    for wrong in ["", "hunter2", aes192, &OLD[1..], &format!("{}g", &OLD[1..])] {
        let text = refusal(&component(&[(PRIMARY, wrong, "a")]));
        assert_eq!(
            text,
            "the value of \"primaryEncryptionKey\" is not a key of AES in hexadecimal digits: 32 \
             of them for AES-128, 64 for AES-256 (48, for AES-192, are not supported)"
        );
    }
    for fine in [&format!("{OLD}\n"), &NEW.to_uppercase()] {
        assert!(Keys::take(&component(&[(PRIMARY, fine, "a")])).is_ok());
    }
    let (none, _) = Keys::take(&component(&[])).unwrap();
    assert!(none.is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn keeps_the_contract() {
    let inner: Arc<dyn StateStore> = Arc::new(InMemory::default());
    let keys = keys(&[(PRIMARY, OLD, "name")]);
    let store: Arc<dyn StateStore> = Arc::new(Encrypted::new(inner, keys));
    state_contract::holds(&store, "app||").await;
}

#[tokio::test]
async fn the_store_has_no_value_and_no_type() {
    let inner: Arc<dyn StateStore> = Arc::new(InMemory::default());
    let keys = keys(&[(PRIMARY, OLD, "name")]);
    let store = Encrypted::new(Arc::clone(&inner), keys);
    let mut value = set("key", "\"hunter2\"");
    value.content_type = Some("application/json".to_owned());
    value.metadata = [("contentType", "application/json"), ("other", "x")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
    let sealed = store.sealed(Operation::Set(value.clone())).unwrap();
    let Operation::Set(sealed) = &sealed else {
        panic!("it is a set");
    };
    assert_eq!(sealed.metadata.keys().collect::<Vec<_>>(), ["other"]);
    store.write(Operation::Set(value.clone())).await.unwrap();
    store
        .transact(vec![Operation::Set(set("key2", "hunter2"))])
        .await
        .unwrap();
    for key in ["key", "key2"] {
        let item = inner.get(&get(key)).await.unwrap().unwrap();
        assert!(item.value.ends_with(b"||name"), "{:?}", item.value);
        assert!(!item.value.windows(7).any(|part| part == b"hunter2"));
        assert_eq!(item.content_type, None);
    }
    inner
        .write(Operation::Set(set("plain", "hunter2")))
        .await
        .unwrap();
    let all = store
        .get_all(&[get("plain"), get("key"), get("none")], 1)
        .await;
    assert!(
        matches!(all[0], Err(StateError::Refused(_))),
        "{:?}",
        all[0]
    );
    assert_eq!(all[1].clone().unwrap().unwrap().value, value.value);
    assert_eq!(all[2], Ok(None));
    assert!(store.get(&get("plain")).await.is_err());
}
