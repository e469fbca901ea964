use std::{collections::BTreeMap, net::SocketAddr};

use proptest::{prelude::*, sample::select};
use serde_json::{Value, json};
use weft_certs::Ca;

use super::*;
use crate::{
    resources::{Key, Kind as Written, parse},
    snapshot::WorkloadEndpoint,
};

const SERVICES: [&str; 5] = ["a", "b", "c", "d", "e"];
const KINDS: [Kind; 4] = [Kind::Destination, Kind::EndpointSet, Kind::Inbound, Kind::TrustBundle];

/// One thing that people or sidecars do.
#[derive(Clone, Debug)]
enum Step {
    Write(Value),
    Delete(Written, &'static str),
    Register(&'static str, &'static str, u16, bool),
    Leave(&'static str),
    Resolve(Vec<SocketAddr>),
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
        Just(json!({"dns": {"host": "db.test", "port": 5432}})),
    ];
    (select(&SERVICES[..]), source, select(vec![80, 81])).prop_map(|(name, mut spec, port)| {
        spec["ports"] = json!([{"port": port}]);
        document(Written::MeshService, name, spec)
    })
}

fn route() -> impl Strategy<Value = Value> {
    let kinds = select(vec![Written::HttpRoute, Written::GrpcRoute]);
    let service = || select(&SERVICES[..]);
    (kinds, service(), service(), prop::collection::vec(service(), 1..3)).prop_map(|(kind, name, parent, backends)| {
        let backends: Vec<Value> = backends.iter().map(|name| json!({"name": name, "port": 80})).collect();
        let parents = json!([{"kind": "Service", "name": parent}]);
        document(kind, name, json!({"parentRefs": parents, "rules": [{"backendRefs": backends}]}))
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
    let spec = prop_oneof![toward_service, on_route];
    (service(), spec).prop_map(|(name, spec)| document(Written::TrafficPolicy, name, spec))
}

fn step() -> impl Strategy<Value = Step> {
    let service = || select(&SERVICES[..]);
    let config = any::<bool>().prop_map(|log| document(Written::MeshConfig, "default", json!({"accessLog": log})));
    prop_oneof![
        4 => self::service().prop_map(Step::Write),
        3 => route().prop_map(Step::Write),
        2 => policy().prop_map(Step::Write),
        1 => config.prop_map(Step::Write),
        3 => (select(Written::ALL.to_vec()), service()).prop_map(|(kind, name)| Step::Delete(kind, name)),
        3 => (select(vec!["w1", "w2"]), service(), select(vec![80, 81]), any::<bool>())
            .prop_map(|(id, service, port, serving)| Step::Register(id, service, port, serving)),
        1 => select(vec!["w1", "w2"]).prop_map(Step::Leave),
        1 => prop::collection::vec((1..4u8).prop_map(|host| SocketAddr::from(([10, 0, 1, host], 5432))), 0..2)
            .prop_map(Step::Resolve),
    ]
}

#[derive(Default)]
struct World {
    input: Input,
    workloads: BTreeMap<&'static str, WorkloadEndpoint>,
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
            Step::Register(id, service, port, serving) => {
                self.workloads.insert(id, workload(id, service, *port, *serving));
            }
            Step::Leave(id) => _ = self.workloads.remove(id),
            Step::Resolve(addresses) => {
                self.input.resolved = Arc::new([(("db.test".to_owned(), 5432), addresses.clone())].into());
            }
        }
        if matches!(step, Step::Register(..) | Step::Leave(_)) {
            self.input.workloads = Arc::new(self.workloads.values().cloned().collect());
        }
    }
}

fn workload(id: &str, service: &str, port: u16, serving: bool) -> WorkloadEndpoint {
    WorkloadEndpoint {
        id: id.into(),
        service: ServiceName::new("shop", service),
        service_port: port,
        address: "10.0.2.1:15006".parse().unwrap(),
        identity: "spiffe://weft.local/ns/shop/sa/app".parse().unwrap(),
        labels: BTreeMap::new(),
        zone: String::new(),
        serving,
    }
}

fn names() -> Vec<String> {
    let ports = SERVICES.iter().flat_map(|service| [80, 81].map(|port| format!("shop/{service}:{port}")));
    ports.chain(["w1".into(), "weft.local".into()]).collect()
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
            for (kind, name) in KINDS.into_iter().flat_map(|kind| names().into_iter().map(move |name| (kind, name))) {
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
