//! Which routes and policies are attached to what, and what holds for the whole mesh: what a destination is compiled
//! from, found without a look at all objects.

use std::{collections::BTreeMap, sync::Arc};

use weft_proxy_api::ServiceName;

use super::{Input, selectors::Selectors};
use crate::resources::{
    AccessPolicySpec, Catalog, Key, Kind, MeshConfigSpec, Object, Objects, RateLimitPolicySpec, RouteSpec, Spec,
    Target, TrafficPolicySpec,
};

#[derive(Debug, Default)]
pub(super) struct Relations {
    /// By the services that are their parents, in order of precedence.
    routes: BTreeMap<ServiceName, Vec<Arc<Object>>>,
    policies: BTreeMap<Target, Arc<Object>>,
    access: BTreeMap<ServiceName, Arc<Object>>,
    limits: BTreeMap<ServiceName, Arc<Object>>,
    mesh: MeshConfigSpec,
}

/// What everything is compiled from.
#[derive(Clone, Copy)]
pub(super) struct Inventory<'a> {
    pub input: &'a Input,
    pub catalog: Catalog<'a>,
    pub relations: &'a Relations,
    pub selectors: &'a Selectors,
}

impl Relations {
    pub fn new(objects: &Objects) -> Self {
        let mut relations = Self::default();
        // Within a kind by namespace and name, as the keys are.
        for kind in Kind::ROUTES {
            objects.of_kind(kind).for_each(|object| relations.add_route(object));
        }
        for object in objects.of_kind(Kind::TrafficPolicy) {
            if let Spec::TrafficPolicy(policy) = &object.spec {
                // Of several on one target, the first by name counts, and the check says so of the others.
                relations.policies.entry(policy.target.clone()).or_insert_with(|| object.clone());
            }
        }
        for object in objects.of_kind(Kind::AccessPolicy) {
            if let Spec::AccessPolicy(policy) = &object.spec {
                // One for each service, or the check would have refused it.
                relations.access.entry(policy.target.clone()).or_insert_with(|| object.clone());
            }
        }
        for object in objects.of_kind(Kind::RateLimitPolicy) {
            if let Spec::RateLimitPolicy(policy) = &object.spec {
                relations.limits.entry(policy.target.clone()).or_insert_with(|| object.clone());
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

    pub fn access(&self, target: &ServiceName) -> Option<&AccessPolicySpec> {
        match &self.access.get(target)?.spec {
            Spec::AccessPolicy(policy) => Some(policy),
            _ => None,
        }
    }

    pub fn has_access_policies(&self) -> bool {
        !self.access.is_empty()
    }

    /// With the name of the policy.
    pub fn limits(&self, target: &ServiceName) -> Option<(&Key, &RateLimitPolicySpec)> {
        let object = self.limits.get(target)?;
        match &object.spec {
            Spec::RateLimitPolicy(policy) => Some((&object.key, policy)),
            _ => None,
        }
    }

    pub fn mesh(&self) -> &MeshConfigSpec {
        &self.mesh
    }
}
