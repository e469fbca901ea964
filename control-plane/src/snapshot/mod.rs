//! Pure: resources and endpoints in, what each sidecar is told out. No I/O, no clock, no chance: the same input is the
//! same snapshot, byte for byte.
//!
//! A snapshot holds what goes in, indexed, and compiles a resource when it is asked for: a mesh has thousands of services
//! and a sidecar talks to a few. The snapshot that follows another takes over the indices that still hold, and says what
//! the change has [`Touched`], so that what was compiled and sent stays where nothing happened.
//! Called by `mesh` after every change; `serve` sends what is asked for by name.

mod addresses;
mod backend;
mod change;
mod describe;
mod destination;
mod endpoints;
mod hints;
mod inbound;
mod members;
mod ports;
mod relations;
mod selectors;
mod shards;
mod touched;
mod virtual_addresses;
mod workloads;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::{Arc, OnceLock},
};

use prost::Message;
use weft_certs::SpiffeId;
use weft_proxy_api::{
    Address, Destination, Endpoint, EndpointSet, Host, Inbound, Resource, ServiceName, ServicePort, State,
};

use crate::resources::{Catalog, Difference, Objects};

use addresses::Addresses;
use change::Change;
pub use describe::describe_routes;
use hints::Hints;
pub use ports::{WorkloadPort, WorkloadPorts};
use relations::{Inventory, Relations};
use selectors::Selectors;
pub use touched::{Touched, Use};
pub use virtual_addresses::VirtualAddresses;
pub use workloads::Workloads;

/// A workload that has registered for a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkloadEndpoint {
    pub id: String,
    pub service: ServiceName,
    pub ports: WorkloadPorts,
    /// Of two that have the same address, the one with the greater number took it later.
    pub order: u64,
    pub identity: SpiffeId,
    pub labels: BTreeMap<String, String>,
    pub zone: String,
}

/// Everything that a snapshot depends on. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Input {
    pub objects: Arc<Objects>,
    pub workloads: Arc<Workloads>,
    /// By the host and port that a `MeshService` names.
    pub resolved: Arc<BTreeMap<(String, u16), Vec<SocketAddr>>>,
    pub virtual_addresses: VirtualAddresses,
}

#[derive(Clone, Debug)]
pub struct Snapshot {
    input: Input,
    relations: Arc<Relations>,
    selectors: Selectors,
    hints: Arc<Hints>,
    /// Made when the first sidecar asks for an address: where traffic is not intercepted, none does.
    addresses: OnceLock<Addresses>,
}

impl Input {
    pub fn catalog(&self) -> Catalog<'_> {
        Catalog::new(&self.objects, self.workloads.implied())
    }
}

impl Snapshot {
    pub fn compile(input: Input) -> Self {
        Self {
            relations: Arc::new(Relations::new(&input.objects)),
            selectors: Selectors::new(&input.objects),
            hints: Arc::default(),
            addresses: OnceLock::new(),
            input,
        }
    }

    /// The snapshot after a change, and what the change has touched.
    pub fn after(&self, input: Input) -> (Self, Touched) {
        let change = Change::between(&self.input, &input);
        let touched = Touched::by(&change);
        let is_related = |it: &Difference<'_>| it.key().is_some_and(|key| Relations::hold(key.kind));
        let relations = match change.objects.iter().any(is_related) {
            true => Arc::new(Relations::new(&input.objects)),
            false => self.relations.clone(),
        };
        let changes_names = |it: &Difference<'_>| !is_related(it) && !it.is_of_endpoints_only();
        let same_names =
            self.input.workloads.implied() == input.workloads.implied() && !change.objects.iter().any(changes_names);
        let hints = if same_names { self.hints.clone() } else { Arc::default() };
        let selectors = self.selectors.after(&change.objects);
        let addresses = match self.addresses.get() {
            Some(addresses) => addresses.after(&change).into(),
            None => OnceLock::new(),
        };
        (Self { input, relations, selectors, hints, addresses }, touched)
    }

    pub fn input(&self) -> &Input {
        &self.input
    }

    /// Every name has an answer: a service that does not exist is [`State::Unknown`].
    pub fn destination(&self, name: &ServicePort) -> Destination {
        let state = match destination::compile(name, self.inventory()) {
            Some(service) => State::Service(service),
            None => State::Unknown { nearest: self.hints.nearest(name, self.catalog()) },
        };
        Destination { name: name.clone(), state }
    }

    /// Empty when the service does not exist.
    /// Who serves a service port, and who only would: for people.
    pub fn members(&self, name: &ServicePort) -> Vec<Endpoint> {
        endpoints::members(name, self.inventory())
    }

    pub fn endpoints(&self, name: &ServicePort) -> EndpointSet {
        EndpointSet { name: name.clone(), endpoints: endpoints::compile(name, self.inventory()) }
    }

    pub fn inbound(&self, workload: &str) -> Inbound {
        inbound::compile(workload, self.inventory())
    }

    /// Every address leads somewhere, if only out of the mesh.
    pub fn address(&self, address: SocketAddr) -> Address {
        self.addresses().compile(address, self.inventory())
    }

    /// Without addresses when the service does not exist.
    pub fn host(&self, name: &ServiceName) -> Host {
        let exists = !self.catalog().ports(name).is_empty();
        let addresses = if exists { self.input.virtual_addresses.all_of(name) } else { Vec::new() };
        Host { name: name.clone(), addresses }
    }

    /// What a destination depends on.
    pub fn used_by_destination(&self, name: &ServicePort) -> Vec<Use> {
        touched::used_by_destination(&name.service_name(), self.inventory()).into_iter().map(Use::Service).collect()
    }

    /// What an endpoint set depends on.
    pub fn used_by_endpoints(&self, name: &ServicePort) -> Vec<Use> {
        touched::used_by_endpoints(&name.service_name(), self.inventory()).into_iter().map(Use::Service).collect()
    }

    /// What the inbound side of a workload depends on.
    pub fn used_by_inbound(&self, workload: &str) -> Vec<Use> {
        let service = self.input.workloads.get(workload).map(|workload| Use::Service(workload.service.clone()));
        service.into_iter().chain([Use::Workload(workload.to_owned())]).collect()
    }

    /// What an address depends on. `None`: it can change with anything.
    pub fn used_by_address(&self, address: SocketAddr) -> Option<Vec<Use>> {
        self.addresses().used_by(address, self.inventory())
    }

    /// What a host depends on. `None`: it can change with anything.
    pub fn used_by_host(&self, name: &ServiceName) -> Option<Vec<Use>> {
        // A service that was given no address yet, since that could not be written, gets it without being touched.
        let waits = !self.catalog().ports(name).is_empty() && self.input.virtual_addresses.of(name).is_none();
        (!waits).then(|| vec![Use::Service(name.clone())])
    }

    /// In order.
    pub fn services(&self) -> Vec<ServiceName> {
        self.catalog().names().into_iter().map(|(namespace, service)| ServiceName::new(namespace, service)).collect()
    }

    /// Empty when the service does not exist.
    pub fn service_ports(&self, service: &ServiceName) -> Vec<u16> {
        self.catalog().ports(service).iter().map(|port| port.number).collect()
    }

    fn catalog(&self) -> Catalog<'_> {
        self.input.catalog()
    }

    fn inventory(&self) -> Inventory<'_> {
        Inventory {
            input: &self.input,
            catalog: self.catalog(),
            relations: &self.relations,
            selectors: &self.selectors,
        }
    }

    fn addresses(&self) -> &Addresses {
        self.addresses.get_or_init(|| Addresses::new(&self.input))
    }

    /// Everything that sidecars can be told, as bytes: equal snapshots are equal bytes, and the other way round.
    pub fn encode(&self) -> Vec<u8> {
        let services = self.services();
        let names: BTreeSet<ServicePort> = services
            .iter()
            .flat_map(|service| self.service_ports(service).into_iter().map(|port| service.port(port)))
            .collect();
        let of_port = |name: &ServicePort| {
            [Resource::Destination(self.destination(name)), Resource::EndpointSet(self.endpoints(name))]
        };
        let workloads = self.input.workloads.iter().map(|workload| workload.id.as_str());
        // What a workload enforces about which nothing is known is the same for all of them but for the name.
        let inbound = std::iter::once("*").chain(workloads).map(|id| Resource::Inbound(self.inbound(id)));
        let hosts = services.iter().map(|service| Resource::Host(self.host(service)));
        let addresses = self.addresses().known().into_iter().map(|address| Resource::Address(self.address(address)));
        let resources = inbound.chain(names.iter().flat_map(of_port)).chain(hosts).chain(addresses);
        resources.flat_map(|resource| resource.encode().encode_length_delimited_to_vec()).collect()
    }
}

#[cfg(test)]
mod tests;
