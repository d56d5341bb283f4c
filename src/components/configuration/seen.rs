//! Which items were there when a store was last looked at, to find out what changed since.

use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, RandomState};

use super::{Item, Items};

/// Items that were seen. It holds their keys, and of the rest a fingerprint.
#[derive(Default)]
pub struct Seen {
    prints: BTreeMap<String, u64>,
    hasher: RandomState,
}

impl Seen {
    /// These items, and no others.
    pub fn of(items: &Items) -> Self {
        let mut seen = Self::default();
        seen.note(items);
        seen
    }

    /// Sees items anew. Those with an empty value are gone.
    pub fn note(&mut self, items: &Items) {
        for (key, item) in items {
            if is_gone(item) {
                self.prints.remove(key);
            } else {
                let print = self.print(item);
                self.prints.insert(key.clone(), print);
            }
        }
    }

    /// What changed, where `items` are all that there are now. Those that are gone have an empty
    /// value. What is handed back is seen.
    pub fn changed(&mut self, items: Items) -> Items {
        let before: Vec<_> = self.prints.keys().cloned().collect();
        self.changed_among(&before, items)
    }

    /// The same, where `items` are all that there are now of these keys, and others may be there.
    pub fn changed_among(&mut self, keys: &[String], mut items: Items) -> Items {
        for key in keys {
            if !items.contains_key(key) {
                items.insert(key.clone(), Item::default());
            }
        }
        items.retain(|key, item| {
            let before = self.prints.get(key);
            match is_gone(item) {
                true => before.is_some(),
                false => before != Some(&self.print(item)),
            }
        });
        self.note(&items);
        items
    }

    fn print(&self, item: &Item) -> u64 {
        let Item {
            value,
            version,
            metadata,
        } = item;
        self.hasher.hash_one((value, version, metadata))
    }
}

fn is_gone(item: &Item) -> bool {
    item.value.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items(pairs: &[(&str, &str)]) -> Items {
        let item = |value: &str| Item {
            value: value.to_owned(),
            ..Item::default()
        };
        let pairs = pairs.iter();
        pairs
            .map(|(key, value)| ((*key).to_owned(), item(value)))
            .collect()
    }

    #[test]
    fn tells_what_is_new_other_or_gone_once() {
        let mut seen = Seen::of(&items(&[("same", "1"), ("other", "1"), ("gone", "1")]));
        let now = [("same", "1"), ("other", "2"), ("new", "1")];
        let expected = items(&[("gone", ""), ("new", "1"), ("other", "2")]);
        assert_eq!(seen.changed(items(&now)), expected);
        assert_eq!(seen.changed(items(&now)), Items::new());
    }

    #[test]
    fn a_version_alone_is_a_change() {
        let mut seen = Seen::of(&items(&[("a", "1")]));
        let mut now = items(&[("a", "1")]);
        "2".clone_into(&mut now.get_mut("a").unwrap().version);
        assert_eq!(seen.changed(now.clone()), now);
    }

    #[test]
    fn among_some_keys_the_others_are_left_alone() {
        let mut seen = Seen::of(&items(&[("a", "1"), ("b", "1"), ("c", "1")]));
        let keys = ["a", "b", "x"].map(str::to_owned);
        let changed = seen.changed_among(&keys, items(&[("a", "2")]));
        assert_eq!(changed, items(&[("a", "2"), ("b", "")]));
        let changed = seen.changed(items(&[("a", "2")]));
        assert_eq!(changed, items(&[("c", "")]));
    }
}
