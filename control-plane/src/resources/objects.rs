//! All objects of a revision, by kind, namespace and name.
//!
//! A revision shares with the one before it whatever did not change, so that a write costs little beside its own
//! objects, and what differs is found by looking at pointers.

use std::{collections::BTreeMap, sync::Arc};

use super::{Key, Kind, Object, Spec};

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Objects(BTreeMap<Arc<Key>, Arc<Object>>);

/// An object that is not the same in two revisions; one of the two may have none.
#[derive(Clone, Copy, Debug)]
pub struct Difference<'a> {
    pub before: Option<&'a Arc<Object>>,
    pub after: Option<&'a Arc<Object>>,
}

impl Objects {
    pub fn get(&self, key: &Key) -> Option<&Arc<Object>> {
        self.0.get(key)
    }

    /// In place of the one with the same key.
    pub fn insert(&mut self, object: Arc<Object>) {
        self.0.insert(object.key.clone(), object);
    }

    /// Whether it was there.
    pub fn remove(&mut self, key: &Key) -> bool {
        self.0.remove(key).is_some()
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Ordered by kind, namespace, name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Object>> {
        self.0.values()
    }

    /// Ordered by namespace, name.
    pub fn of_kind(&self, kind: Kind) -> impl Iterator<Item = &Arc<Object>> {
        let from_first = self.0.range(Key::new(kind, "", "")..);
        from_first.map(|(_, object)| object).take_while(move |object| object.key.kind == kind)
    }

    /// What is not the very same object in `later`, in the order of the keys.
    pub fn differences<'a>(&'a self, later: &'a Self) -> Vec<Difference<'a>> {
        let (mut olds, mut news) = (self.iter().peekable(), later.iter().peekable());
        let mut differences = Vec::new();
        loop {
            let is_first = |one: Option<&&Arc<Object>>, other: Option<&&Arc<Object>>| match (one, other) {
                (Some(one), Some(other)) => Arc::ptr_eq(one, other) || one.key <= other.key,
                (one, _) => one.is_some(),
            };
            let (old, new) = (olds.peek(), news.peek());
            let (takes_old, takes_new) = (is_first(old, new), is_first(new, old));
            let before = takes_old.then(|| olds.next()).flatten();
            let after = takes_new.then(|| news.next()).flatten();
            match (before, after) {
                (None, None) => return differences,
                (Some(before), Some(after)) if Arc::ptr_eq(before, after) => {}
                (before, after) => differences.push(Difference { before, after }),
            }
        }
    }
}

impl FromIterator<Object> for Objects {
    fn from_iter<I: IntoIterator<Item = Object>>(objects: I) -> Self {
        Self(objects.into_iter().map(|object| (object.key.clone(), Arc::new(object))).collect())
    }
}

impl<'a> Difference<'a> {
    /// That of either: both have the same key.
    pub fn key(self) -> Option<&'a Arc<Key>> {
        self.after.or(self.before).map(|object| &object.key)
    }

    /// Whether it is a service of which only the endpoints changed: whatever refers to it leads where it led.
    pub fn is_of_endpoints_only(self) -> bool {
        let ports = |object: &'a Arc<Object>| match &object.spec {
            Spec::MeshService(service) => Some(&service.ports),
            _ => None,
        };
        let (before, after) = (self.before.and_then(ports), self.after.and_then(ports));
        before.is_some() && before == after
    }

    /// Both sides that are there.
    pub fn sides(self) -> impl Iterator<Item = &'a Arc<Object>> {
        self.before.into_iter().chain(self.after)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::resources::parse;

    fn service(name: &str, address: &str) -> Object {
        let document = json!({
            "apiVersion": "weft.dev/v1alpha1", "kind": "MeshService", "metadata": {"name": name},
            "spec": {"static": [{"address": address}]},
        });
        parse(&[document], "shop").unwrap().remove(0)
    }

    #[test]
    fn a_difference_is_what_was_added_changed_or_removed() {
        let before: Objects = ["a", "b", "d"].map(|name| service(name, "10.0.0.1:80")).into_iter().collect();
        let mut after = before.clone();
        assert!(before.differences(&after).is_empty());
        after.insert(service("b", "10.0.0.2:80").into());
        after.insert(service("c", "10.0.0.1:80").into());
        assert!(after.remove(&service("d", "10.0.0.1:80").key));
        let found: Vec<(String, bool, bool)> = before
            .differences(&after)
            .into_iter()
            .map(|it| (it.key().unwrap().name.clone(), it.before.is_some(), it.after.is_some()))
            .collect();
        let expected = [("b", true, true), ("c", false, true), ("d", true, false)];
        assert_eq!(found, expected.map(|(name, before, after)| (name.to_owned(), before, after)));
        assert_eq!(after.differences(&before).len(), 3);
    }

    #[test]
    fn other_endpoints_are_told_from_other_ports() {
        let of_endpoints_only = |before: &Object, after: &Object| {
            let (before, after) = (Arc::new(before.clone()), Arc::new(after.clone()));
            Difference { before: Some(&before), after: Some(&after) }.is_of_endpoints_only()
        };
        let (one, other) = (service("a", "10.0.0.1:80"), service("a", "10.0.0.2:80"));
        assert!(of_endpoints_only(&one, &other));
        let ports = json!({
            "apiVersion": "weft.dev/v1alpha1", "kind": "MeshService", "metadata": {"name": "a"},
            "spec": {"static": [{"address": "10.0.0.1:80"}], "ports": [{"port": 81}]},
        });
        assert!(!of_endpoints_only(&one, &parse(&[ports], "shop").unwrap().remove(0)));
        assert!(!Difference { before: None, after: Some(&one.into()) }.is_of_endpoints_only());
    }

    #[test]
    fn objects_of_a_kind_are_found_among_others() {
        let mut objects: Objects = [service("a", "10.0.0.1:80")].into_iter().collect();
        let config = json!({"apiVersion": "weft.dev/v1alpha1", "kind": "MeshConfig", "metadata": {"name": "default"}});
        objects.insert(parse(&[config], "shop").unwrap().remove(0).into());
        let names = |kind| objects.of_kind(kind).map(|object| object.key.name.as_str()).collect::<Vec<_>>();
        assert_eq!(names(Kind::MeshService), ["a"]);
        assert_eq!(names(Kind::MeshConfig), ["default"]);
        assert!(names(Kind::TrafficPolicy).is_empty() && names(Kind::HttpRoute).is_empty());
    }
}
