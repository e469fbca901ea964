//! Where an address leads: to a service by its virtual address, to one endpoint by its own, or out of the mesh.
//!
//! At an endpoint's address callers find who is there now. Of registered workloads it is the one that took the address
//! last: the one before may still have its grace period. A workload comes before the endpoints that `MeshService`s list.
//! It is reached as an endpoint of the service that it registered for, or else of the first by name that selects it.
//! Addresses that DNS said are outside the mesh.

use std::{cmp::Reverse, collections::BTreeSet, net::SocketAddr, sync::Arc};

use weft_proxy_api::{Address, Endpoint, Leads, ServiceName, ServicePort, virtual_address::as_virtual};

use super::{Input, Use, WorkloadEndpoint, change::Change, endpoints, members, relations::Inventory, shards::Shards};
use crate::resources::{Key, Kind, MeshServiceSpec, Object, Source, Spec};

/// Who has which address, that of an endpoint. IPv4 addresses that are written as IPv6 are IPv4.
#[derive(Clone, Debug, Default)]
pub(super) struct Addresses(Shards<SocketAddr, Holder>);

/// In order of precedence.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Holder {
    Workload(Registered),
    /// A `MeshService` that lists it.
    Listed(Arc<Key>),
}

/// A workload, the latest first.
#[derive(Clone, Debug)]
struct Registered(Arc<WorkloadEndpoint>);

impl Addresses {
    pub fn new(input: &Input) -> Self {
        let mut all = Self::default();
        input.objects.of_kind(Kind::MeshService).for_each(|object| all.add_listed(object));
        input.workloads.iter().for_each(|workload| all.add_workload(workload));
        all
    }

    pub fn after(&self, change: &Change<'_>) -> Self {
        let mut next = self.clone();
        for difference in &change.objects {
            if let Some(object) = difference.before {
                let holder = Holder::Listed(object.key.clone());
                listed(object).for_each(|address| next.0.remove(&address, &holder));
            }
            difference.after.iter().for_each(|object| next.add_listed(object));
        }
        for workload in &change.gone {
            let holder = Holder::Workload(Registered(Arc::clone(workload)));
            workload.ports.iter().for_each(|port| next.0.remove(&canonical(port.address), &holder));
        }
        change.come.iter().for_each(|workload| next.add_workload(workload));
        next
    }

    fn add_listed(&mut self, object: &Object) {
        listed(object).for_each(|address| self.0.insert(address, Holder::Listed(object.key.clone())));
    }

    fn add_workload(&mut self, workload: &Arc<WorkloadEndpoint>) {
        for port in workload.ports.iter() {
            self.0.insert(canonical(port.address), Holder::Workload(Registered(workload.clone())));
        }
    }

    /// All addresses that somebody has.
    pub fn known(&self) -> BTreeSet<SocketAddr> {
        self.0.iter().map(|(address, _)| *address).collect()
    }

    pub fn compile(&self, address: SocketAddr, inventory: Inventory<'_>) -> Address {
        let leads = match as_virtual(address.ip()) {
            Some(_) => virtual_service(address, inventory).map(|service| Leads::Service(service.port(address.port()))),
            None => self.0.all(&canonical(address)).find_map(|holder| member(holder, address, inventory)),
        };
        Address { address, leads: leads.unwrap_or(Leads::Outside) }
    }

    /// `None`: it can change with anything.
    pub fn used_by(&self, address: SocketAddr, inventory: Inventory<'_>) -> Option<Vec<Use>> {
        if as_virtual(address.ip()).is_some() {
            // Which service will be given an address that nobody has, nobody knows.
            return virtual_service(address, inventory).map(|service| vec![Use::Service(service.clone())]);
        }
        let address = canonical(address);
        let holders = self.0.all(&address).map(|holder| Use::Service(holder.service()));
        Some(holders.chain([Use::Address(address)]).collect())
    }
}

/// The addresses of endpoints that a `MeshService` lists.
pub(super) fn listed(object: &Object) -> impl Iterator<Item = SocketAddr> {
    let endpoints = match &object.spec {
        Spec::MeshService(MeshServiceSpec { source: Source::Static(endpoints), .. }) => endpoints.as_slice(),
        _ => &[],
    };
    endpoints.iter().map(|endpoint| canonical(endpoint.address))
}

pub(super) fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// An address that was given to a service that is not there any more leads nowhere.
fn virtual_service<'a>(address: SocketAddr, inventory: Inventory<'a>) -> Option<&'a ServiceName> {
    let service = inventory.input.virtual_addresses.service_of(as_virtual(address.ip())?)?;
    (!inventory.catalog.ports(service).is_empty()).then_some(service)
}

fn member(holder: &Holder, address: SocketAddr, inventory: Inventory<'_>) -> Option<Leads> {
    let (service, endpoint): (ServicePort, Endpoint) = match holder {
        Holder::Workload(Registered(workload)) => {
            let own = workload.ports.iter().find(|port| canonical(port.address) == canonical(address))?;
            let (service, port) = members::services_of(workload, own, inventory)
                .into_iter()
                .next()
                .map(|(service, port)| (service, port.number))
                // One that no service takes is of the mesh all the same: what is meant for it must not leave in plain text.
                .unwrap_or_else(|| (workload.service.clone(), own.service_port));
            (service.port(port), endpoints::registered(workload, own, inventory))
        }
        Holder::Listed(key) => {
            let service = holder.service();
            let Spec::MeshService(spec) = &inventory.input.objects.get(key)?.spec else { return None };
            let Source::Static(list) = &spec.source else { return None };
            // Every port of the service has all of its endpoints: the one of the same number, where there is one.
            let same = spec.ports.iter().find(|port| port.number == address.port());
            let name = service.port(same.or(spec.ports.first())?.number);
            let fixed = list.iter().find(|fixed| canonical(fixed.address) == canonical(address))?;
            (name.clone(), endpoints::listed(fixed, &name, inventory))
        }
    };
    Some(Leads::Member { service, endpoint })
}

impl Holder {
    /// What decides about it: the service that the workload registered for, or that lists the address.
    fn service(&self) -> ServiceName {
        match self {
            Self::Workload(Registered(workload)) => workload.service.clone(),
            Self::Listed(key) => ServiceName::new(&key.namespace, &key.name),
        }
    }
}

impl Registered {
    fn rank(&self) -> impl Ord {
        (Reverse(self.0.order), self.0.id.as_str(), &self.0.service)
    }
}

impl PartialEq for Registered {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Registered {}

impl PartialOrd for Registered {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Registered {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.rank().cmp(&other.rank())
    }
}

#[cfg(test)]
mod tests;
