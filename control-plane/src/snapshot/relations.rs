//! Which routes and policies are attached to what, and what holds for the whole mesh: what a destination is compiled
//! from, found without a look at all objects.

use std::{collections::BTreeMap, sync::Arc};

use weft_proxy_api::ServiceName;

use crate::resources::{
    Catalog, Key, Kind, MeshConfigSpec, Object, Objects, RouteSpec, Spec, Target, TrafficPolicySpec,
};

#[derive(Debug, Default)]
pub(super) struct Relations {
    /// By the services that are their parents, in order of precedence.
    routes: BTreeMap<ServiceName, Vec<Arc<Object>>>,
    policies: BTreeMap<Target, Arc<Object>>,
    mesh: MeshConfigSpec,
}

/// What one destination is compiled from.
#[derive(Clone, Copy)]
pub(super) struct Inventory<'a> {
    pub catalog: Catalog<'a>,
    pub relations: &'a Relations,
}

impl Relations {
    pub fn new(objects: &Objects) -> Self {
        let mut relations = Self::default();
        // Gateway API: the more special kind of route first. The others follow by namespace and name, as the keys do.
        for object in objects.of_kind(Kind::GrpcRoute).chain(objects.of_kind(Kind::HttpRoute)) {
            relations.add_route(object);
        }
        for object in objects.of_kind(Kind::TrafficPolicy) {
            if let Spec::TrafficPolicy(policy) = &object.spec {
                // One for each target, or the check would have refused it; of several, the first by name counts.
                relations.policies.entry(policy.target.clone()).or_insert_with(|| object.clone());
            }
        }
        for object in objects.of_kind(Kind::MeshConfig) {
            if let Spec::MeshConfig(config) = &object.spec {
                relations.mesh = (**config).clone();
            }
        }
        relations
    }

    fn add_route(&mut self, object: &Arc<Object>) {
        for parent in object.route().into_iter().flat_map(|route| &route.parents) {
            let routes = self.routes.entry(parent.service.clone()).or_default();
            // It may name several ports of one service.
            if !routes.last().is_some_and(|last| Arc::ptr_eq(last, object)) {
                routes.push(object.clone());
            }
        }
    }

    /// Whether objects of this kind are found here.
    pub fn hold(kind: Kind) -> bool {
        kind != Kind::MeshService
    }

    pub fn routes_of(&self, service: &ServiceName) -> impl Iterator<Item = (&Key, &RouteSpec)> {
        let routes = self.routes.get(service).into_iter().flatten();
        routes.filter_map(|object| Some((&*object.key, object.route()?)))
    }

    pub fn policy(&self, target: &Target) -> Option<&TrafficPolicySpec> {
        match &self.policies.get(target)?.spec {
            Spec::TrafficPolicy(policy) => Some(policy),
            _ => None,
        }
    }

    pub fn mesh(&self) -> &MeshConfigSpec {
        &self.mesh
    }
}
