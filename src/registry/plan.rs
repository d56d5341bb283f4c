//! Which components start, and in what order. Pure.

use std::collections::BTreeMap;

use super::builtin::{KUBERNETES_STORE, kubernetes_store};
use super::referrer::Referrer;
use crate::components::catalog::{Category, category};
use crate::resources::component::Component;

/// What decides whether a component or an endpoint is for this sidecar.
#[derive(Clone, Copy, Debug)]
pub(super) struct Filter<'a> {
    /// The id of the app.
    pub app_id: &'a str,
    /// The namespace, where the environment has one.
    pub namespace: Option<&'a str>,
    /// The types (`type` or `type/version`) that the configuration denies.
    pub denied: &'a [String],
    /// The store that a reference means which names none.
    pub default_store: Option<&'a str>,
    /// Whether the store `kubernetes` is there without a manifest.
    pub has_kubernetes_store: bool,
}

impl Filter<'_> {
    /// Whether a resource with this namespace and these scopes is for this sidecar.
    pub(super) fn admits(&self, namespace: Option<&str>, scopes: &[String]) -> bool {
        self.is_in_namespace(namespace) && self.is_in_scope(scopes)
    }

    fn is_in_namespace(&self, own: Option<&str>) -> bool {
        match (own, self.namespace) {
            (Some(own), Some(current)) => own.is_empty() || own == current,
            _ => true,
        }
    }

    fn is_in_scope(&self, scopes: &[String]) -> bool {
        scopes.is_empty() || scopes.iter().any(|id| id == self.app_id)
    }
}

/// Components that cannot stand together.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// Two components of one name.
    #[error(
        "duplicate definition of Component name {name} ({second}) with existing {name} ({first})"
    )]
    Duplicate {
        /// The name.
        name: String,
        /// Type and version of the first, and where it stands.
        first: String,
        /// The same of the second.
        second: String,
    },
    /// Secret stores that need each other.
    #[error("secret stores need each other's secrets: {}", .0.join(" -> "))]
    Cycle(Vec<String>),
}

/// Components in the order in which they start.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Plan {
    /// Secret stores, each after those that it needs; then all others; else in manifest order.
    pub components: Vec<Component>,
    /// Components that the configuration denies.
    pub denied: Vec<Component>,
    /// Components of a category that this build does not serve.
    pub unserved: Vec<Component>,
}

/// Chooses and orders components.
pub(super) fn plan(components: Vec<Component>, filter: &Filter<'_>) -> Result<Plan, Error> {
    let mut here: Vec<_> = components
        .into_iter()
        .filter(|component| filter.is_in_namespace(component.namespace.as_deref()))
        .collect();
    refuse_duplicates(&here)?;
    here.retain(|component| filter.is_in_scope(&component.scopes));
    // A manifest of that name takes its place.
    if filter.has_kubernetes_store && !here.iter().any(|other| other.name == KUBERNETES_STORE) {
        here.push(kubernetes_store());
    }
    let mut plan = Plan::default();
    for component in here {
        if is_denied(&component, filter.denied) {
            plan.denied.push(component);
        } else if category(&component.component_type) == Category::Unserved {
            plan.unserved.push(component);
        } else {
            plan.components.push(component);
        }
    }
    plan.components = ordered(plan.components, filter.default_store)?;
    Ok(plan)
}

fn refuse_duplicates(components: &[Component]) -> Result<(), Error> {
    let mut seen: BTreeMap<&str, &Component> = BTreeMap::new();
    for component in components {
        if let Some(first) = seen.insert(&component.name, component) {
            let describe = |component: &Component| {
                format!(
                    "{}/{}, in {}",
                    component.component_type, component.version, component.origin
                )
            };
            return Err(Error::Duplicate {
                name: component.name.clone(),
                first: describe(first),
                second: describe(component),
            });
        }
    }
    Ok(())
}

fn is_denied(component: &Component, denied: &[String]) -> bool {
    let component_type = component.component_type.as_str();
    denied.iter().any(|entry| match entry.split_once('/') {
        None => entry.eq_ignore_ascii_case(component_type),
        Some((denied_type, version)) => {
            denied_type.eq_ignore_ascii_case(component_type)
                && is_same_version(version, &component.version)
        }
    })
}

/// `v1`, the older `v0` and no version name the same implementation.
pub(super) fn is_same_version(one: &str, other: &str) -> bool {
    let first = |version: &str| matches!(version.to_ascii_lowercase().as_str(), "" | "v0" | "v1");
    one.eq_ignore_ascii_case(other) || (first(one) && first(other))
}

/// Components in groups: each comes after the store that it needs, and those of one group need
/// none of each other, so that they can start at the same time.
pub(super) fn groups(ordered: Vec<Component>, default: Option<&str>) -> Vec<Vec<Component>> {
    let mut depths: BTreeMap<String, usize> = BTreeMap::new();
    let mut groups: Vec<Vec<Component>> = Vec::new();
    for component in ordered {
        let needed = Referrer::from(&component)
            .store(default)
            .and_then(|store| depths.get(store));
        let depth = needed.map_or(0, |depth| depth + 1);
        depths.insert(component.name.clone(), depth);
        if depth == groups.len() {
            groups.push(Vec::new());
        }
        groups[depth].push(component);
    }
    groups
}

fn ordered(components: Vec<Component>, default: Option<&str>) -> Result<Vec<Component>, Error> {
    let (stores, others): (Vec<_>, Vec<_>) = components
        .into_iter()
        .partition(|component| category(&component.component_type) == Category::SecretStore);
    let names: BTreeMap<&str, usize> = stores
        .iter()
        .enumerate()
        .map(|(at, store)| (store.name.as_str(), at))
        .collect();
    let needs: Vec<Option<usize>> = stores
        .iter()
        .map(|store| names.get(Referrer::from(store).store(default)?).copied())
        .collect();
    let order = order_by_need(&needs)
        .map_err(|cycle| Error::Cycle(cycle.iter().map(|at| stores[*at].name.clone()).collect()))?;
    let mut stores: Vec<Option<Component>> = stores.into_iter().map(Some).collect();
    let mut ordered: Vec<_> = order
        .into_iter()
        .filter_map(|at| stores[at].take())
        .collect();
    ordered.extend(others);
    Ok(ordered)
}

/// An order in which each comes after the one that it needs (each needs one at most), else
/// unchanged. The error is a cycle, its first member repeated at the end.
fn order_by_need(needs: &[Option<usize>]) -> Result<Vec<usize>, Vec<usize>> {
    let mut is_placed = vec![false; needs.len()];
    let mut order = Vec::with_capacity(needs.len());
    for start in 0..needs.len() {
        let mut chain = Vec::new();
        let mut next = Some(start);
        while let Some(at) = next.filter(|at| !is_placed[*at]) {
            if let Some(first) = chain.iter().position(|seen| *seen == at) {
                chain.push(at);
                return Err(chain.split_off(first));
            }
            chain.push(at);
            next = needs[at];
        }
        for at in chain.into_iter().rev() {
            is_placed[at] = true;
            order.push(at);
        }
    }
    Ok(order)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resources::decode::Resources;
    use crate::resources::property::Source;
    use std::path::Path;

    /// A component a line: name, type, the store that it needs or `-`.
    fn components(lines: &[&str]) -> Vec<Component> {
        let mut resources = Resources::default();
        for line in lines {
            let mut words = line.split(' ');
            let mut word = || words.next().unwrap();
            let (name, component_type, store) = (word(), word(), word());
            let reference = if store == "-" {
                "value: v"
            } else {
                "secretKeyRef: {name: s}"
            };
            let text = format!(
                "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {{name: {name}}}\n\
                 spec: {{type: {component_type}, metadata: [{{name: p, {reference}}}]}}\n\
                 auth: {{secretStore: '{}'}}\n",
                store.trim_matches('-')
            );
            resources.add(Path::new("f.yaml"), &text);
        }
        assert!(resources.problems.is_empty());
        resources.components
    }

    const FILTER: Filter<'static> = Filter {
        app_id: "app",
        namespace: None,
        denied: &[],
        default_store: None,
        has_kubernetes_store: false,
    };

    fn names(components: &[Component]) -> Vec<&str> {
        components
            .iter()
            .map(|component| component.name.as_str())
            .collect()
    }

    #[test]
    fn stores_come_after_those_that_they_need_and_before_all_others() {
        for (lines, order) in [
            (
                &["a secretstores.x -", "b secretstores.x -"][..],
                &["a", "b"][..],
            ),
            (&["a secretstores.x b", "b secretstores.x -"], &["b", "a"]),
            (&["other foo.x a", "a secretstores.x -"], &["a", "other"]),
            (
                &[
                    "a secretstores.x c",
                    "b secretstores.x -",
                    "c secretstores.x b",
                ],
                &["b", "c", "a"],
            ),
            // A store that is not there is found out when the reference is read.
            (&["a secretstores.x gone"], &["a"]),
        ] {
            let plan = plan(components(lines), &FILTER).unwrap();
            assert_eq!(names(&plan.components), order, "{lines:?}");
        }
    }

    #[test]
    fn those_that_need_nothing_of_each_other_are_one_group() {
        let lines = [
            "a secretstores.x c",
            "b secretstores.x -",
            "c secretstores.x b",
            "d secretstores.x -",
            "e secretstores.x b",
            "f secretstores.x gone",
        ];
        let plan = plan(components(&lines), &FILTER).unwrap();
        let groups = groups(plan.components, None);
        let groups: Vec<_> = groups.iter().map(|group| names(group)).collect();
        assert_eq!(groups, [&["b", "d", "f"][..], &["c", "e"], &["a"]]);
    }

    #[test]
    fn a_reference_without_a_store_needs_the_default_one() {
        let lines = ["a secretstores.x -", "kubernetes secretstores.x -"];
        let mut written = components(&lines);
        written[0].properties[0].source = Source::Secret {
            name: "s".to_owned(),
            key: "k".to_owned(),
        };
        let filter = Filter {
            default_store: Some("kubernetes"),
            ..FILTER
        };
        let plan = plan(written, &filter).unwrap();
        assert_eq!(names(&plan.components), ["kubernetes", "a"]);
    }

    #[test]
    fn the_store_of_the_cluster_is_there_unless_a_manifest_takes_its_place() {
        let filter = Filter {
            has_kubernetes_store: true,
            ..FILTER
        };
        let types = |lines: &[&str], filter: &Filter<'_>| -> Vec<String> {
            let plan = plan(components(lines), filter).unwrap();
            let types = plan.components.into_iter().map(|one| one.component_type);
            types.collect()
        };
        for (lines, expected) in [
            (&[][..], &["secretstores.kubernetes"][..]),
            (
                &["a secretstores.x kubernetes"],
                &["secretstores.kubernetes", "secretstores.x"],
            ),
            (&["kubernetes secretstores.x -"], &["secretstores.x"]),
        ] {
            assert_eq!(types(lines, &filter), expected, "{lines:?}");
        }
        assert!(types(&[], &FILTER).is_empty());
        let denied = ["secretstores.kubernetes".to_owned()];
        let filter = Filter {
            denied: &denied,
            ..filter
        };
        assert!(types(&[], &filter).is_empty());
    }

    #[test]
    fn names_a_cycle() {
        for (lines, cycle) in [
            (&["a secretstores.x a"][..], &["a", "a"][..]),
            (
                &["a secretstores.x b", "b secretstores.x a"],
                &["a", "b", "a"],
            ),
        ] {
            let error = plan(components(lines), &FILTER).unwrap_err();
            let cycle = cycle.iter().map(|name| (*name).to_owned()).collect();
            assert_eq!(error, Error::Cycle(cycle));
        }
    }

    #[test]
    fn leaves_out_what_is_denied_or_not_served() {
        let lines = [
            "a secretstores.x -",
            "b SECRETSTORES.Y -",
            "c conversation.x -",
            "d secretstores.z -",
        ];
        for (denied, expected) in [
            (&[][..], &["a", "d", "b"][..]),
            (&["secretstores.x"], &["d", "b"]),
            (&["secretstores.X/v0", "secretstores.z/v2"], &["d", "b"]),
            (&["secretstores.y/v1"], &["a", "d"]),
        ] {
            let denied: Vec<_> = denied.iter().map(|entry| (*entry).to_owned()).collect();
            let filter = Filter {
                denied: &denied,
                ..FILTER
            };
            let plan = plan(components(&lines), &filter).unwrap();
            assert_eq!(names(&plan.components), expected, "{denied:?}");
            assert_eq!(names(&plan.unserved), ["c"]);
            assert_eq!(plan.denied.len() + plan.components.len(), 3);
        }
    }
}
