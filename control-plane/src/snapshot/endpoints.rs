//! Who serves a service port now, and how each of them is called.

use std::net::SocketAddr;

use weft_proxy_api::{Endpoint, ServiceName, ServicePort, inbound::Mtls};

use super::{
    WorkloadEndpoint, WorkloadPort, inbound,
    members::{behind, has_labels},
    relations::Inventory,
};
use crate::resources::{Source, StaticEndpoint, WorkloadSelector};

/// Those that take part in balancing: ordered by id; none when there is no such service port.
pub(super) fn compile(name: &ServicePort, inventory: Inventory<'_>) -> Vec<Endpoint> {
    let mut endpoints = members(name, inventory);
    endpoints.retain(|endpoint| endpoint.healthy);
    endpoints
}

/// The same, with those whose applications are not healthy.
pub(super) fn members(name: &ServicePort, inventory: Inventory<'_>) -> Vec<Endpoint> {
    let (service, input) = (name.service_name(), inventory.input);
    let ports = inventory.catalog.ports(&service);
    if !ports.iter().any(|port| port.number == name.port) {
        return Vec::new();
    }
    let called = |workload: &WorkloadEndpoint| {
        behind(&ports, name.port, workload).map(|port| registered(workload, port, inventory))
    };
    let mut endpoints: Vec<Endpoint> = match inventory.catalog.declared(&service).map(|spec| &spec.source) {
        // A service that is only implied has the workloads that registered for it.
        None => input.workloads.of(&service).filter_map(called).collect(),
        Some(Source::Workloads(selector)) => selected(&service, selector, inventory).filter_map(called).collect(),
        Some(Source::Dns(dns)) => {
            let addresses = input.resolved.get(&(dns.host.clone(), dns.port)).into_iter().flatten();
            addresses.map(|address| outside(format!("dns/{}/{address}", dns.host), *address)).collect()
        }
        Some(Source::Static(list)) => list.iter().map(|fixed| listed(fixed, name, inventory)).collect(),
    };
    endpoints.sort_by(|a, b| (&a.id, a.address).cmp(&(&b.id, b.address)));
    endpoints.dedup();
    endpoints
}

/// The workloads that a `MeshService` selects.
fn selected<'a>(
    service: &ServiceName,
    selector: &'a WorkloadSelector,
    inventory: Inventory<'a>,
) -> impl Iterator<Item = &'a WorkloadEndpoint> {
    let registered = ServiceName::new(&service.namespace, &selector.service);
    inventory.input.workloads.of(&registered).filter(move |workload| has_labels(selector, workload))
}

/// A registered workload at one of its ports. Where that takes no mutual TLS it is called without it.
pub(super) fn registered(workload: &WorkloadEndpoint, port: &WorkloadPort, inventory: Inventory<'_>) -> Endpoint {
    let is_plain = inbound::mtls_of(workload, port, inventory) == Mtls::Off;
    Endpoint {
        id: workload.id.clone(),
        address: port.address,
        identity: (!is_plain).then(|| workload.identity.clone()),
        weight: 1,
        zone: workload.zone.clone(),
        healthy: port.serving,
    }
}

/// An endpoint that a `MeshService` lists, as one of the service port.
pub(super) fn listed(fixed: &StaticEndpoint, name: &ServicePort, inventory: Inventory<'_>) -> Endpoint {
    let is_plain = inbound::mtls_toward(name, inventory) == Mtls::Off;
    let identity = fixed.identity.as_deref().filter(|_| !is_plain).cloned();
    Endpoint { identity, ..outside(format!("static/{}", fixed.address), fixed.address) }
}

/// An endpoint outside the mesh.
fn outside(id: String, address: SocketAddr) -> Endpoint {
    Endpoint { id, address, identity: None, weight: 1, zone: String::new(), healthy: true }
}
