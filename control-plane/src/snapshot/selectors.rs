//! Which `MeshService`s select workloads that have registered for a service: found from the workload's side, as its
//! address and its inbound side are.

use std::sync::Arc;

use weft_proxy_api::ServiceName;

use super::shards::Shards;
use crate::resources::{Difference, Key, Kind, MeshServiceSpec, Object, Objects, Source, Spec};

#[derive(Clone, Debug, Default)]
pub(super) struct Selectors(Shards<ServiceName, Arc<Key>>);

impl Selectors {
    pub fn new(objects: &Objects) -> Self {
        let mut all = Self::default();
        objects.of_kind(Kind::MeshService).for_each(|object| all.add(object));
        all
    }

    pub fn after(&self, differences: &[Difference<'_>]) -> Self {
        let mut next = self.clone();
        for Difference { before, after } in differences {
            if let Some(registered) = before.and_then(|object| selected(object).zip(Some(object))) {
                next.0.remove(&registered.0, &registered.1.key);
            }
            after.iter().for_each(|object| next.add(object));
        }
        next
    }

    /// By name.
    pub fn of(&self, registered: &ServiceName) -> impl Iterator<Item = &Arc<Key>> {
        self.0.all(registered)
    }

    fn add(&mut self, object: &Object) {
        if let Some(registered) = selected(object) {
            self.0.insert(registered, object.key.clone());
        }
    }
}

/// The service whose registered workloads a `MeshService` selects from.
pub(super) fn selected(object: &Object) -> Option<ServiceName> {
    match &object.spec {
        Spec::MeshService(MeshServiceSpec { source: Source::Workloads(selector), .. }) => {
            Some(ServiceName::new(&object.key.namespace, &selector.service))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::resources::parse;

    fn service(name: &str, registered: &str, port: u16) -> Object {
        let document = json!({
            "apiVersion": "weft.dev/v1alpha1", "kind": "MeshService", "metadata": {"name": name},
            "spec": {"workloads": {"service": registered}, "ports": [{"port": port}]},
        });
        parse(&[document], "shop").unwrap().remove(0)
    }

    fn names(selectors: &Selectors, registered: &str) -> Vec<String> {
        selectors.of(&ServiceName::new("shop", registered)).map(|key| key.name.clone()).collect()
    }

    #[test]
    fn it_follows_the_services_that_change() {
        let before: Objects = [service("b", "db", 80), service("a", "db", 80)].into_iter().collect();
        let first = Selectors::new(&before);
        assert_eq!((names(&first, "db"), names(&first, "web")), (vec!["a".into(), "b".into()], vec![]));
        let mut after = before.clone();
        after.insert(service("a", "web", 80).into());
        after.insert(service("b", "db", 81).into());
        after.insert(service("c", "db", 80).into());
        let second = first.after(&before.differences(&after));
        assert_eq!((names(&second, "db"), names(&second, "web")), (vec!["b".into(), "c".into()], vec!["a".into()]));
        let third = second.after(&after.differences(&Objects::default()));
        assert_eq!((names(&third, "db"), names(&third, "web")), (vec![], vec![]));
    }
}
