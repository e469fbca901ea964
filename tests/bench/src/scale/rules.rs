//! The generated mesh: services with static endpoints, and to every so many of them a route or a policy. Pure.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use serde_json::{Value, json};

/// Services that the measured app talks to; they are the first.
pub const TALKED_TO: u32 = 5;
pub const ENDPOINTS: u8 = 10;
/// One service in so many splits its traffic with the next one.
const ROUTE_EVERY: u32 = 10;
/// One service in so many has policies of its own.
const POLICY_EVERY: u32 = 20;

pub fn name(index: u32) -> String {
    format!("service-{index:05}")
}

/// The resources of service number `index` of `services`. The app that answers for those that are talked to listens on
/// every loopback address at `app_port`; the endpoints of the others are never called.
pub fn resources(index: u32, services: u32, app_port: u16) -> Vec<Value> {
    let mut resources = vec![service(index, app_port, 1)];
    let next = index + 1;
    if index.is_multiple_of(ROUTE_EVERY) && next < services {
        resources.push(route(index, next));
    }
    if index.is_multiple_of(POLICY_EVERY) {
        resources.push(policy(index));
    }
    resources
}

/// The service with one endpoint that stands at `version`; the others stay.
pub fn service(index: u32, app_port: u16, version: u8) -> Value {
    let kept = (0..ENDPOINTS - 1).map(|endpoint| address(index, app_port, endpoint));
    let addresses = kept.chain([changing_endpoint(index, app_port, version)]);
    json!({
        "apiVersion": "weft.dev/v1alpha1",
        "kind": "MeshService",
        "metadata": { "name": name(index), "namespace": "default" },
        "spec": {
            "ports": [{ "port": 80, "protocol": "http" }],
            "static": addresses.map(|address| json!({ "address": address })).collect::<Vec<_>>(),
        },
    })
}

/// Where the last endpoint of a service stands after so many changes.
pub fn changing_endpoint(index: u32, app_port: u16, version: u8) -> SocketAddr {
    address(index, app_port, ENDPOINTS + version)
}

fn address(index: u32, app_port: u16, endpoint: u8) -> SocketAddr {
    let [_, _, high, low] = index.to_be_bytes();
    let (ip, port) = match index < TALKED_TO {
        true => (Ipv4Addr::new(127, 0, 1, endpoint), app_port),
        false => (Ipv4Addr::new(10, high, low, endpoint), 8080),
    };
    SocketAddrV4::new(ip, port).into()
}

fn route(index: u32, next: u32) -> Value {
    let backend =
        |index, weight| json!({ "group": "", "kind": "Service", "name": name(index), "port": 80, "weight": weight });
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": { "name": name(index), "namespace": "default" },
        "spec": {
            "parentRefs": [{ "group": "", "kind": "Service", "name": name(index) }],
            "rules": [{ "backendRefs": [backend(index, 90), backend(next, 10)] }],
        },
    })
}

fn policy(index: u32) -> Value {
    json!({
        "apiVersion": "weft.dev/v1alpha1",
        "kind": "TrafficPolicy",
        "metadata": { "name": name(index), "namespace": "default" },
        "spec": {
            "targetRef": { "kind": "MeshService", "name": name(index) },
            "loadBalancer": { "type": "LeastRequest" },
            "circuitBreaker": { "consecutiveFailures": 7 },
            "timeouts": { "connect": "2s" },
        },
    })
}
