//! YAML to snapshot, as a person can read it. A new case is a new file: `golden/NAME.yaml` with the resources, where
//! needed `golden/NAME.endpoints.yaml` with the workloads and the resolved names, and what comes out of them in
//! `golden/NAME.snapshot`, which `WEFT_REGENERATE=1` writes anew.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::Deserialize;
use weft_certs::{SpiffeId, TrustDomain};
use weft_control_plane::{
    resources::{self, MeshServiceSpec, Object, Objects, Source, Spec},
    snapshot::{
        Input, Snapshot, VirtualAddresses, WorkloadEndpoint, WorkloadPort, WorkloadPorts, Workloads, describe_routes,
    },
};
use weft_proxy_api::{
    Backend, Destination, EndpointSet, Host, Leads, Resource, Service, ServiceName, ServicePort, State,
    route::{Route, Rule, TlsRoute},
};

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Endpoints {
    #[serde(default)]
    workloads: Vec<Workload>,
    #[serde(default)]
    resolved: Vec<Resolved>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Workload {
    id: String,
    service: String,
    port: u16,
    address: SocketAddr,
    #[serde(default)]
    order: u64,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    zone: String,
    #[serde(default = "yes")]
    serving: bool,
    #[serde(default)]
    further: Vec<FurtherPort>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FurtherPort {
    port: u16,
    address: SocketAddr,
    #[serde(default = "yes")]
    serving: bool,
}

fn yes() -> bool {
    true
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Resolved {
    host: String,
    port: u16,
    addresses: Vec<SocketAddr>,
}

struct Case {
    objects: Objects,
    workloads: Vec<WorkloadEndpoint>,
    resolved: BTreeMap<(String, u16), Vec<SocketAddr>>,
}

impl Case {
    fn read(file: &Path) -> Self {
        let endpoints: Endpoints = match fs::read_to_string(file.with_extension("endpoints.yaml")) {
            Ok(text) => serde_saphyr::from_str(&text).unwrap(),
            Err(_) => Endpoints::default(),
        };
        let resolved = endpoints.resolved.into_iter().map(|r| ((r.host, r.port), r.addresses)).collect();
        let workloads = endpoints.workloads.into_iter().map(Workload::into_endpoint).collect();
        Self { objects: objects(file), workloads, resolved }
    }

    fn snapshot(&self) -> Snapshot {
        let mut input = Input {
            objects: Arc::new(self.objects.clone()),
            workloads: Arc::new(self.workloads.iter().cloned().collect()),
            resolved: Arc::new(self.resolved.clone()),
            virtual_addresses: VirtualAddresses::default(),
        };
        for service in Snapshot::compile(input.clone()).services() {
            input.virtual_addresses.give(&service);
        }
        Snapshot::compile(input)
    }
}

impl Workload {
    fn into_endpoint(self) -> WorkloadEndpoint {
        let trust_domain: TrustDomain = "weft.local".parse().unwrap();
        let service: ServiceName = self.service.parse().unwrap();
        WorkloadEndpoint {
            identity: SpiffeId::workload(&trust_domain, &service.namespace, &service.service).unwrap(),
            id: self.id,
            service,
            ports: WorkloadPorts {
                first: WorkloadPort { service_port: self.port, address: self.address, serving: self.serving },
                further_ports: self.further.into_iter().map(FurtherPort::into_port).collect(),
            },
            order: self.order,
            labels: self.labels,
            zone: self.zone,
        }
    }
}

impl FurtherPort {
    fn into_port(self) -> WorkloadPort {
        WorkloadPort { service_port: self.port, address: self.address, serving: self.serving }
    }
}

fn objects(file: &Path) -> Objects {
    parsed(file).into_iter().collect()
}

fn parsed(file: &Path) -> Vec<Object> {
    let text = fs::read_to_string(file).unwrap();
    let documents = resources::read_yaml(&file.display().to_string(), &text).unwrap();
    let values: Vec<serde_json::Value> = documents.iter().map(|document| document.value.clone()).collect();
    resources::parse(&values, "default").unwrap_or_else(|mut problems| {
        resources::place(&mut problems, &documents);
        panic!("{}", problems[0]);
    })
}

fn cases() -> Vec<(PathBuf, Case)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| {
        let name = file.to_string_lossy();
        name.ends_with(".yaml") && !name.ends_with(".endpoints.yaml")
    });
    files.sort();
    assert!(files.len() >= 8, "the cases are not where they should be");
    files.into_iter().map(|file| (file.clone(), Case::read(&file))).collect()
}

/// The whole snapshot: for each service port its routes as people see them, then everything that a sidecar is told.
fn readable(case: &Case) -> String {
    let snapshot = case.snapshot();
    let mut text = String::new();
    for problem in resources::check(&case.objects, case.workloads.iter().cloned().collect::<Workloads>().implied()) {
        writeln!(text, "problem: {problem}").unwrap();
    }
    writeln!(text, "{:?}", snapshot.inbound("any")).unwrap();
    for workload in &case.workloads {
        writeln!(text, "{:?}", snapshot.inbound(&workload.id)).unwrap();
    }
    write_addresses(&mut text, case, &snapshot).unwrap();
    for service in snapshot.services() {
        for port in snapshot.service_ports(&service) {
            let name = service.port(port);
            let destination = snapshot.destination(&name);
            writeln!(text, "\n{name}").unwrap();
            for line in describe_routes(&destination) {
                let sticky = line.sticky.map(|sticky| format!(", sticky {sticky}")).unwrap_or_default();
                writeln!(text, "  {} -> {}{sticky} ({})", line.matches, line.to.join(" | "), line.from).unwrap();
            }
            match destination.state {
                State::Service(service) => write_service(&mut text, &service).unwrap(),
                State::Unknown { .. } => panic!("{name} is a service of the mesh"),
            }
            for endpoint in snapshot.endpoints(&name).endpoints {
                writeln!(text, "  {endpoint:?}").unwrap();
            }
        }
    }
    text
}

/// Where every address leads that the case has, those that DNS said among them.
fn write_addresses(text: &mut String, case: &Case, snapshot: &Snapshot) -> std::fmt::Result {
    for service in snapshot.services() {
        let Host { name, addresses } = snapshot.host(&service);
        writeln!(text, "host {name} {addresses:?}")?;
    }
    let ports = snapshot.services().into_iter().flat_map(|service| {
        snapshot.service_ports(&service).into_iter().map(|port| service.port(port)).collect::<Vec<_>>()
    });
    let endpoints = ports.flat_map(|name| snapshot.endpoints(&name).endpoints).map(|endpoint| endpoint.address);
    let workloads = case.workloads.iter().flat_map(|workload| workload.ports.iter().map(|port| port.address));
    for address in endpoints.chain(workloads).collect::<BTreeSet<_>>() {
        match snapshot.address(address).leads {
            Leads::Outside => writeln!(text, "{address} leads outside")?,
            Leads::Service(service) => writeln!(text, "{address} leads to {service}")?,
            Leads::Member { service, endpoint } => writeln!(text, "{address} leads to {service} {endpoint:?}")?,
        }
    }
    Ok(())
}

fn write_service(text: &mut String, service: &Service) -> std::fmt::Result {
    let Service { protocol, routes, rules, backends, tls_routes, opaque_rule } = service;
    writeln!(text, "  protocol {protocol:?}")?;
    for TlsRoute { hostnames, rule } in tls_routes {
        writeln!(text, "  server name {hostnames:?} -> rule {rule}")?;
    }
    if let Some(rule) = opaque_rule {
        writeln!(text, "  carried as bytes -> rule {rule}")?;
    }
    for Route { matches, rule } in routes {
        writeln!(text, "  {matches:?} -> rule {rule}")?;
    }
    for (index, Rule { origin, filters, action, policies }) in rules.iter().enumerate() {
        writeln!(text, "  rule {index}, from {origin}\n    {action:?}\n    {filters:?}\n    {policies:?}")?;
    }
    for backend in backends {
        let Backend { name, protocol, load_balancer, circuit_breaker, endpoint_circuit_breaker, .. } = backend;
        let Backend { max_ejected_percent, min_available, connect_timeout, fallback, .. } = backend;
        let Backend { bulkhead, retry_budget, .. } = backend;
        writeln!(text, "  backend {name} {protocol:?} {load_balancer:?}, connect within {connect_timeout:?}")?;
        writeln!(
            text,
            "    {circuit_breaker:?}\n    each endpoint, of at most {max_ejected_percent} %, {min_available} always stay:"
        )?;
        writeln!(text, "    {endpoint_circuit_breaker:?}\n    {bulkhead:?}\n    {retry_budget:?}")?;
        if let Some(fallback) = fallback {
            writeln!(text, "    fallback {fallback}")?;
        }
    }
    Ok(())
}

#[test]
fn snapshots_are_what_they_were() {
    let regenerate = std::env::var_os("WEFT_REGENERATE").is_some();
    let mut wrong = Vec::new();
    for (file, case) in cases() {
        let expected = file.with_extension("snapshot");
        let found = readable(&case);
        if regenerate {
            fs::write(&expected, found).unwrap();
        } else if fs::read_to_string(&expected).unwrap_or_default() != found {
            wrong.push(format!("{}:\n{found}", expected.display()));
        }
    }
    assert!(wrong.is_empty(), "look at the differences, then run with WEFT_REGENERATE=1:\n{}", wrong.join("\n"));
}

/// Whatever the control plane compiles, a sidecar takes it as it is.
#[test]
fn sidecars_read_what_is_sent() {
    for (file, case) in cases() {
        let snapshot = case.snapshot();
        let names = snapshot.services().into_iter().flat_map(|service| {
            snapshot.service_ports(&service).into_iter().map(|port| service.port(port)).collect::<Vec<_>>()
        });
        for name in names {
            let (destination, endpoints): (Destination, EndpointSet) =
                (snapshot.destination(&name), snapshot.endpoints(&name));
            let sent = Resource::Destination(destination.clone()).encode();
            let Ok(Resource::Destination(read)) = Resource::decode(sent) else { panic!("{} {name}", file.display()) };
            assert_eq!(read, destination, "{}", file.display());
            let sent = Resource::EndpointSet(endpoints.clone()).encode();
            let Ok(Resource::EndpointSet(read)) = Resource::decode(sent) else { panic!("{} {name}", file.display()) };
            assert_eq!(read, endpoints, "{}", file.display());
            let sent = Resource::Host(snapshot.host(&name.service_name())).encode();
            let Ok(Resource::Host(read)) = Resource::decode(sent) else { panic!("{} {name}", file.display()) };
            assert_eq!(read, snapshot.host(&name.service_name()), "{}", file.display());
        }
        for workload in &case.workloads {
            for address in workload.ports.iter().map(|port| port.address) {
                let sent = Resource::Address(snapshot.address(address)).encode();
                let Ok(Resource::Address(read)) = Resource::decode(sent) else { panic!("{}", file.display()) };
                assert_eq!(read, snapshot.address(address), "{}", file.display());
            }
            let sent = Resource::Inbound(snapshot.inbound(&workload.id)).encode();
            let Ok(Resource::Inbound(read)) = Resource::decode(sent) else { panic!("{}", file.display()) };
            assert_eq!(read, snapshot.inbound(&workload.id), "{}", file.display());
        }
    }
}

#[test]
fn equal_input_is_equal_bytes_and_other_input_is_not() {
    let mut seen = BTreeSet::new();
    for (file, case) in cases() {
        let bytes = case.snapshot().encode();
        let mut reversed = Case::read(&file);
        reversed.workloads.reverse();
        reversed.resolved.values_mut().for_each(|addresses| addresses.reverse());
        assert_eq!(reversed.snapshot().encode(), bytes, "{}: the order of the input shows", file.display());
        assert!(seen.insert(bytes), "{}: the same snapshot as another case", file.display());
    }
}

/// What the repository shows to people is accepted: the files of a folder all together, those of `policies` each with the
/// services that they are for.
#[test]
fn the_examples_hold() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    for example in fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()) {
        let files: Vec<PathBuf> = fs::read_dir(&example)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|file| file.extension().is_some_and(|extension| extension == "yaml"))
            // Others are for Docker and Prometheus.
            .filter(|file| fs::read_to_string(file).unwrap().contains("apiVersion: "))
            .collect();
        assert!(!files.is_empty(), "{}", example.display());
        match example.ends_with("policies") {
            false => accepted(&files),
            true => files.iter().for_each(|file| accepted(&[example.join("services.yaml"), file.clone()])),
        }
    }
}

/// An object of a later file stands in the place of one with the same name.
fn accepted(files: &[PathBuf]) {
    let all: Objects = files.iter().flat_map(|file| parsed(file)).collect();
    assert_eq!(resources::check(&all, &registered(&all)), [], "{files:?}");
}

/// The services that the objects expect workloads of.
fn registered(objects: &Objects) -> BTreeSet<ServicePort> {
    let selected = |object: &Arc<Object>| match &object.spec {
        Spec::MeshService(MeshServiceSpec { source: Source::Workloads(selector), .. }) => {
            Some(ServicePort::new(&object.key.namespace, &selector.service, 80))
        }
        _ => None,
    };
    objects.iter().filter_map(selected).collect()
}

/// So is every resource in the documentation, each for itself: a page shows parts.
#[test]
fn the_documentation_holds() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    let mut shown = 0;
    for page in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        let text = fs::read_to_string(&page).unwrap_or_default();
        let blocks = text.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next());
        for block in blocks.filter(|block| block.contains("apiVersion:")) {
            let documents = resources::read_yaml("block", block).unwrap();
            let values: Vec<serde_json::Value> = documents.into_iter().map(|document| document.value).collect();
            let parsed = resources::parse(&values, "default");
            parsed.unwrap_or_else(|problems| panic!("{}: {}\n{block}", page.display(), problems[0]));
            shown += 1;
        }
    }
    assert!(shown > 0, "the documentation shows no resource, or not where it should be");
}
