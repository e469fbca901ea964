//! Which services and ports there are: the one answer that both the checks and the compiled snapshot stand on.

use std::{borrow::Cow, collections::BTreeSet};

use weft_proxy_api::{ServiceName, ServicePort, destination::Protocol};

use super::{HealthCheckSpec, Key, Kind, MeshServiceSpec, Objects, Spec, nearest::nearest, route::ServiceRef};

/// A port of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    pub number: u16,
    pub name: Option<String>,
    pub protocol: Protocol,
    /// Of the applications behind it.
    pub health_check: Option<Box<HealthCheckSpec>>,
}

impl Port {
    /// A port about which only its number is known.
    pub fn new(number: u16) -> Self {
        Self { number, name: None, protocol: Protocol::Detect, health_check: None }
    }
}

/// Services that a `MeshService` names, and services that only registered workloads imply. Where both do, the
/// `MeshService` says which ports there are. A view that keeps nothing of its own, so that it can be had for one question.
#[derive(Clone, Copy, Debug)]
pub struct Catalog<'a> {
    objects: &'a Objects,
    implied: &'a BTreeSet<ServicePort>,
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

impl<'a> Catalog<'a> {
    /// `implied` are the service ports that registered workloads stand for.
    pub fn new(objects: &'a Objects, implied: &'a BTreeSet<ServicePort>) -> Self {
        Self { objects, implied }
    }

    /// The namespace and name of each service, in order.
    pub fn names(self) -> BTreeSet<(&'a str, &'a str)> {
        let declared = self.objects.of_kind(Kind::MeshService).map(|object| &object.key);
        let implied = self.implied.iter().map(|port| (port.namespace.as_str(), port.service.as_str()));
        declared.map(|key| (key.namespace.as_str(), key.name.as_str())).chain(implied).collect()
    }

    pub fn declared(self, service: &ServiceName) -> Option<&'a MeshServiceSpec> {
        let key = Key::new(Kind::MeshService, &service.namespace, &service.service);
        match &self.objects.get(&key)?.spec {
            Spec::MeshService(spec) => Some(spec),
            _ => None,
        }
    }

    /// As its `MeshService` has them, or in ascending order. Empty when there is no such service.
    pub fn ports(self, service: &ServiceName) -> Cow<'a, [Port]> {
        if let Some(spec) = self.declared(service) {
            return Cow::Borrowed(&spec.ports);
        }
        let implied = self.implied.range(service.port(0)..=service.port(u16::MAX));
        Cow::Owned(implied.map(|name| Port::new(name.port)).collect())
    }

    pub fn port(self, name: &ServicePort) -> Option<Port> {
        self.ports(&name.service_name()).iter().find(|port| port.number == name.port).cloned()
    }

    /// Of an implied service, a port that was left out is 80, or its lowest: one more registration, of whichever
    /// workload, must not break the routes that were there.
    ///
    /// # Errors
    /// There is no such service or port, or the port was left out and the `MeshService` has several.
    pub fn resolve(self, target: &ServiceRef) -> Result<ServicePort, Unresolved> {
        let ports = self.existing(&target.service)?;
        match (target.port, ports.as_ref()) {
            (None, [only]) => Ok(target.service.port(only.number)),
            (None, [lowest, ..]) if self.declared(&target.service).is_none() => {
                let default = ports.iter().find(|port| port.number == DEFAULT_PORT).unwrap_or(lowest);
                Ok(target.service.port(default.number))
            }
            (None, _) => Err(Unresolved {
                reason: format!("the service {} has several ports, so that one must be named", target.service),
                hint: Some(format!("its ports are {}", numbers(&ports))),
            }),
            (Some(number), _) if ports.iter().any(|port| port.number == number) => Ok(target.service.port(number)),
            (Some(number), _) => Err(Unresolved {
                reason: format!("the service {} has no port {number}", target.service),
                hint: Some(ports_in_words(&ports)),
            }),
        }
    }

    /// # Errors
    /// There is no such service.
    pub fn existing(self, service: &ServiceName) -> Result<Cow<'a, [Port]>, Unresolved> {
        let ports = self.ports(service);
        if !ports.is_empty() {
            return Ok(ports);
        }
        Err(Unresolved {
            reason: format!("there is no service {service}"),
            hint: self.nearest(service).map(|name| format!("did you mean {:?}?", name.to_string())),
        })
    }

    /// The service that was likely meant: of a similar name nearby, or of the same name in another namespace.
    pub fn nearest(self, service: &ServiceName) -> Option<ServiceName> {
        let (own, others): (Vec<_>, Vec<_>) =
            self.names().into_iter().partition(|(namespace, _)| *namespace == service.namespace);
        nearest_of(&service.service, &own).or_else(|| nearest_of(&service.service, &others))
    }
}

fn nearest_of(service: &str, names: &[(&str, &str)]) -> Option<ServiceName> {
    let name = nearest(service, names.iter().map(|(_, service)| *service))?;
    let (namespace, service) = names.iter().find(|(_, service)| *service == name)?;
    Some(ServiceName::new(*namespace, *service))
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
