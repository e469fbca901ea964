use std::collections::BTreeMap;

use super::*;
use crate::{
    resources::{Objects, parse, read_yaml},
    snapshot::{Snapshot, WorkloadPort, Workloads},
};

const LISTED: &str = "
apiVersion: weft.dev/v1alpha1
kind: MeshService
metadata: {name: listed}
spec:
  ports: [{port: 81}, {port: 80}]
  static: [{address: '10.0.0.1:80'}, {address: '10.0.0.2:7000', identity: 'spiffe://weft.local/ns/shop/sa/b'}]
---
apiVersion: weft.dev/v1alpha1
kind: MeshService
metadata: {name: ledger}
spec: {dns: {host: ledger.test, port: 80}}
";

fn objects(yaml: &str) -> Arc<Objects> {
    let documents: Vec<_> = read_yaml("a.yaml", yaml).unwrap().into_iter().map(|document| document.value).collect();
    Arc::new(parse(&documents, "shop").unwrap().into_iter().collect())
}

fn workload(id: &str, address: &str, order: u64) -> WorkloadEndpoint {
    WorkloadEndpoint {
        id: id.into(),
        service: ServiceName::new("shop", "orders"),
        ports: WorkloadPort { service_port: 80, address: address.parse().unwrap(), serving: true }.into(),
        order,
        identity: "spiffe://weft.local/ns/shop/sa/orders".parse().unwrap(),
        labels: BTreeMap::new(),
        zone: String::new(),
    }
}

fn input(objects: &Arc<Objects>, workloads: &[WorkloadEndpoint]) -> Input {
    let workloads: Workloads = workloads.iter().cloned().collect();
    Input { objects: objects.clone(), workloads: Arc::new(workloads), ..Input::default() }
}

/// For example `shop/orders:80 as a`.
fn leads(snapshot: &Snapshot, address: &str) -> String {
    match snapshot.address(address.parse().unwrap()).leads {
        Leads::Service(service) => service.to_string(),
        Leads::Member { service, endpoint } => format!("{service} as {}", endpoint.id),
        Leads::Outside => "outside".into(),
    }
}

#[test]
fn an_address_that_comes_to_another_workload_leads_there() {
    let none = Arc::default();
    let before = Snapshot::compile(input(&none, &[workload("a", "10.0.1.1:80", 1)]));
    assert_eq!(leads(&before, "10.0.1.1:80"), "shop/orders:80 as a");
    assert_eq!(leads(&before, "[::ffff:10.0.1.1]:80"), "shop/orders:80 as a", "the same address, written as IPv6");
    assert_eq!((leads(&before, "10.0.1.1:81"), leads(&before, "10.0.1.2:80")), ("outside".into(), "outside".into()));

    // The lease of the one before has not ended.
    let both = [workload("a", "10.0.1.1:80", 1), workload("b", "10.0.1.1:80", 2)];
    let reused = before.after(input(&none, &both)).0;
    assert_eq!(leads(&reused, "10.0.1.1:80"), "shop/orders:80 as b");
    let moved = [workload("a", "10.0.1.1:80", 1), workload("b", "10.0.1.3:80", 3)];
    let moved = reused.after(input(&none, &moved)).0;
    assert_eq!(leads(&moved, "10.0.1.1:80"), "shop/orders:80 as a");
    assert_eq!(leads(&moved, "10.0.1.3:80"), "shop/orders:80 as b");
    let gone = moved.after(input(&none, &[])).0;
    assert_eq!((leads(&gone, "10.0.1.1:80"), leads(&gone, "10.0.1.3:80")), ("outside".into(), "outside".into()));
    assert_eq!(leads(&before, "10.0.1.1:80"), "shop/orders:80 as a", "an older snapshot stays what it is");
}

#[test]
fn each_address_of_a_workload_leads_to_it() {
    let mut both = workload("a", "10.0.1.1:80", 1);
    let further = WorkloadPort { service_port: 9090, address: "10.0.1.1:9090".parse().unwrap(), serving: true };
    both.ports.further_ports.push(further);
    let none = Arc::default();
    let before = Snapshot::compile(input(&none, &[both]));
    assert_eq!(leads(&before, "10.0.1.1:80"), "shop/orders:80 as a");
    assert_eq!(leads(&before, "10.0.1.1:9090"), "shop/orders:9090 as a");
    let (after, touched) = before.after(input(&none, &[workload("a", "10.0.1.1:80", 1)]));
    assert_eq!(leads(&after, "10.0.1.1:9090"), "outside");
    assert!(touched.concerns(&before.used_by_address("10.0.1.1:9090".parse().unwrap()).unwrap()));
}

#[test]
fn a_member_is_the_endpoint_that_callers_of_the_service_are_told() {
    let snapshot = Snapshot::compile(input(&objects(LISTED), &[workload("a", "10.0.1.1:80", 1)]));
    for (address, service) in [
        ("10.0.1.1:80", ServicePort::new("shop", "orders", 80)),
        ("10.0.0.1:80", ServicePort::new("shop", "listed", 80)),
        // No port of the service has this number: the first.
        ("10.0.0.2:7000", ServicePort::new("shop", "listed", 81)),
    ] {
        let address = address.parse().unwrap();
        let endpoint = snapshot.endpoints(&service).endpoints.into_iter().find(|endpoint| endpoint.address == address);
        let expected = Leads::Member { service, endpoint: endpoint.unwrap() };
        assert_eq!(snapshot.address(address), Address { address, leads: expected });
    }
}

#[test]
fn a_workload_that_does_not_answer_is_of_the_mesh_all_the_same() {
    let mut silent = workload("a", "10.0.1.1:80", 1);
    silent.ports.first.serving = false;
    let snapshot = Snapshot::compile(input(&Arc::default(), &[silent]));
    let Leads::Member { endpoint, .. } = snapshot.address("10.0.1.1:80".parse().unwrap()).leads else {
        panic!("a member")
    };
    assert!(!endpoint.healthy && endpoint.identity.is_some());
    assert!(snapshot.endpoints(&ServicePort::new("shop", "orders", 80)).endpoints.is_empty());
}

#[test]
fn what_dns_said_is_outside() {
    let resolved = [(("ledger.test".to_owned(), 80), vec!["192.0.2.1:80".parse().unwrap()])];
    let input = Input { resolved: Arc::new(resolved.into()), ..input(&objects(LISTED), &[]) };
    let snapshot = Snapshot::compile(input);
    assert_eq!(snapshot.endpoints(&ServicePort::new("shop", "ledger", 80)).endpoints.len(), 1);
    assert_eq!(leads(&snapshot, "192.0.2.1:80"), "outside");
}

#[test]
fn a_virtual_address_leads_to_its_service_for_as_long_as_it_exists() {
    let orders = ServiceName::new("shop", "orders");
    let mut with = input(&Arc::default(), &[workload("a", "10.0.1.1:80", 1)]);
    let address = with.virtual_addresses.give(&orders).unwrap();
    let without = Input { workloads: Arc::default(), ..with.clone() };
    let there = Snapshot::compile(with);
    assert_eq!(there.host(&orders).addresses.len(), 2);
    for ip in there.host(&orders).addresses {
        assert_eq!(leads(&there, &SocketAddr::new(ip, 80).to_string()), "shop/orders:80");
        // Whether the service has the port is the destination's to say.
        assert_eq!(leads(&there, &SocketAddr::new(ip, 81).to_string()), "shop/orders:81");
    }
    assert_eq!(leads(&there, "240.0.1.1:80"), "outside", "nobody has it");

    let (gone, touched) = there.after(without);
    let address = SocketAddr::new(address.into(), 80);
    assert_eq!(leads(&gone, &address.to_string()), "outside");
    assert!(gone.host(&orders).addresses.is_empty());
    assert!(touched.concerns(&there.used_by_address(address).unwrap()));
    assert!(touched.concerns(&there.used_by_host(&orders).unwrap()));
    assert_eq!(gone.used_by_address(address), None, "who gets it next, nobody knows");
}
