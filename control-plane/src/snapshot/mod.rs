//! Pure: resources and endpoints in, what each sidecar is told out. No I/O, no clock, no chance: the same input is the
//! same snapshot, byte for byte.
//!
//! Two parts that change at different speed: [`Config`], compiled from the resources and the names of the services
//! there are, and [`EndpointIndex`], who serves each port now. A workload that comes or goes leaves the `Config` alone.
//! Called by `mesh` after every change; `serve` sends what is asked for by name.

mod backend;
mod config;
mod describe;
mod destination;
mod endpoints;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::Arc,
};

use prost::Message;
use weft_certs::SpiffeId;
use weft_proxy_api::{Destination, EndpointSet, Inbound, Resource, ServiceName, ServicePort, State};

use crate::resources::Objects;

pub use config::Config;
pub use describe::describe_routes;
pub use endpoints::EndpointIndex;

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

/// Everything that a snapshot depends on.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    pub objects: &'a Objects,
    pub workloads: &'a [WorkloadEndpoint],
    /// By the host and port that a `MeshService` names.
    pub resolved: &'a BTreeMap<(String, u16), Vec<SocketAddr>>,
}

#[derive(Clone, Debug)]
pub struct Snapshot {
    config: Arc<Config>,
    endpoints: Arc<EndpointIndex>,
}

impl Snapshot {
    pub fn compile(input: &Input<'_>) -> Self {
        let config = Config::compile(input.objects, &implied_services(input.workloads));
        let endpoints = EndpointIndex::compile(&config, input.workloads, input.resolved);
        Self { config: Arc::new(config), endpoints: Arc::new(endpoints) }
    }

    /// The snapshot after endpoints changed and `input.objects` did not: it shares the configuration of this one, unless
    /// services appeared or went away with them.
    pub fn with_endpoints(&self, input: &Input<'_>) -> Self {
        if *self.config.implied() != implied_services(input.workloads) {
            return Self::compile(input);
        }
        let endpoints = EndpointIndex::compile(&self.config, input.workloads, input.resolved);
        Self { config: self.config.clone(), endpoints: Arc::new(endpoints) }
    }

    /// Every name has an answer: a service that does not exist is [`State::Unknown`].
    pub fn destination(&self, name: &ServicePort) -> Destination {
        let state = match self.config.service(name) {
            Some(service) => State::Service(service.clone()),
            None => State::Unknown { nearest: self.config.nearest(name) },
        };
        Destination { name: name.clone(), state }
    }

    /// Empty when the service does not exist.
    pub fn endpoints(&self, name: &ServicePort) -> EndpointSet {
        EndpointSet { name: name.clone(), endpoints: self.endpoints.of(name).to_vec() }
    }

    pub fn inbound(&self, workload: &str) -> Inbound {
        self.config.inbound(workload)
    }

    pub fn services(&self) -> impl Iterator<Item = &ServiceName> {
        self.config.catalog().services().map(|(name, _)| name)
    }

    /// Empty when the service does not exist.
    pub fn service_ports(&self, service: &ServiceName) -> Vec<u16> {
        self.config.catalog().ports(service).iter().map(|port| port.number).collect()
    }

    /// Everything that sidecars can be told, as bytes: equal snapshots are equal bytes, and the other way round.
    pub fn encode(&self) -> Vec<u8> {
        let names = self.config.service_ports();
        let of_port = |name: &ServicePort| {
            [Resource::Destination(self.destination(name)), Resource::EndpointSet(self.endpoints(name))]
        };
        // Inbound is the same for every workload but for its name.
        let resources = std::iter::once(Resource::Inbound(self.inbound("*"))).chain(names.flat_map(of_port));
        resources.flat_map(|resource| resource.encode().encode_length_delimited_to_vec()).collect()
    }
}

/// The service ports that exist because a workload has registered for them.
pub fn implied_services(workloads: &[WorkloadEndpoint]) -> BTreeSet<ServicePort> {
    workloads.iter().map(|workload| workload.service.port(workload.service_port)).collect()
}

#[cfg(test)]
mod tests;
