//! Names of services and of their ports, and how an application's authority becomes one.

use std::{fmt, str::FromStr};

use crate::{
    proto::api::v1 as pb,
    wire::{WireError, required},
};

/// A service: `<namespace>/<service>`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServiceName {
    pub namespace: String,
    pub service: String,
}

/// One port of a service: `<namespace>/<service>:<port>`, the name of a `Destination` and of an `EndpointSet`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServicePort {
    pub namespace: String,
    pub service: String,
    pub port: u16,
}

/// The suffix under which every mesh name can be written out in full: `orders.shop.mesh`.
pub const MESH_SUFFIX: &str = "mesh";

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a service name: {reason}")]
pub struct NameError {
    pub text: String,
    pub reason: &'static str,
}

/// Whether `text` is a DNS label (RFC 1123): what a namespace and a service may be called.
pub fn is_label(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=63).contains(&text.len()) && text.bytes().all(inner) && !text.starts_with('-') && !text.ends_with('-')
}

impl ServiceName {
    pub fn new(namespace: impl Into<String>, service: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), service: service.into() }
    }

    pub fn port(&self, port: u16) -> ServicePort {
        ServicePort { namespace: self.namespace.clone(), service: self.service.clone(), port }
    }
}

impl ServicePort {
    pub fn new(namespace: impl Into<String>, service: impl Into<String>, port: u16) -> Self {
        Self { namespace: namespace.into(), service: service.into(), port }
    }

    pub fn service_name(&self) -> ServiceName {
        ServiceName::new(self.namespace.clone(), self.service.clone())
    }

    /// The service port that an application means by `host` and `port`: `orders` is looked for in the application's
    /// own namespace, `orders.shop` in the namespace `shop`, `orders.shop.mesh` is the same written out in full.
    pub fn from_host(host: &str, port: Option<u16>, own_namespace: &str) -> Result<Self, NameError> {
        let fail = |reason| NameError { text: host.to_owned(), reason };
        let lower = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        let mut labels = lower.split('.');
        let service = labels.next().unwrap_or_default();
        let namespace = labels.next().unwrap_or(own_namespace);
        match labels.next() {
            None => {}
            Some(suffix) if suffix == MESH_SUFFIX && labels.next().is_none() => {}
            Some(_) => return Err(fail("expected <service>, <service>.<namespace> or <service>.<namespace>.mesh")),
        }
        if !is_label(service) || !is_label(namespace) {
            return Err(fail("a service and a namespace are DNS labels: lower-case letters, digits and '-'"));
        }
        match port {
            Some(0) => Err(fail("there is no port 0")),
            port => Ok(Self::new(namespace, service, port.unwrap_or(80))),
        }
    }
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.service)
    }
}

impl fmt::Display for ServicePort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}:{}", self.namespace, self.service, self.port)
    }
}

impl FromStr for ServiceName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let fail = |reason| NameError { text: text.to_owned(), reason };
        let (namespace, service) = text.split_once('/').ok_or_else(|| fail("expected <namespace>/<service>"))?;
        if !is_label(namespace) || !is_label(service) {
            return Err(fail("a service and a namespace are DNS labels: lower-case letters, digits and '-'"));
        }
        Ok(Self::new(namespace, service))
    }
}

impl FromStr for ServicePort {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let fail = |reason| NameError { text: text.to_owned(), reason };
        let (name, port) = text.rsplit_once(':').ok_or_else(|| fail("expected <namespace>/<service>:<port>"))?;
        let port = port.parse().ok().filter(|p| *p > 0).ok_or_else(|| fail("the port is a number from 1 to 65535"))?;
        Ok(name.parse::<ServiceName>()?.port(port))
    }
}

impl From<&ServicePort> for pb::ServicePort {
    fn from(name: &ServicePort) -> Self {
        Self { namespace: name.namespace.clone(), service: name.service.clone(), port: name.port.into() }
    }
}

impl TryFrom<pb::ServicePort> for ServicePort {
    type Error = WireError;

    fn try_from(wire: pb::ServicePort) -> Result<Self, WireError> {
        let text = format!("{}/{}:{}", wire.namespace, wire.service, wire.port);
        text.parse().map_err(|e| WireError::new("name", e))
    }
}

pub(crate) fn named(wire: Option<pb::ServicePort>) -> Result<ServicePort, WireError> {
    required(wire, "name")?.try_into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_become_service_ports() {
        let of = |host, port| ServicePort::from_host(host, port, "shop").map(|n| n.to_string());
        assert_eq!(of("orders", None).unwrap(), "shop/orders:80");
        assert_eq!(of("Orders.Store", Some(8080)).unwrap(), "store/orders:8080");
        assert_eq!(of("orders.store.mesh", None).unwrap(), "store/orders:80");
        assert_eq!(of("orders.store.mesh.", None).unwrap(), "store/orders:80");
        assert!(of("orders", Some(0)).is_err());
        for bad in ["", "a.b.example", "a.b.mesh.c", "-a", "a_b", "a..b", "10.0.0.1", "[::1]"] {
            assert!(of(bad, None).is_err(), "{bad}");
        }
    }

    #[test]
    fn service_ports_are_written_and_read() {
        let name = ServicePort::new("shop", "orders", 80);
        assert_eq!(name.to_string().parse::<ServicePort>().unwrap(), name);
        for bad in ["orders:80", "shop/orders", "shop/orders:0", "shop/orders:65536", "Shop/orders:1", "/a:1"] {
            assert!(bad.parse::<ServicePort>().is_err(), "{bad}");
        }
    }
}
