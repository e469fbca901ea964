//! What a write would do, computed as a value before anything is done. Pure.

use std::collections::{BTreeMap, BTreeSet};

use weft_proxy_api::ServicePort;

use super::MeshError;
use crate::{
    admin_api::{Action, ObjectChange},
    resources::{self, Key, Object, Objects, Problem},
    store::{Delta, Documents},
};

/// A set of resources that could follow the current one, and how they differ.
pub struct Proposal {
    pub objects: Objects,
    /// For the person who asked: every resource that they named.
    pub changes: Vec<ObjectChange>,
    /// For the log: what really differs.
    pub deltas: Vec<Delta>,
    /// In the order of the request's documents.
    named: Vec<Key>,
}

impl Proposal {
    /// `objects` written over the current ones.
    pub fn write(current: &Objects, objects: Vec<Object>) -> Self {
        let named: Vec<Key> = objects.iter().map(|object| object.key.clone()).collect();
        let mut next = current.clone();
        next.extend(objects.into_iter().map(|object| (object.key.clone(), object)));
        Self::to(current, next, &named)
    }

    /// The current ones without `keys`.
    pub fn delete(current: &Objects, keys: &[Key]) -> Result<Self, MeshError> {
        let mut next = current.clone();
        for key in keys {
            if next.remove(key).is_none() {
                return Err(MeshError::NotFound(key.clone()));
            }
        }
        Ok(Self::to(current, next, keys))
    }

    /// Exactly `objects` instead of the current ones.
    pub fn replace(current: &Objects, objects: Objects) -> Self {
        Self::to(current, objects, &[])
    }

    fn to(current: &Objects, objects: Objects, named: &[Key]) -> Self {
        let deltas = differences(current, &objects);
        let mut actions: BTreeMap<Key, Action> = named.iter().map(|key| (key.clone(), Action::Unchanged)).collect();
        actions.extend(deltas.iter().map(|delta| (delta.key.clone(), action(delta))));
        let changes = actions.into_iter().map(|(key, action)| ObjectChange { key, action }).collect();
        Self { objects, changes, deltas, named: named.to_vec() }
    }

    /// The problems of what was asked for: all of the objects that the request names or changes, and those that it adds
    /// to others. What was wrong with others already, such as a route whose last workload has gone, must not keep people
    /// from writing something else.
    pub fn problems(&self, current: &Objects, implied: &BTreeSet<ServicePort>) -> Vec<Problem> {
        let before = resources::check(current, implied);
        let mut after = resources::check(&self.objects, implied);
        let documents: BTreeMap<String, usize> = self.named.iter().map(Key::to_string).zip(0..).collect();
        let touched: BTreeSet<String> = self.changes.iter().map(|change| change.key.to_string()).collect();
        after.retain(|problem| {
            let is_touched = problem.object.as_ref().is_some_and(|object| touched.contains(object));
            is_touched || !before.iter().any(|old| old.is_same_place(problem))
        });
        for problem in &mut after {
            problem.document = problem.object.as_ref().and_then(|object| documents.get(object)).copied();
        }
        after
    }
}

fn differences(current: &Objects, next: &Objects) -> Vec<Delta> {
    let keys: BTreeSet<&Key> = current.keys().chain(next.keys()).collect();
    keys.into_iter()
        .filter_map(|key| {
            let before = current.get(key).map(|object| object.value.clone());
            let after = next.get(key).map(|object| object.value.clone());
            (before != after).then(|| Delta { key: key.clone(), before, after })
        })
        .collect()
}

pub fn action(delta: &Delta) -> Action {
    match (&delta.before, &delta.after) {
        (None, _) => Action::Created,
        (Some(_), Some(_)) => Action::Changed,
        (Some(_), None) => Action::Deleted,
    }
}

/// Stored documents, parsed again: they were valid when they were written.
pub fn read(documents: Documents, revision: u64) -> Result<Objects, MeshError> {
    let mut objects = Objects::new();
    for (key, document) in documents {
        let namespace = key.namespace.clone();
        let parsed = resources::parse(std::slice::from_ref(&document), &namespace)
            .map_err(|problems| MeshError::Unreadable { key: key.clone(), revision, problems })?;
        objects.extend(parsed.into_iter().map(|object| (key.clone(), object)));
    }
    Ok(objects)
}
