//! Who serves a service port now.

use std::net::SocketAddr;

use weft_proxy_api::{Endpoint, ServiceName, ServicePort};

use super::{Input, WorkloadEndpoint};
use crate::resources::{Catalog, Source, WorkloadSelector};

/// Ordered by id; none when there is no such service port.
pub(super) fn compile(name: &ServicePort, input: &Input, catalog: Catalog<'_>) -> Vec<Endpoint> {
    let service = name.service_name();
    let ports = catalog.ports(&service);
    if !ports.iter().any(|port| port.number == name.port) {
        return Vec::new();
    }
    // With one port a service takes all of its workloads, whichever port they registered for; with several, each port
    // takes those that registered for it.
    let takes = |workload: &WorkloadEndpoint| ports.len() == 1 || workload.service_port == name.port;
    let mut endpoints: Vec<Endpoint> = match catalog.declared(&service).map(|spec| &spec.source) {
        // A service that is only implied has the workloads that registered for it.
        None => input.workloads.of(&service).filter(|it| it.serving && takes(it)).map(endpoint).collect(),
        Some(Source::Workloads(selector)) => {
            selected(&service, selector, input).filter(|it| takes(it)).map(endpoint).collect()
        }
        Some(Source::Dns(dns)) => {
            let addresses = input.resolved.get(&(dns.host.clone(), dns.port)).into_iter().flatten();
            addresses.map(|address| outside(format!("dns/{}/{address}", dns.host), *address)).collect()
        }
        Some(Source::Static(list)) => list
            .iter()
            .map(|fixed| Endpoint {
                identity: fixed.identity.as_deref().cloned(),
                ..outside(format!("static/{}", fixed.address), fixed.address)
            })
            .collect(),
    };
    endpoints.sort_by(|a, b| (&a.id, a.address).cmp(&(&b.id, b.address)));
    endpoints.dedup();
    endpoints
}

/// The serving workloads that a `MeshService` selects.
fn selected<'a>(
    service: &ServiceName,
    selector: &'a WorkloadSelector,
    input: &'a Input,
) -> impl Iterator<Item = &'a WorkloadEndpoint> {
    let registered = ServiceName::new(&service.namespace, &selector.service);
    let has_labels = |workload: &WorkloadEndpoint| {
        selector.labels.iter().all(|(name, value)| workload.labels.get(name) == Some(value))
    };
    input.workloads.of(&registered).filter(move |workload| workload.serving && has_labels(workload))
}

fn endpoint(workload: &WorkloadEndpoint) -> Endpoint {
    Endpoint {
        id: workload.id.clone(),
        address: workload.address,
        identity: Some(workload.identity.clone()),
        weight: 1,
        zone: workload.zone.clone(),
        healthy: true,
    }
}

/// An endpoint outside the mesh.
fn outside(id: String, address: SocketAddr) -> Endpoint {
    Endpoint { id, address, identity: None, weight: 1, zone: String::new(), healthy: true }
}
