//! What a change can make a difference to, so that everything else stays as it was sent.
//!
//! Every compiled resource uses some services, and perhaps a workload or an address: it can only differ when one of them
//! was touched. A service is touched by its own `MeshService`, its workloads and resolved addresses, the routes attached
//! to it, and the policies toward it and on its routes. What decides about the workloads that a `MeshService` selects
//! touches the service that they registered for as well: through it all of their services find each other.

use std::{collections::BTreeSet, net::SocketAddr, sync::Arc};

use weft_proxy_api::ServiceName;

use super::{addresses, change::Change, relations::Inventory, selectors::selected};
use crate::resources::{Key, Kind, MeshServiceSpec, Object, Source, Spec, Target, route::RouteAction};

/// Something that a compiled resource depends on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Use {
    Service(ServiceName),
    /// By its id: whether it is there.
    Workload(String),
    /// Who has it.
    Address(SocketAddr),
}

#[derive(Debug, Default)]
pub struct Touched {
    everything: bool,
    what: BTreeSet<Use>,
}

impl Touched {
    pub(super) fn by(change: &Change<'_>) -> Self {
        let mut touched = Self::default();
        for object in change.objects.iter().flat_map(|difference| difference.sides()) {
            touched.add_object(object, change);
        }
        for workload in change.gone.iter().chain(&change.come) {
            touched.what.extend([Use::Service(workload.service.clone()), Use::Workload(workload.id.clone())]);
            let addresses = workload.ports.iter().map(|port| addresses::canonical(port.address));
            touched.what.extend(addresses.map(Use::Address));
        }
        if !Arc::ptr_eq(&change.before.resolved, &change.after.resolved) {
            touched.add_resolved(change);
        }
        touched
    }

    /// Whether something that uses these can have changed.
    pub fn concerns<'a>(&self, uses: impl IntoIterator<Item = &'a Use>) -> bool {
        self.everything || uses.into_iter().any(|used| self.what.contains(used))
    }

    fn add_object(&mut self, object: &Object, change: &Change<'_>) {
        match &object.spec {
            Spec::MeshService(_) => {
                self.add_service(ServiceName::new(&object.key.namespace, &object.key.name));
                selected(object).into_iter().for_each(|registered| self.add_service(registered));
                self.what.extend(addresses::listed(object).map(Use::Address));
            }
            Spec::HttpRoute(_) | Spec::GrpcRoute(_) | Spec::TlsRoute(_) | Spec::TcpRoute(_) => self.add_parents(object),
            Spec::TrafficPolicy(policy) => match &policy.target {
                Target::Service(service) => self.add_service(service.clone()),
                // A route that has changed as well is a difference of its own.
                Target::Route(key) => {
                    change.after.objects.get(key).into_iter().for_each(|route| self.add_parents(route));
                }
            },
            Spec::AccessPolicy(policy) => self.add_enforcers(&policy.target, change),
            Spec::RateLimitPolicy(policy) => self.add_enforcers(&policy.target, change),
            Spec::MeshConfig(_) => self.everything = true,
        }
    }

    fn add_service(&mut self, service: ServiceName) {
        self.what.insert(Use::Service(service));
    }

    /// The services whose workloads enforce a policy on `target`.
    fn add_enforcers(&mut self, target: &ServiceName, change: &Change<'_>) {
        let key = Key::new(Kind::MeshService, &target.namespace, &target.service);
        // A service that has changed as well is a difference of its own.
        let registered = change.after.objects.get(&key).and_then(|service| selected(service));
        registered.into_iter().for_each(|registered| self.add_service(registered));
        self.add_service(target.clone());
    }

    fn add_parents(&mut self, route: &Object) {
        let parents = route.route().into_iter().flat_map(|route| &route.parents);
        self.what.extend(parents.map(|parent| Use::Service(parent.service.clone())));
    }

    fn add_resolved(&mut self, Change { before, after, .. }: &Change<'_>) {
        for object in after.objects.of_kind(Kind::MeshService) {
            if let Spec::MeshService(MeshServiceSpec { source: Source::Dns(dns), .. }) = &object.spec {
                let host = (dns.host.clone(), dns.port);
                if before.resolved.get(&host) != after.resolved.get(&host) {
                    self.add_service(ServiceName::new(&object.key.namespace, &object.key.name));
                }
            }
        }
    }
}

/// The services that the destinations of `service` use, known or not.
pub(super) fn used_by_destination(service: &ServiceName, inventory: Inventory<'_>) -> BTreeSet<ServiceName> {
    let mut open = vec![service.clone()];
    for rule in inventory.relations.routes_of(service).flat_map(|(_, route)| &route.rules) {
        open.extend(rule.mirrors.iter().map(|mirror| mirror.target.service.clone()));
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
