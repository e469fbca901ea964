//! What a workload enforces: the mesh's settings, and for each port of its application what the policies of its services
//! say. What callers are told about its endpoint follows from the same answer.

use std::cmp::Reverse;

use weft_proxy_api::{
    Inbound, ServiceName, ServicePort,
    destination::Protocol,
    inbound::{InboundPort, Mtls},
    policy::{HealthCheck, RateLimit},
};

use super::{WorkloadEndpoint, WorkloadPort, members::services_of, relations::Inventory};
use crate::resources::Port;

/// A port of a workload, and the services that the workload is behind with it, each with its own port.
struct Served<'a> {
    port: &'a WorkloadPort,
    services: Vec<(ServiceName, Port)>,
}

/// Also of a workload that serves nothing, and is not known therefore.
pub(super) fn compile(id: &str, inventory: Inventory<'_>) -> Inbound {
    let mesh = inventory.relations.mesh();
    let workload = inventory.input.workloads.get(id);
    let ports = workload.into_iter().flat_map(|workload| workload.ports.iter().map(move |port| (workload, port)));
    let served: Vec<_> = ports.map(|(workload, port)| Served::new(workload, port, inventory)).collect();
    Inbound {
        access_log: mesh.access_log,
        drain_timeout: mesh.drain_timeout,
        mtls: mesh.mtls,
        ports: served.iter().map(|served| port(served, inventory)).collect(),
        egress: mesh.egress,
        health_checks: served.iter().flat_map(health_checks).collect(),
        rate_limits: rate_limits(&served, inventory),
        ..Inbound::new(id)
    }
}

impl<'a> Served<'a> {
    fn new(workload: &WorkloadEndpoint, port: &'a WorkloadPort, inventory: Inventory<'_>) -> Self {
        Self { port, services: services_of(workload, port, inventory) }
    }

    /// As others know it.
    fn number(&self) -> u16 {
        self.port.address.port()
    }
}

/// The port is that of the address at which others reach the workload. Where it is behind several services, the strictest
/// policy holds: none of them takes away what another demands. The protocol is what the first of them declares.
fn port(served: &Served<'_>, inventory: Inventory<'_>) -> InboundPort {
    let protocols = served.services.iter().map(|(_, port)| port.protocol);
    InboundPort {
        port: served.number(),
        mtls: strictest(served.services.iter().map(|(service, port)| service.port(port.number)), inventory),
        protocol: protocols.into_iter().find(|protocol| *protocol != Protocol::Detect).unwrap_or_default(),
    }
}

/// Of services that say different things of one port the first counts, as with the protocol.
fn health_checks(served: &Served<'_>) -> Vec<HealthCheck> {
    let mut checks: Vec<HealthCheck> = Vec::new();
    for spec in served.services.iter().filter_map(|(_, port)| port.health_check.as_ref()) {
        let check = spec.at(served.number());
        if !checks.iter().any(|other| other.port == check.port) {
            checks.push(check);
        }
    }
    checks
}

/// Those of all services that the workload is behind: each counts for itself, at all the ports that the workload has
/// behind the service. A limit for a port is for the workloads behind that port.
fn rate_limits(served: &[Served<'_>], inventory: Inventory<'_>) -> Vec<RateLimit> {
    let mut services: Vec<&ServiceName> = Vec::new();
    for (service, _) in served.iter().flat_map(|served| &served.services) {
        if !services.contains(&service) {
            services.push(service);
        }
    }
    let limits = services.into_iter().filter_map(|service| Some((service, inventory.relations.limits(service)?)));
    let compiled = limits.flat_map(|(service, (key, policy))| {
        policy.limits.iter().filter_map(move |limit| {
            let mut ports = numbers_behind(served, service, limit.port);
            if ports.is_empty() {
                return None;
            }
            // All of them is any, those that nobody has registered among them.
            if limit.port.is_none() && ports.len() == served.len() {
                ports.clear();
            }
            Some(RateLimit {
                name: format!("{}/{}/{}", key.namespace, key.name, limit.name),
                ports,
                matches: limit.matches.clone(),
                key: limit.key.clone(),
                requests: limit.requests,
                per: limit.interval,
                burst: limit.burst,
                shared: limit.shared,
            })
        })
    });
    compiled.collect()
}

/// The ports of the workload behind a service, or behind one port of it, as others know them.
fn numbers_behind(served: &[Served<'_>], service: &ServiceName, number: Option<u16>) -> Vec<u16> {
    let is_behind = |served: &&Served<'_>| {
        served.services.iter().any(|(of, port)| of == service && number.is_none_or(|number| number == port.number))
    };
    served.iter().filter(is_behind).map(Served::number).collect()
}

/// What holds for connections to a port of a registered workload.
pub(super) fn mtls_of(workload: &WorkloadEndpoint, own_port: &WorkloadPort, inventory: Inventory<'_>) -> Mtls {
    // Nobody says anything in most meshes, and then it need not be sought whom to ask.
    match inventory.relations.has_access_policies() {
        true => port(&Served::new(workload, own_port, inventory), inventory).mtls,
        false => inventory.relations.mesh().mtls,
    }
}

/// What holds for connections to an endpoint that only the service names.
pub(super) fn mtls_toward(name: &ServicePort, inventory: Inventory<'_>) -> Mtls {
    strictest([name.clone()], inventory)
}

fn strictest(ports: impl IntoIterator<Item = ServicePort>, inventory: Inventory<'_>) -> Mtls {
    let said = ports.into_iter().filter_map(|name| inventory.relations.access(&name.service_name())?.mtls(name.port));
    said.min_by_key(|mtls| Reverse(strictness(*mtls))).unwrap_or(inventory.relations.mesh().mtls)
}

fn strictness(mtls: Mtls) -> u8 {
    match mtls {
        Mtls::Off => 0,
        Mtls::Permissive => 1,
        Mtls::Strict => 2,
    }
}
