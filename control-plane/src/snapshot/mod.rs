//! Pure: resources and endpoints in, what each sidecar is told out. No I/O, no clock, no chance: the same input is the
//! same snapshot, byte for byte.
//!
//! A snapshot holds what goes in, indexed, and compiles a resource when it is asked for: a mesh has thousands of services
//! and a sidecar talks to a few. The snapshot that follows another takes over the indices that still hold, and says what
//! the change has [`Touched`], so that what was compiled and sent stays where nothing happened.
//! Called by `mesh` after every change; `serve` sends what is asked for by name.

mod backend;
mod describe;
mod destination;
mod endpoints;
mod hints;
mod relations;
mod touched;
mod workloads;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::Arc,
};

use prost::Message;
use weft_certs::SpiffeId;
use weft_proxy_api::{Destination, EndpointSet, Inbound, Resource, ServiceName, ServicePort, State};

use crate::resources::{Catalog, Difference, Objects};

pub use describe::describe_routes;
use hints::Hints;
use relations::{Inventory, Relations};
pub use touched::Touched;
pub use workloads::Workloads;

/// A workload that has registered for a port of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkloadEndpoint {
    pub id: String,
    pub service: ServiceName,
    /// The port of the service, not of the application.
    pub service_port: u16,
    /// Where its sidecar accepts.
    pub address: SocketAddr,
    pub identity: SpiffeId,
    pub labels: BTreeMap<String, String>,
    pub zone: String,
    /// The application answers; one that does not is no endpoint, though its service exists.
    pub serving: bool,
}

/// Everything that a snapshot depends on. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Input {
    pub objects: Arc<Objects>,
    pub workloads: Arc<Workloads>,
    /// By the host and port that a `MeshService` names.
    pub resolved: Arc<BTreeMap<(String, u16), Vec<SocketAddr>>>,
}

#[derive(Clone, Debug)]
pub struct Snapshot {
    input: Input,
    relations: Arc<Relations>,
    hints: Arc<Hints>,
}

impl Snapshot {
    pub fn compile(input: Input) -> Self {
        Self { relations: Arc::new(Relations::new(&input.objects)), input, hints: Arc::default() }
    }

    /// The snapshot after a change, and what the change has touched.
    pub fn after(&self, input: Input) -> (Self, Touched) {
        let differences = match Arc::ptr_eq(&self.input.objects, &input.objects) {
            true => Vec::new(),
            false => self.input.objects.differences(&input.objects),
        };
        let touched = Touched::between(&self.input, &input, &differences);
        let is_related = |it: &Difference<'_>| it.key().is_some_and(|key| Relations::hold(key.kind));
        let relations = match differences.iter().any(is_related) {
            true => Arc::new(Relations::new(&input.objects)),
            false => self.relations.clone(),
        };
        let changes_names = |it: &Difference<'_>| !is_related(it) && !it.is_of_endpoints_only();
        let same_names =
            self.input.workloads.implied() == input.workloads.implied() && !differences.iter().any(changes_names);
        let hints = if same_names { self.hints.clone() } else { Arc::default() };
        (Self { input, relations, hints }, touched)
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
    pub fn endpoints(&self, name: &ServicePort) -> EndpointSet {
        EndpointSet { name: name.clone(), endpoints: endpoints::compile(name, &self.input, self.catalog()) }
    }

    pub fn inbound(&self, workload: &str) -> Inbound {
        let mesh = self.relations.mesh();
        Inbound { workload: workload.to_owned(), access_log: mesh.access_log, drain_timeout: mesh.drain_timeout }
    }

    /// The services that a destination depends on.
    pub fn used_by_destination(&self, name: &ServicePort) -> BTreeSet<ServiceName> {
        touched::used_by_destination(&name.service_name(), self.inventory())
    }

    /// The services that an endpoint set depends on.
    pub fn used_by_endpoints(&self, name: &ServicePort) -> BTreeSet<ServiceName> {
        touched::used_by_endpoints(&name.service_name(), self.inventory())
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
        Catalog::new(&self.input.objects, self.input.workloads.implied())
    }

    fn inventory(&self) -> Inventory<'_> {
        Inventory { catalog: self.catalog(), relations: &self.relations }
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
        // Inbound is the same for every workload but for its name.
        let resources = std::iter::once(Resource::Inbound(self.inbound("*"))).chain(names.iter().flat_map(of_port));
        resources.flat_map(|resource| resource.encode().encode_length_delimited_to_vec()).collect()
    }
}

#[cfg(test)]
mod tests;
