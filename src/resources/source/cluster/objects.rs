//! The objects of one kind as they are in the cluster. Pure.

use std::collections::BTreeMap;

use crate::resources::decode::Document;

/// What the API server says.
#[derive(Debug)]
pub(crate) enum Change {
    /// A list begins. Until it is complete, what was there is still there.
    Begin,
    /// An object of the list.
    Listed(String, Document),
    /// The list is complete: what is not in it is gone.
    Complete,
    /// An object is new or has changed.
    Put(String, Document),
    /// An object is gone.
    Gone(String),
}

/// The objects of one kind that are for one app, by name.
#[derive(Debug)]
pub(crate) struct Objects {
    app_id: String,
    /// None until they have been listed once.
    current: Option<BTreeMap<String, Document>>,
    listing: BTreeMap<String, Document>,
}

impl Objects {
    /// Nothing is known yet.
    pub(crate) fn new(app_id: &str) -> Self {
        Self {
            app_id: app_id.to_owned(),
            current: None,
            listing: BTreeMap::new(),
        }
    }

    /// Whether they have been listed once.
    pub(crate) fn are_listed(&self) -> bool {
        self.current.is_some()
    }

    /// The objects, none before they are listed.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Document> {
        self.current.iter().flat_map(BTreeMap::values)
    }

    /// Takes a change over; whether anything is other than before.
    pub(crate) fn apply(&mut self, change: Change) -> bool {
        match change {
            Change::Begin => self.listing.clear(),
            Change::Listed(name, document) => {
                if document.is_for(&self.app_id) {
                    self.listing.insert(name, document);
                }
            }
            Change::Complete => {
                let listed = std::mem::take(&mut self.listing);
                let is_same = self.current.as_ref() == Some(&listed);
                self.current = Some(listed);
                return !is_same;
            }
            Change::Put(name, document) => {
                let current = self.current.get_or_insert_default();
                if !document.is_for(&self.app_id) {
                    return current.remove(&name).is_some();
                }
                if current.get(&name) != Some(&document) {
                    current.insert(name, document);
                    return true;
                }
            }
            Change::Gone(name) => {
                let current = self.current.as_mut();
                return current.is_some_and(|current| current.remove(&name).is_some());
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::super::COMPONENT;
    use super::*;
    use serde_json::json;

    fn object(name: &str, scopes: &[&str], version: &str) -> (String, Document) {
        let fields = json!({ "spec": { "version": version }, "scopes": scopes });
        let document = COMPONENT.document(&"ns".into(), name, fields);
        (name.to_owned(), document)
    }

    fn put(name: &str, scopes: &[&str], version: &str) -> Change {
        let (name, document) = object(name, scopes, version);
        Change::Put(name, document)
    }

    fn listed(objects: &mut Objects, names: &[&str]) -> bool {
        objects.apply(Change::Begin);
        for name in names {
            let (name, document) = object(name, &[], "v1");
            assert!(!objects.apply(Change::Listed(name, document)));
        }
        objects.apply(Change::Complete)
    }

    fn names(objects: &Objects) -> Vec<&str> {
        objects
            .iter()
            .filter_map(|document| document.metadata("name"))
            .collect()
    }

    #[test]
    fn a_new_list_replaces_the_old_one_when_it_is_complete() {
        let mut objects = Objects::new("app");
        assert!(!objects.are_listed());
        assert!(listed(&mut objects, &["a", "b"]));
        assert!(objects.are_listed());
        // The same again, as after a lost connection, is no change.
        assert!(!listed(&mut objects, &["a", "b"]));
        objects.apply(Change::Begin);
        assert_eq!(names(&objects), ["a", "b"]);
        assert!(listed(&mut objects, &["b"]));
        assert_eq!(names(&objects), ["b"]);
    }

    #[test]
    fn says_what_changes() {
        let mut objects = Objects::new("app");
        listed(&mut objects, &[]);
        assert!(objects.apply(put("a", &[], "v1")));
        assert!(!objects.apply(put("a", &[], "v1")));
        assert!(objects.apply(put("a", &[], "v2")));
        assert!(objects.apply(Change::Gone("a".to_owned())));
        assert!(!objects.apply(Change::Gone("a".to_owned())));
        assert!(names(&objects).is_empty());
    }

    #[test]
    fn keeps_only_what_is_for_the_app() {
        let mut objects = Objects::new("app");
        listed(&mut objects, &[]);
        assert!(!objects.apply(put("a", &["other"], "v1")));
        assert!(objects.apply(put("a", &["other", "app"], "v1")));
        assert_eq!(names(&objects), ["a"]);
        assert!(objects.apply(put("a", &["other"], "v1")));
        assert!(names(&objects).is_empty());
    }
}
