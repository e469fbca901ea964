//! Backends: each service port with the policies toward it. What its `TrafficPolicy` does not say, the `MeshConfig`
//! does, and the built-in defaults after that.

use std::collections::BTreeMap;

use weft_proxy_api::{Backend, ServicePort};

use super::relations::Inventory;
use crate::resources::{Port, Target};

/// The backends of `names`, and those that their fallbacks lead to, each once, in the order of their names.
pub(super) fn closure(names: impl IntoIterator<Item = ServicePort>, inventory: Inventory<'_>) -> Vec<Backend> {
    let mut found: BTreeMap<ServicePort, Backend> = BTreeMap::new();
    let mut open: Vec<ServicePort> = names.into_iter().collect();
    while let Some(name) = open.pop() {
        if found.contains_key(&name) {
            continue;
        }
        let Some(port) = inventory.catalog.port(&name) else { continue };
        let backend = compile(name.clone(), &port, inventory);
        open.extend(backend.fallback.clone());
        found.insert(name, backend);
    }
    found.into_values().collect()
}

fn compile(name: ServicePort, port: &Port, inventory: Inventory<'_>) -> Backend {
    let policy = inventory.relations.policy(&Target::Service(name.service_name()));
    let layers = [Some(&inventory.relations.mesh().defaults.backend), policy.map(|policy| &policy.backend)];
    let backend = layers.into_iter().flatten().fold(Backend::new(name), |base, layer| layer.over(base));
    Backend {
        protocol: port.protocol,
        // A fallback that has gone away is none: requests then fail fast, as without one.
        fallback: policy
            .and_then(|policy| policy.fallback.as_ref())
            .and_then(|fallback| inventory.catalog.resolve(fallback).ok()),
        ..backend
    }
}
