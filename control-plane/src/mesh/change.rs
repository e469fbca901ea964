//! What a write would do, computed as a value before anything is done. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use weft_proxy_api::ServicePort;

use super::MeshError;
use crate::{
    admin_api::{Action, ObjectChange},
    resources::{self, Difference, Key, Kind, Object, Objects, Problem},
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
    /// Only endpoints of services change, which nothing refers to: there is no problem that could come of it.
    is_of_endpoints_only: bool,
}

impl Proposal {
    /// `objects` written over the current ones.
    pub fn write(current: &Objects, objects: Vec<Object>) -> Self {
        let named: Vec<Key> = objects.iter().map(|object| Key::clone(&object.key)).collect();
        let mut next = current.clone();
        objects.into_iter().for_each(|object| put(object, current, &mut next));
        Self::to(current, next, named)
    }

    /// The current ones without `keys`.
    pub fn delete(current: &Objects, keys: &[Key]) -> Result<Self, MeshError> {
        let mut next = current.clone();
        for key in keys {
            if !next.remove(key) {
                return Err(MeshError::NotFound(key.clone()));
            }
        }
        Ok(Self::to(current, next, keys.to_vec()))
    }

    /// Exactly `objects` instead of the current ones.
    pub fn replace(current: &Objects, objects: Vec<Object>) -> Self {
        let mut next = Objects::default();
        objects.into_iter().for_each(|object| put(object, current, &mut next));
        Self::to(current, next, Vec::new())
    }

    fn to(current: &Objects, objects: Objects, named: Vec<Key>) -> Self {
        let differences = current.differences(&objects);
        let is_of_endpoints_only = named.iter().all(|key| key.kind == Kind::MeshService)
            && differences.iter().all(|difference| difference.is_of_endpoints_only());
        let deltas: Vec<Delta> = differences.into_iter().filter_map(delta).collect();
        let mut actions: BTreeMap<Key, Action> = named.iter().map(|key| (key.clone(), Action::Unchanged)).collect();
        actions.extend(deltas.iter().map(|delta| (delta.key.clone(), action(delta))));
        let changes = actions.into_iter().map(|(key, action)| ObjectChange { key, action }).collect();
        Self { objects, changes, deltas, named, is_of_endpoints_only }
    }

    /// The problems of what was asked for: all of the objects that the request names or changes, and those that it adds
    /// to others. What was wrong with others already, such as a route whose last workload has gone, must not keep people
    /// from writing something else.
    pub fn problems(&self, current: &Objects, implied: &BTreeSet<ServicePort>) -> Vec<Problem> {
        if self.is_of_endpoints_only {
            return Vec::new();
        }
        let mut after = resources::check(&self.objects, implied);
        if after.is_empty() {
            return after;
        }
        let before = resources::check(current, implied);
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

/// Adds the object to `next`: the current one where it says the same, so that it counts as no difference.
fn put(object: Object, current: &Objects, next: &mut Objects) {
    let same = current.get(&object.key).filter(|old| old.manifest == object.manifest);
    next.insert(same.cloned().unwrap_or_else(|| Arc::new(object)));
}

fn delta(difference: Difference<'_>) -> Option<Delta> {
    let manifest = |object: &Arc<Object>| object.manifest.clone();
    let Difference { before, after } = difference;
    Some(Delta { key: Key::clone(difference.key()?), before: before.map(manifest), after: after.map(manifest) })
}

pub fn action(delta: &Delta) -> Action {
    match (&delta.before, &delta.after) {
        (None, _) => Action::Created,
        (Some(_), Some(_)) => Action::Changed,
        (Some(_), None) => Action::Deleted,
    }
}

/// Stored documents, parsed again: they were valid when they were written.
pub fn read(documents: Documents, revision: u64) -> Result<Vec<Object>, MeshError> {
    let mut objects = Vec::new();
    for (key, document) in documents {
        let parsed = resources::parse(&[document.value()], &key.namespace);
        let parsed = parsed.map_err(|problems| MeshError::Unreadable { key, revision, problems })?;
        // The text as it was read, so that what is kept lies together in memory.
        objects.extend(parsed.into_iter().map(|object| Object { manifest: document.clone(), ..object }));
    }
    Ok(objects)
}
