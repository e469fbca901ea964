//! Backends: each service port with the policies toward it. What its `TrafficPolicy` does not say, the `MeshConfig`
//! does, and the built-in defaults after that.

use std::collections::BTreeMap;

use weft_proxy_api::{
    Backend, ServicePort,
    policy::{CircuitBreaker, DEFAULT_CONNECT_TIMEOUT, DEFAULT_MAX_EJECTED_PERCENT},
};

use super::relations::Inventory;
use crate::resources::{CircuitBreakerSpec, EndpointCircuitBreakerSpec, Port, Target};

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
    let defaults = &inventory.relations.mesh().defaults;
    let ejection = |spec: &Option<EndpointCircuitBreakerSpec>| spec.as_ref().and_then(|spec| spec.max_ejected_percent);
    let of_endpoint = policy.and_then(|policy| policy.endpoint_circuit_breaker.as_ref());
    Backend {
        protocol: port.protocol,
        load_balancer: policy.and_then(|policy| policy.load_balancer).or(defaults.load_balancer).unwrap_or_default(),
        circuit_breaker: layered(
            [defaults.circuit_breaker.as_ref(), policy.and_then(|policy| policy.circuit_breaker.as_ref())],
            CircuitBreaker::default(),
        ),
        endpoint_circuit_breaker: layered(
            [defaults.endpoint_circuit_breaker.as_ref(), of_endpoint].map(|spec| spec.map(|spec| &spec.breaker)),
            CircuitBreaker::endpoint_default(),
        ),
        max_ejected_percent: of_endpoint
            .and_then(|spec| spec.max_ejected_percent)
            .or(ejection(&defaults.endpoint_circuit_breaker))
            .unwrap_or(DEFAULT_MAX_EJECTED_PERCENT),
        connect_timeout: policy
            .and_then(|policy| policy.connect_timeout)
            .or(defaults.connect_timeout)
            .unwrap_or(DEFAULT_CONNECT_TIMEOUT),
        // A fallback that has gone away is none: requests then fail fast, as without one.
        fallback: policy
            .and_then(|policy| policy.fallback.as_ref())
            .and_then(|fallback| inventory.catalog.resolve(fallback).ok()),
        name,
    }
}

/// Later layers stand over earlier ones.
fn layered(layers: [Option<&CircuitBreakerSpec>; 2], base: CircuitBreaker) -> CircuitBreaker {
    layers.into_iter().flatten().fold(base, |base, layer| layer.over(base))
}
