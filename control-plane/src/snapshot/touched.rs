//! What a change can make a difference to, so that everything else stays as it was sent.
//!
//! Every compiled resource uses some services: it can only differ when one of them was touched. A service is touched by
//! its own `MeshService`, its workloads and resolved addresses, the routes attached to it, and the policies toward it and
//! on its routes.

use std::{collections::BTreeSet, sync::Arc};

use weft_proxy_api::ServiceName;

use super::{Input, relations::Inventory};
use crate::resources::{Difference, Kind, MeshServiceSpec, Object, Source, Spec, Target, route::RouteAction};

#[derive(Debug, Default)]
pub struct Touched {
    everything: bool,
    services: BTreeSet<ServiceName>,
}

impl Touched {
    pub(super) fn between(before: &Input, after: &Input, objects: &[Difference<'_>]) -> Self {
        let mut touched = Self::default();
        for object in objects.iter().flat_map(|difference| difference.sides()) {
            touched.add_object(object, after);
        }
        if !Arc::ptr_eq(&before.workloads, &after.workloads) {
            touched.services.extend(before.workloads.differences(&after.workloads));
        }
        if !Arc::ptr_eq(&before.resolved, &after.resolved) {
            touched.add_resolved(before, after);
        }
        touched
    }

    /// Whether something that uses these services can have changed.
    pub fn concerns<'a>(&self, uses: impl IntoIterator<Item = &'a ServiceName>) -> bool {
        self.everything || uses.into_iter().any(|service| self.services.contains(service))
    }

    fn add_object(&mut self, object: &Object, after: &Input) {
        match &object.spec {
            Spec::MeshService(_) => {
                self.services.insert(ServiceName::new(&object.key.namespace, &object.key.name));
            }
            Spec::HttpRoute(_) | Spec::GrpcRoute(_) => self.add_parents(object),
            Spec::TrafficPolicy(policy) => match &policy.target {
                Target::Service(service) => _ = self.services.insert(service.clone()),
                // A route that has changed as well is a difference of its own.
                Target::Route(key) => after.objects.get(key).into_iter().for_each(|route| self.add_parents(route)),
            },
            Spec::MeshConfig(_) => self.everything = true,
        }
    }

    fn add_parents(&mut self, route: &Object) {
        let parents = route.route().into_iter().flat_map(|route| &route.parents);
        self.services.extend(parents.map(|parent| parent.service.clone()));
    }

    fn add_resolved(&mut self, before: &Input, after: &Input) {
        for object in after.objects.of_kind(Kind::MeshService) {
            if let Spec::MeshService(MeshServiceSpec { source: Source::Dns(dns), .. }) = &object.spec {
                let host = (dns.host.clone(), dns.port);
                if before.resolved.get(&host) != after.resolved.get(&host) {
                    self.services.insert(ServiceName::new(&object.key.namespace, &object.key.name));
                }
            }
        }
    }
}

/// The services that the destinations of `service` use, known or not.
pub(super) fn used_by_destination(service: &ServiceName, inventory: Inventory<'_>) -> BTreeSet<ServiceName> {
    let mut open = vec![service.clone()];
    for rule in inventory.relations.routes_of(service).flat_map(|(_, route)| &route.rules) {
        if let RouteAction::Split(backends) = &rule.action {
            open.extend(backends.iter().map(|backend| backend.target.service.clone()));
        }
    }
    let mut used = BTreeSet::new();
    while let Some(service) = open.pop() {
        let policy = inventory.relations.policy(&Target::Service(service.clone()));
        if used.insert(service) {
            open.extend(policy.and_then(|policy| policy.fallback.as_ref()).map(|fallback| fallback.service.clone()));
        }
    }
    used
}

/// The services that the endpoint sets of `service` use: itself, and the one whose workloads it selects.
pub(super) fn used_by_endpoints(service: &ServiceName, inventory: Inventory<'_>) -> BTreeSet<ServiceName> {
    let mut used = BTreeSet::from([service.clone()]);
    if let Some(MeshServiceSpec { source: Source::Workloads(selector), .. }) = inventory.catalog.declared(service) {
        used.insert(ServiceName::new(&service.namespace, &selector.service));
    }
    used
}
