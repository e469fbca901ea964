use weft_certs::TrustDomain;

use super::*;
use crate::resources::{parse, read_yaml};

const YAML: &str = "
apiVersion: weft.dev/v1alpha1
kind: MeshService
metadata: {name: orders-v1, namespace: shop}
spec: {workloads: {service: orders, labels: {version: v1}}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: orders, namespace: shop}
spec:
  parentRefs: [{kind: Service, name: orders}]
  rules: [{backendRefs: [{name: orders-v1}]}]
";

fn objects(yaml: &str) -> Objects {
    let documents: Vec<_> = read_yaml("a.yaml", yaml).unwrap().into_iter().map(|document| document.value).collect();
    parse(&documents, "shop").unwrap().into_iter().collect()
}

fn workload(id: &str, service: &str) -> WorkloadEndpoint {
    let trust_domain: TrustDomain = "weft.local".parse().unwrap();
    WorkloadEndpoint {
        id: id.into(),
        service: ServiceName::new("shop", service),
        ports: WorkloadPort { service_port: 80, address: ([10, 0, 0, 1], 15006).into(), serving: true }.into(),
        order: 0,
        identity: SpiffeId::workload(&trust_domain, "shop", service).unwrap(),
        labels: BTreeMap::from([("version".into(), "v1".into())]),
        zone: String::new(),
    }
}

fn input(objects: &Objects, workloads: &[WorkloadEndpoint]) -> Input {
    Input {
        objects: Arc::new(objects.clone()),
        workloads: Arc::new(workloads.iter().cloned().collect()),
        ..Input::default()
    }
}

#[test]
fn an_endpoint_comes_and_the_configuration_stays() {
    let objects = objects(YAML);
    let one = [workload("a", "orders")];
    let two = [workload("b", "orders"), workload("a", "orders")];
    let before = Snapshot::compile(input(&objects, &one));
    let after = before.after(input(&objects, &two)).0;
    assert!(Arc::ptr_eq(&before.relations, &after.relations) && Arc::ptr_eq(&before.hints, &after.hints));
    let ids = |snapshot: &Snapshot, service| -> Vec<String> {
        snapshot.endpoints(&ServicePort::new("shop", service, 80)).endpoints.into_iter().map(|e| e.id).collect()
    };
    assert_eq!(ids(&before, "orders-v1"), ["a"]);
    assert_eq!(ids(&after, "orders-v1"), ["a", "b"]);
    assert_eq!(after.encode(), Snapshot::compile(input(&objects, &two)).encode());
}

#[test]
fn a_service_appears_with_its_first_workload_and_goes_with_its_last() {
    let objects = objects(YAML);
    let name = ServicePort::new("shop", "orders", 80);
    let empty = Snapshot::compile(input(&objects, &[]));
    let unknown = State::Unknown { nearest: Some("shop/orders-v1".into()) };
    assert_eq!(empty.destination(&name).state, unknown);
    assert!(empty.endpoints(&name).endpoints.is_empty());

    let mut not_serving = workload("a", "orders");
    not_serving.ports.first.serving = false;
    let there = empty.after(input(&objects, &[not_serving])).0;
    assert!(matches!(there.destination(&name).state, State::Service(_)));
    assert!(there.endpoints(&name).endpoints.is_empty());

    let gone = there.after(input(&objects, &[])).0;
    assert_eq!(gone.encode(), empty.encode());
}

#[test]
fn unknown_names_get_the_nearest_known_one() {
    let objects = objects(YAML);
    let workloads = [workload("a", "orders"), workload("b", "billing")];
    let snapshot = Snapshot::compile(input(&objects, &workloads));
    let nearest =
        |namespace, service, port| match snapshot.destination(&ServicePort::new(namespace, service, port)).state {
            State::Unknown { nearest } => nearest,
            State::Service(_) => panic!("{namespace}/{service}:{port} is known"),
        };
    assert_eq!(nearest("shop", "order", 80).as_deref(), Some("shop/orders"));
    assert_eq!(nearest("shop", "biling", 80).as_deref(), Some("shop/billing"));
    assert_eq!(nearest("default", "orders", 80).as_deref(), Some("shop/orders"));
    // The service is right and the port is not.
    assert_eq!(nearest("shop", "orders", 8080).as_deref(), Some("shop/orders:80"));
    assert_eq!(nearest("shop", "zzz", 80), None);
}

#[test]
fn very_many_unknown_names_do_not_cost_a_search_each() {
    let objects = objects(YAML);
    let snapshot = Snapshot::compile(input(&objects, &[workload("a", "orders")]));
    let nearest = |name: &str| match snapshot.destination(&ServicePort::new("shop", name, 80)).state {
        State::Unknown { nearest } => nearest,
        State::Service(_) => panic!("{name} is known"),
    };
    let first = nearest("order");
    assert_eq!(first.as_deref(), Some("shop/orders"));
    let hints = (0..1000).filter(|n| nearest(&format!("orders{n}")).is_some()).count();
    assert!(hints > 0 && hints < 1000, "{hints}");
    assert_eq!(nearest("order"), first, "what was found stays");
}

#[test]
fn every_workload_has_its_inbound() {
    let objects = objects(
        "apiVersion: weft.dev/v1alpha1\nkind: MeshConfig\nmetadata: {name: default}\nspec: {accessLog: true, drainTimeout: 5s}",
    );
    let inbound = Snapshot::compile(input(&objects, &[])).inbound("anything");
    assert_eq!(inbound.workload, "anything");
    assert!(inbound.access_log);
    assert_eq!(inbound.drain_timeout, std::time::Duration::from_secs(5));
}
