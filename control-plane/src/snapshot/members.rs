//! Who belongs together: which workloads a service takes, and behind which services a workload stands. One answer, from
//! both sides, for endpoint sets, addresses and inbound sides.

use weft_proxy_api::ServiceName;

use super::{WorkloadEndpoint, WorkloadPort, relations::Inventory};
use crate::resources::{Port, Source, WorkloadSelector};

/// The port of the workload that is behind a port of a service, which has `ports`: the one of the same number. Where the
/// service has one port only, it takes all of its workloads, whichever ports they registered for: then their first.
pub(super) fn behind<'a>(ports: &[Port], number: u16, workload: &'a WorkloadEndpoint) -> Option<&'a WorkloadPort> {
    let same = workload.ports.iter().find(|port| port.service_port == number);
    same.or((ports.len() == 1).then_some(&workload.ports.first))
}

/// The port of a service, of those that it has, that this port of the workload is behind.
fn port_of<'a>(ports: &'a [Port], workload: &WorkloadEndpoint, own: &WorkloadPort) -> Option<&'a Port> {
    ports.iter().find(|port| behind(ports, port.number, workload) == Some(own))
}

/// Whether the `MeshService` selects a workload that has registered for the service that it selects from.
pub(super) fn has_labels(selector: &WorkloadSelector, workload: &WorkloadEndpoint) -> bool {
    selector.labels.iter().all(|(name, value)| workload.labels.get(name) == Some(value))
}

/// The services that a workload is an endpoint of by one of its ports, serving or not, each with its own port: first the
/// one that it registered for, then those that select it, by name.
pub(super) fn services_of(
    workload: &WorkloadEndpoint,
    own_port: &WorkloadPort,
    inventory: Inventory<'_>,
) -> Vec<(ServiceName, Port)> {
    let own = &workload.service;
    let selecting = inventory.selectors.of(own).map(|key| ServiceName::new(&key.namespace, &key.name));
    let all = std::iter::once(own.clone()).chain(selecting.filter(|service| service != own));
    all.filter_map(|service| {
        let is_member = match inventory.catalog.declared(&service).map(|spec| &spec.source) {
            None => service == *own,
            Some(Source::Workloads(selector)) => {
                service.namespace == own.namespace && selector.service == own.service && has_labels(selector, workload)
            }
            Some(Source::Dns(_) | Source::Static(_)) => false,
        };
        let port = port_of(&inventory.catalog.ports(&service), workload, own_port).filter(|_| is_member)?.clone();
        Some((service, port))
    })
    .collect()
}
