//! What the resources mean, without who serves what at the moment: every destination, compiled.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, PoisonError},
};

use weft_proxy_api::{Inbound, Service, ServiceName, ServicePort};

use super::{backend::Backends, destination};
use crate::resources::{
    Catalog, Key, Kind, MeshConfigSpec, MeshServiceSpec, Objects, RouteSpec, Source, Spec, Target, TrafficPolicySpec,
    WorkloadSelector,
};

#[derive(Debug)]
pub struct Config {
    implied: BTreeSet<ServicePort>,
    catalog: Catalog,
    sources: BTreeMap<ServiceName, Source>,
    destinations: BTreeMap<ServicePort, Service>,
    mesh: MeshConfigSpec,
    /// What [`Config::nearest`] has found, so that it is sought once, however many ask and however often.
    hints: Mutex<BTreeMap<ServicePort, Option<String>>>,
}

/// Unknown names that are given a hint: a search goes over all services, and sidecars choose what they ask for. One
/// sidecar has a few of them, and all have the same.
const HINTS: usize = 256;

/// The resources, each kind where the compilation looks for it.
pub(super) struct Inventory<'a> {
    pub catalog: &'a Catalog,
    pub mesh: &'a MeshConfigSpec,
    pub routes: Vec<(&'a Key, &'a RouteSpec)>,
    pub policies: BTreeMap<&'a Target, &'a TrafficPolicySpec>,
}

impl Config {
    /// `implied` are the service ports that registered workloads stand for.
    pub fn compile(objects: &Objects, implied: &BTreeSet<ServicePort>) -> Self {
        let catalog = Catalog::new(objects, implied);
        let mesh = mesh_config(objects);
        let inventory = Inventory::new(objects, &catalog, &mesh);
        let backends = Backends::compile(&inventory);
        let names: Vec<ServicePort> = service_ports(&catalog).collect();
        let destinations =
            names.into_iter().map(|name| (name.clone(), destination::compile(&name, &inventory, &backends))).collect();
        Self {
            implied: implied.clone(),
            sources: sources(objects, implied),
            destinations,
            mesh,
            catalog,
            hints: Mutex::default(),
        }
    }

    pub fn implied(&self) -> &BTreeSet<ServicePort> {
        &self.implied
    }

    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    pub fn sources(&self) -> &BTreeMap<ServiceName, Source> {
        &self.sources
    }

    pub fn service_ports(&self) -> impl Iterator<Item = &ServicePort> {
        self.destinations.keys()
    }

    pub fn service(&self, name: &ServicePort) -> Option<&Service> {
        self.destinations.get(name)
    }

    /// The service that was likely meant by an unknown name, with its port where only that is wrong.
    /// With very many unknown names, the last of them have none.
    pub fn nearest(&self, name: &ServicePort) -> Option<String> {
        let mut hints = self.hints.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = hints.get(name) {
            return known.clone();
        }
        if hints.len() >= HINTS {
            return None;
        }
        let hint = self.search(name);
        hints.insert(name.clone(), hint.clone());
        hint
    }

    fn search(&self, name: &ServicePort) -> Option<String> {
        let service = name.service_name();
        match self.catalog.ports(&service).first() {
            Some(port) => Some(service.port(port.number).to_string()),
            None => self.catalog.nearest(&service).map(ToString::to_string),
        }
    }

    pub fn inbound(&self, workload: &str) -> Inbound {
        Inbound {
            workload: workload.to_owned(),
            access_log: self.mesh.access_log,
            drain_timeout: self.mesh.drain_timeout,
        }
    }
}

fn service_ports(catalog: &Catalog) -> impl Iterator<Item = ServicePort> {
    catalog.services().flat_map(|(name, ports)| ports.iter().map(|port| name.port(port.number)))
}

fn mesh_config(objects: &Objects) -> MeshConfigSpec {
    let configs = objects.values().find_map(|object| match &object.spec {
        Spec::MeshConfig(config) => Some(config.clone()),
        _ => None,
    });
    configs.unwrap_or_default()
}

/// Where the endpoints of each service come from. A service that is only implied has the workloads that registered for it.
fn sources(objects: &Objects, implied: &BTreeSet<ServicePort>) -> BTreeMap<ServiceName, Source> {
    let workloads = |name: &ServicePort| {
        let selector = WorkloadSelector { service: name.service.clone(), labels: BTreeMap::new() };
        (name.service_name(), Source::Workloads(selector))
    };
    let mut sources: BTreeMap<ServiceName, Source> = implied.iter().map(workloads).collect();
    for object in objects.values() {
        if let Spec::MeshService(MeshServiceSpec { source, .. }) = &object.spec {
            sources.insert(ServiceName::new(&object.key.namespace, &object.key.name), source.clone());
        }
    }
    sources
}

impl<'a> Inventory<'a> {
    fn new(objects: &'a Objects, catalog: &'a Catalog, mesh: &'a MeshConfigSpec) -> Self {
        let mut routes = Vec::new();
        let mut policies = BTreeMap::new();
        for object in objects.values() {
            match &object.spec {
                Spec::HttpRoute(route) | Spec::GrpcRoute(route) => routes.push((&object.key, route)),
                // One for each target, or the check would have refused it; of several, the first by name counts.
                Spec::TrafficPolicy(policy) => {
                    policies.entry(&policy.target).or_insert(policy);
                }
                Spec::MeshService(_) | Spec::MeshConfig(_) => {}
            }
        }
        // Gateway API: the more special kind of route first. The others follow by namespace and name, as the keys do.
        routes.sort_by_key(|(key, _)| (key.kind != Kind::GrpcRoute, &key.namespace, &key.name));
        Self { catalog, mesh, routes, policies }
    }
}
