//! Who serves each service port now.

use std::{collections::BTreeMap, net::SocketAddr};

use weft_proxy_api::{Endpoint, ServiceName, ServicePort};

use super::{Config, WorkloadEndpoint};
use crate::resources::{Port, Source, WorkloadSelector};

/// The endpoints of every service port, each set ordered by id.
#[derive(Debug, Default)]
pub struct EndpointIndex(BTreeMap<ServicePort, Vec<Endpoint>>);

impl EndpointIndex {
    pub fn compile(
        config: &Config,
        workloads: &[WorkloadEndpoint],
        resolved: &BTreeMap<(String, u16), Vec<SocketAddr>>,
    ) -> Self {
        let mut by_service: BTreeMap<&ServiceName, Vec<&WorkloadEndpoint>> = BTreeMap::new();
        for workload in workloads.iter().filter(|workload| workload.serving) {
            by_service.entry(&workload.service).or_default().push(workload);
        }
        let mut sets = BTreeMap::new();
        for (service, ports) in config.catalog().services() {
            let Some(source) = config.sources().get(service) else { continue };
            for port in ports {
                let mut endpoints = match source {
                    Source::Workloads(selector) => selected(service, selector, port, ports, &by_service),
                    Source::Dns(dns) => {
                        let addresses = resolved.get(&(dns.host.clone(), dns.port)).into_iter().flatten();
                        addresses.map(|address| outside(format!("dns/{}/{address}", dns.host), *address)).collect()
                    }
                    Source::Static(list) => list
                        .iter()
                        .map(|fixed| Endpoint {
                            identity: fixed.identity.clone(),
                            ..outside(format!("static/{}", fixed.address), fixed.address)
                        })
                        .collect(),
                };
                endpoints.sort_by(|a, b| (&a.id, a.address).cmp(&(&b.id, b.address)));
                endpoints.dedup();
                sets.insert(service.port(port.number), endpoints);
            }
        }
        Self(sets)
    }

    /// Empty when there is no such service port.
    pub fn of(&self, name: &ServicePort) -> &[Endpoint] {
        self.0.get(name).map(Vec::as_slice).unwrap_or_default()
    }
}

/// The workloads that a service selects. With one port it takes all of them, whichever port they registered for; with
/// several, each port takes those that registered for it.
fn selected(
    service: &ServiceName,
    selector: &WorkloadSelector,
    port: &Port,
    ports: &[Port],
    by_service: &BTreeMap<&ServiceName, Vec<&WorkloadEndpoint>>,
) -> Vec<Endpoint> {
    let registered = ServiceName::new(&service.namespace, &selector.service);
    let workloads = by_service.get(&registered).into_iter().flatten();
    let has_labels = |workload: &&&WorkloadEndpoint| {
        selector.labels.iter().all(|(name, value)| workload.labels.get(name) == Some(value))
    };
    workloads
        .filter(|workload| ports.len() == 1 || workload.service_port == port.number)
        .filter(has_labels)
        .map(|workload| Endpoint {
            id: workload.id.clone(),
            address: workload.address,
            identity: Some(workload.identity.clone()),
            weight: 1,
            zone: workload.zone.clone(),
            healthy: true,
        })
        .collect()
}

/// An endpoint outside the mesh.
fn outside(id: String, address: SocketAddr) -> Endpoint {
    Endpoint { id, address, identity: None, weight: 1, zone: String::new(), healthy: true }
}
