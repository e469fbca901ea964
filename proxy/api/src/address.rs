//! Where an application's connection leads: by the address that it connects to, and by the name that it resolves.

use std::net::{IpAddr, SocketAddr};

use crate::{
    Endpoint,
    name::{ServiceName, ServicePort, named},
    proto::api::v1 as pb,
    wire::{WireError, each, required},
};

/// What an address leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    pub address: SocketAddr,
    pub leads: Leads,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Leads {
    /// To a service, whose virtual address it is. The service may lack the port.
    Service(ServicePort),
    /// To one endpoint itself, as the members of headless services and StatefulSets are reached.
    Member { service: ServicePort, endpoint: Endpoint },
    /// Out of the mesh.
    Outside,
}

/// The virtual addresses of a service, under which its name is resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    pub name: ServiceName,
    /// None: there is no such service.
    pub addresses: Vec<IpAddr>,
}

impl From<&Address> for pb::Address {
    fn from(value: &Address) -> Self {
        use pb::address::State;
        let state = match &value.leads {
            Leads::Service(service) => State::Service(service.into()),
            Leads::Member { service, endpoint } => {
                State::Member(pb::Member { service: Some(service.into()), endpoint: Some(endpoint.into()) })
            }
            Leads::Outside => State::Outside(pb::Outside {}),
        };
        Self { address: value.address.to_string(), state: Some(state) }
    }
}

impl TryFrom<pb::Address> for Address {
    type Error = WireError;

    fn try_from(wire: pb::Address) -> Result<Self, WireError> {
        use pb::address::State;
        let leads = match required(wire.state, "state")? {
            State::Service(service) => Leads::Service(service.try_into().map_err(|e: WireError| e.within("service"))?),
            State::Member(member) => {
                let endpoint = required(member.endpoint, "endpoint").and_then(TryInto::try_into);
                Leads::Member {
                    service: named(member.service).map_err(|e| e.within("member"))?,
                    endpoint: endpoint.map_err(|e: WireError| e.within("member"))?,
                }
            }
            State::Outside(_) => Leads::Outside,
        };
        Ok(Self { address: wire.address.parse().map_err(|e| WireError::new("address", e))?, leads })
    }
}

impl From<&Host> for pb::Host {
    fn from(value: &Host) -> Self {
        Self {
            namespace: value.name.namespace.clone(),
            service: value.name.service.clone(),
            addresses: value.addresses.iter().map(ToString::to_string).collect(),
        }
    }
}

impl TryFrom<pb::Host> for Host {
    type Error = WireError;

    fn try_from(wire: pb::Host) -> Result<Self, WireError> {
        let name = format!("{}/{}", wire.namespace, wire.service);
        Ok(Self {
            name: name.parse().map_err(|e| WireError::new("name", e))?,
            addresses: each(wire.addresses, "addresses", |text| text.parse().map_err(|e| WireError::new("ip", e)))?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_hosts_survive_the_wire() {
        let service = ServicePort::new("shop", "db", 5432);
        let endpoint = Endpoint {
            id: "db-1".into(),
            address: "10.0.0.5:5432".parse().unwrap(),
            identity: Some("spiffe://weft.local/ns/shop/sa/db".parse().unwrap()),
            weight: 1,
            zone: String::new(),
            healthy: true,
        };
        let member = Leads::Member { service: service.clone(), endpoint };
        for leads in [Leads::Service(service), member, Leads::Outside] {
            let address = Address { address: "[fd00::5]:5432".parse().unwrap(), leads };
            assert_eq!(Address::try_from(pb::Address::from(&address)), Ok(address));
        }
        let host = Host { name: ServiceName::new("shop", "db"), addresses: vec!["240.0.0.1".parse().unwrap()] };
        assert_eq!(Host::try_from(pb::Host::from(&host)), Ok(host));
    }

    #[test]
    fn what_is_no_address_is_refused_with_its_place() {
        let outside = Address { address: "10.0.0.5:80".parse().unwrap(), leads: Leads::Outside };
        let wire = pb::Address { address: "orders:80".into(), ..pb::Address::from(&outside) };
        assert_eq!(Address::try_from(wire).unwrap_err().field, "address");
        let wire = pb::Host { namespace: "shop".into(), service: "db".into(), addresses: vec!["db".into()] };
        assert_eq!(Host::try_from(wire).unwrap_err().field, "addresses[0].ip");
    }
}
