//! Which services and ports there are: the one answer that both the checks and the compiled snapshot stand on.

use std::collections::{BTreeMap, BTreeSet};

use weft_proxy_api::{ServiceName, ServicePort, destination::Protocol};

use super::{Objects, Spec, nearest::nearest, route::ServiceRef};

/// A port of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    pub number: u16,
    pub name: Option<String>,
    pub protocol: Protocol,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Catalog {
    /// The ports of each in ascending order, or as its `MeshService` has them.
    services: BTreeMap<ServiceName, Vec<Port>>,
    /// Those that a `MeshService` names.
    declared: BTreeSet<ServiceName>,
}

/// The port of a service that says nothing about its ports.
const DEFAULT_PORT: u16 = 80;

/// Why a reference leads nowhere.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Unresolved {
    pub reason: String,
    pub hint: Option<String>,
}

impl Catalog {
    /// Services that a `MeshService` names, and services that only registered workloads imply. Where both do, the
    /// `MeshService` says which ports there are.
    pub fn new(objects: &Objects, implied: &BTreeSet<ServicePort>) -> Self {
        let mut services: BTreeMap<ServiceName, Vec<Port>> = BTreeMap::new();
        for name in implied {
            let port = Port { number: name.port, name: None, protocol: Protocol::Detect };
            services.entry(name.service_name()).or_default().push(port);
        }
        let mut declared = BTreeSet::new();
        for object in objects.values() {
            if let Spec::MeshService(spec) = &object.spec {
                let port = |port: &super::PortSpec| Port {
                    number: port.port,
                    name: port.name.clone(),
                    protocol: port.protocol,
                };
                let name = ServiceName::new(&object.key.namespace, &object.key.name);
                declared.insert(name.clone());
                services.insert(name, spec.ports.iter().map(port).collect());
            }
        }
        Self { services, declared }
    }

    pub fn services(&self) -> impl Iterator<Item = (&ServiceName, &[Port])> {
        self.services.iter().map(|(name, ports)| (name, ports.as_slice()))
    }

    /// Empty when there is no such service.
    pub fn ports(&self, service: &ServiceName) -> &[Port] {
        self.services.get(service).map(Vec::as_slice).unwrap_or_default()
    }

    pub fn port(&self, name: &ServicePort) -> Option<&Port> {
        self.ports(&name.service_name()).iter().find(|port| port.number == name.port)
    }

    /// Of an implied service, a port that was left out is 80, or its lowest: one more registration, of whichever
    /// workload, must not break the routes that were there.
    ///
    /// # Errors
    /// There is no such service or port, or the port was left out and the `MeshService` has several.
    pub fn resolve(&self, target: &ServiceRef) -> Result<ServicePort, Unresolved> {
        let ports = self.existing(&target.service)?;
        match (target.port, ports) {
            (None, [only]) => Ok(target.service.port(only.number)),
            (None, [lowest, ..]) if !self.declared.contains(&target.service) => {
                let default = ports.iter().find(|port| port.number == DEFAULT_PORT).unwrap_or(lowest);
                Ok(target.service.port(default.number))
            }
            (None, _) => Err(Unresolved {
                reason: format!("the service {} has several ports, so that one must be named", target.service),
                hint: Some(format!("its ports are {}", numbers(ports))),
            }),
            (Some(number), _) if ports.iter().any(|port| port.number == number) => Ok(target.service.port(number)),
            (Some(number), _) => Err(Unresolved {
                reason: format!("the service {} has no port {number}", target.service),
                hint: Some(ports_in_words(ports)),
            }),
        }
    }

    /// # Errors
    /// There is no such service.
    pub fn existing(&self, service: &ServiceName) -> Result<&[Port], Unresolved> {
        self.services.get(service).map(Vec::as_slice).ok_or_else(|| Unresolved {
            reason: format!("there is no service {service}"),
            hint: self.nearest(service).map(|name| format!("did you mean {:?}?", name.to_string())),
        })
    }

    /// The service that was likely meant: of a similar name nearby, or of the same name in another namespace.
    pub fn nearest(&self, service: &ServiceName) -> Option<&ServiceName> {
        let (own, others): (Vec<_>, Vec<_>) =
            self.services.keys().partition(|name| name.namespace == service.namespace);
        nearest_of(&service.service, &own).or_else(|| nearest_of(&service.service, &others))
    }
}

fn nearest_of<'a>(service: &str, names: &[&'a ServiceName]) -> Option<&'a ServiceName> {
    let name = nearest(service, names.iter().map(|name| name.service.as_str()))?;
    names.iter().find(|candidate| candidate.service == name).copied()
}

pub(super) fn ports_in_words(ports: &[Port]) -> String {
    match ports {
        [only] => format!("its only port is {}", only.number),
        several => format!("its ports are {}", numbers(several)),
    }
}

fn numbers(ports: &[Port]) -> String {
    let numbers: Vec<String> = ports.iter().map(|port| port.number.to_string()).collect();
    numbers.join(", ")
}
