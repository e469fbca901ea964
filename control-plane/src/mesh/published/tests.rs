use std::{collections::BTreeMap, net::SocketAddr};

use proptest::{prelude::*, sample::select};
use serde_json::{Value, json};
use weft_certs::Ca;

use super::*;
use crate::{
    resources::{Key, Kind as Written, parse},
    snapshot::{VirtualAddresses, WorkloadEndpoint, WorkloadPort, WorkloadPorts},
};

const SERVICES: [&str; 5] = ["a", "b", "c", "d", "e"];

/// One thing that people or sidecars do.
#[derive(Clone, Debug)]
enum Step {
    Write(Value),
    Delete(Written, &'static str),
    Register(&'static str, &'static str, u16, Present),
    Leave(&'static str),
    Resolve(Vec<SocketAddr>),
}

/// How a workload is there.
#[derive(Clone, Copy, Debug)]
struct Present {
    host: u8,
    is_labelled: bool,
    is_serving: bool,
    /// It serves the other port as well.
    has_both: bool,
}

fn document(kind: Written, name: &str, spec: Value) -> Value {
    let metadata = match kind.namespaced() {
        true => json!({"name": name, "namespace": "shop"}),
        false => json!({"name": name}),
    };
    json!({"apiVersion": kind.api_version(), "kind": kind.name(), "metadata": metadata, "spec": spec})
}

fn service() -> impl Strategy<Value = Value> {
    let source = prop_oneof![
        (1..4u8).prop_map(|host| json!({"static": [{"address": format!("10.0.0.{host}:80")}]})),
        select(&SERVICES[..]).prop_map(|service| json!({"workloads": {"service": service}})),
        select(&SERVICES[..]).prop_map(|service| json!({"workloads": {"service": service, "labels": {"a": "b"}}})),
        // Where a workload can be as well.
        Just(json!({"static": [{"address": "10.0.2.1:80", "identity": "spiffe://weft.local/ns/shop/sa/b"}]})),
        Just(json!({"dns": {"host": "db.test", "port": 5432}})),
    ];
    let ports = select(vec![json!([{"port": 80}]), json!([{"port": 81}]), json!([{"port": 80}, {"port": 81}])]);
    (select(&SERVICES[..]), source, ports).prop_map(|(name, mut spec, ports)| {
        spec["ports"] = ports;
        document(Written::MeshService, name, spec)
    })
}

fn route() -> impl Strategy<Value = Value> {
    let kinds = select(vec![Written::HttpRoute, Written::GrpcRoute, Written::TlsRoute]);
    let service = || select(&SERVICES[..]);
    let backends = prop::collection::vec(service(), 1..3);
    // One that is a backend as well is refused: nothing changes.
    let mirror = prop::option::of(service());
    (kinds, service(), service(), backends, mirror).prop_map(|(kind, name, parent, backends, mirror)| {
        let backends: Vec<Value> = backends.iter().map(|name| json!({"name": name, "port": 80})).collect();
        let parents = json!([{"kind": "Service", "name": parent}]);
        let mut spec = json!({"parentRefs": parents, "rules": [{"backendRefs": backends}]});
        match (kind, mirror) {
            (Written::TlsRoute, _) => spec["hostnames"] = json!(["a.example"]),
            (_, Some(mirror)) => {
                let mirror = json!({"backendRef": {"name": mirror, "port": 80}});
                spec["rules"][0]["filters"] = json!([{"type": "RequestMirror", "requestMirror": mirror}]);
            }
            (_, None) => {}
        }
        document(kind, name, spec)
    })
}

fn policy() -> impl Strategy<Value = Value> {
    let service = || select(&SERVICES[..]);
    let toward_service = (service(), service()).prop_map(
        |(target, fallback)| json!({"targetRef": {"kind": "Service", "name": target}, "fallback": {"backendRef": {"name": fallback, "port": 80}}}),
    );
    let on_route = service().prop_map(
        |target| json!({"targetRef": {"kind": "HTTPRoute", "name": target}, "stickySplit": {"header": "x-user"}}),
    );
    let of_requests = (select(vec!["Service", "HTTPRoute", "GRPCRoute"]), service(), 1..9u32).prop_map(
        |(kind, target, attempts)| json!({"targetRef": {"kind": kind, "name": target}, "retry": {"attempts": attempts}}),
    );
    let spec = prop_oneof![toward_service, on_route, of_requests];
    (service(), spec).prop_map(|(name, spec)| document(Written::TrafficPolicy, name, spec))
}

fn access() -> impl Strategy<Value = Value> {
    let service = || select(&SERVICES[..]);
    let mtls = || select(vec!["strict", "permissive", "off"]);
    (service(), service(), mtls(), mtls(), select(vec![80, 81])).prop_map(|(name, target, mtls, other, port)| {
        let ports = json!([{"port": port, "mtls": other}]);
        let spec = json!({"targetRef": {"kind": "Service", "name": target}, "mtls": mtls, "ports": ports});
        document(Written::AccessPolicy, name, spec)
    })
}

fn limits() -> impl Strategy<Value = Value> {
    let service = || select(&SERVICES[..]);
    (service(), service(), select(vec![80, 81]), 1..3u32).prop_map(|(name, target, port, requests)| {
        let limits = json!([{"port": port, "requests": requests, "interval": "1s"}]);
        let spec = json!({"targetRef": {"kind": "Service", "name": target}, "limits": limits});
        document(Written::RateLimitPolicy, name, spec)
    })
}

fn config() -> impl Strategy<Value = Value> {
    let (egress, mtls) = (select(vec!["allow", "deny"]), select(vec!["strict", "off"]));
    (any::<bool>(), egress, mtls).prop_map(|(log, egress, mtls)| {
        document(Written::MeshConfig, "default", json!({"accessLog": log, "egress": egress, "mtls": mtls}))
    })
}

fn step() -> impl Strategy<Value = Step> {
    let service = || select(&SERVICES[..]);
    let present = (1..3u8, any::<[bool; 3]>());
    let present = present.prop_map(|(host, [is_labelled, is_serving, has_both])| Present {
        host,
        is_labelled,
        is_serving,
        has_both,
    });
    prop_oneof![
        4 => self::service().prop_map(Step::Write),
        3 => route().prop_map(Step::Write),
        2 => policy().prop_map(Step::Write),
        2 => access().prop_map(Step::Write),
        2 => limits().prop_map(Step::Write),
        1 => config().prop_map(Step::Write),
        3 => (select(Written::ALL.to_vec()), service()).prop_map(|(kind, name)| Step::Delete(kind, name)),
        3 => (select(vec!["w1", "w2"]), service(), select(vec![80, 81]), present)
            .prop_map(|(id, service, port, present)| Step::Register(id, service, port, present)),
        1 => select(vec!["w1", "w2"]).prop_map(Step::Leave),
        1 => prop::collection::vec((1..4u8).prop_map(|host| SocketAddr::from(([10, 0, 1, host], 5432))), 0..2)
            .prop_map(Step::Resolve),
    ]
}

#[derive(Default)]
struct World {
    input: Input,
    workloads: BTreeMap<&'static str, WorkloadEndpoint>,
    order: u64,
}

impl World {
    fn take(&mut self, step: &Step) {
        match step {
            Step::Write(value) => {
                // A service that is its own fallback is refused: nothing changes.
                let objects = parse(std::slice::from_ref(value), "shop").unwrap_or_default();
                let all = Arc::make_mut(&mut self.input.objects);
                objects.into_iter().for_each(|object| all.insert(object.into()));
            }
            Step::Delete(kind, name) => {
                Arc::make_mut(&mut self.input.objects).remove(&Key::new(*kind, "shop", *name));
            }
            Step::Register(id, service, port, present) => {
                self.order += 1;
                self.workloads.insert(id, workload(id, service, *port, (*present, self.order)));
            }
            Step::Leave(id) => _ = self.workloads.remove(id),
            Step::Resolve(addresses) => {
                self.input.resolved = Arc::new([(("db.test".to_owned(), 5432), addresses.clone())].into());
            }
        }
        if matches!(step, Step::Register(..) | Step::Leave(_)) {
            self.input.workloads = Arc::new(self.workloads.values().cloned().collect());
        }
        // As `mesh` does before it publishes.
        for service in SERVICES.map(|name| ServiceName::new("shop", name)) {
            match self.input.catalog().ports(&service).is_empty() {
                true => _ = self.input.virtual_addresses.take_back(&service),
                false => _ = self.input.virtual_addresses.give(&service),
            }
        }
    }
}

fn workload(id: &str, service: &str, port: u16, (present, order): (Present, u64)) -> WorkloadEndpoint {
    let label = present.is_labelled.then(|| ("a".to_owned(), "b".to_owned()));
    WorkloadEndpoint {
        id: id.into(),
        service: ServiceName::new("shop", service),
        ports: ports(port, present),
        order,
        identity: "spiffe://weft.local/ns/shop/sa/app".parse().unwrap(),
        labels: label.into_iter().collect(),
        zone: String::new(),
    }
}

fn ports(first: u16, present: Present) -> WorkloadPorts {
    let at = |service_port, port| WorkloadPort {
        service_port,
        address: ([10, 0, 2, present.host], port).into(),
        serving: present.is_serving,
    };
    let further_ports = present.has_both.then(|| at(161 - first, 81)).into_iter().collect();
    WorkloadPorts { first: at(first, 80), further_ports }
}

/// Everything that a sidecar can ask for.
fn names() -> Vec<(Kind, String)> {
    let services = SERVICES.map(|name| ServiceName::new("shop", name));
    let mut names = vec![(Kind::TrustBundle, "weft.local".into())];
    names.extend(["w1", "w2"].map(|id| (Kind::Inbound, id.to_owned())));
    let mut virtual_addresses = VirtualAddresses::default();
    for service in &services {
        for port in [80, 81] {
            names.push((Kind::Destination, service.port(port).to_string()));
            names.push((Kind::EndpointSet, service.port(port).to_string()));
        }
        names.push((Kind::Host, service.to_string()));
        virtual_addresses.give(service);
        let addresses = virtual_addresses.all_of(service).into_iter().map(|ip| SocketAddr::new(ip, 80));
        names.extend(addresses.map(|address| (Kind::Address, address.to_string())));
    }
    let endpoints = ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80", "10.0.2.1:80", "10.0.2.2:80", "10.0.1.1:5432"];
    names.extend(["10.0.2.1:81", "10.0.2.2:81"].map(|address| (Kind::Address, address.to_owned())));
    names.extend(endpoints.map(|address| (Kind::Address, address.to_owned())));
    names
}

fn trust_bundle() -> TrustBundle {
    Ca::create("weft.local".parse().unwrap(), std::time::SystemTime::now()).unwrap().trust_bundle()
}

proptest! {
    /// Whatever is kept from before, sidecars are told what a control plane tells that has just started.
    #[test]
    fn a_change_leads_to_what_a_fresh_start_leads_to(steps in prop::collection::vec(step(), 1..24)) {
        let (mut world, bundle) = (World::default(), trust_bundle());
        let mut published = Published::new(0, world.input.clone(), bundle.clone());
        for (revision, step) in (1..).zip(&steps) {
            world.take(step);
            published = published.after(revision, world.input.clone());
            let fresh = Published::new(revision, world.input.clone(), bundle.clone());
            for (kind, name) in names() {
                let (found, expected) = (published.resource(kind, &name), fresh.resource(kind, &name));
                prop_assert_eq!(found, expected, "{:?} {} after {:?}", kind, name, step);
            }
        }
    }
}

#[test]
fn what_a_change_does_not_touch_stays_as_it_was_sent() {
    let mut world = World::default();
    let at = |host: u8| json!({"static": [{"address": format!("10.0.0.{host}:80")}]});
    for name in ["a", "b", "c"] {
        world.take(&Step::Write(document(Written::MeshService, name, at(1))));
    }
    let to_b = json!({"parentRefs": [{"kind": "Service", "name": "a"}], "rules": [{"backendRefs": [{"name": "b"}]}]});
    world.take(&Step::Write(document(Written::HttpRoute, "a", to_b)));
    let before = Published::new(1, world.input.clone(), trust_bundle());
    let names = ["shop/a:80", "shop/b:80", "shop/c:80"];
    let all: Vec<(Kind, &str)> =
        [Kind::Destination, Kind::EndpointSet].into_iter().flat_map(|kind| names.map(|name| (kind, name))).collect();
    all.iter().for_each(|(kind, name)| _ = before.resource(*kind, name));

    world.take(&Step::Write(document(Written::MeshService, "b", at(2))));
    let after = before.after(2, world.input.clone());
    let is_kept = |(kind, name): &(Kind, &str)| after.encoded.get_or_make(*kind, name, || None).is_some();
    let kept: Vec<(Kind, &str)> = all.into_iter().filter(is_kept).collect();
    let expected =
        [(Kind::Destination, "shop/c:80"), (Kind::EndpointSet, "shop/a:80"), (Kind::EndpointSet, "shop/c:80")];
    assert_eq!(kept, expected);
}

#[test]
fn what_nobody_asks_for_any_more_is_forgotten() {
    let published = Published::new(1, Input::default(), trust_bundle());
    published.resource(Kind::Inbound, "w1");
    let is_kept = |published: &Published| published.encoded.get_or_make(Kind::Inbound, "w1", || None).is_some();
    let second = published.after(2, Input::default());
    assert!(is_kept(&second), "it was asked for, and now again");
    let third = second.after(3, Input::default());
    assert!(!is_kept(&third.after(4, Input::default())));
}

#[test]
fn an_address_is_made_anew_only_when_something_about_who_has_it_changes() {
    let mut world = World::default();
    let at = |host: u8| json!({"static": [{"address": format!("10.0.0.{host}:80")}]});
    for (name, host) in [("a", 1), ("b", 2)] {
        world.take(&Step::Write(document(Written::MeshService, name, at(host))));
    }
    let before = Published::new(1, world.input.clone(), trust_bundle());
    let all = [
        (Kind::Address, "10.0.0.1:80"),
        (Kind::Address, "10.0.0.2:80"),
        (Kind::Address, "10.0.0.3:80"),
        (Kind::Address, "10.0.0.4:80"),
        (Kind::Host, "shop/a"),
        (Kind::Host, "shop/none"),
    ];
    all.iter().for_each(|(kind, name)| _ = before.resource(*kind, name));
    world.take(&Step::Write(document(Written::MeshService, "b", at(3))));
    let after = before.after(2, world.input.clone());
    let is_kept = |(kind, name): &(Kind, &str)| after.encoded.get_or_make(*kind, name, || None).is_some();
    let kept: Vec<&str> = all.into_iter().filter(is_kept).map(|(_, name)| name).collect();
    assert_eq!(kept, ["10.0.0.1:80", "10.0.0.4:80", "shop/a", "shop/none"]);
}
