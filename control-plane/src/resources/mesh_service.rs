//! `MeshService`: a service by name, its ports, and where its endpoints come from.

use std::{collections::BTreeMap, net::SocketAddr};

use schemars::JsonSchema;
use serde::Deserialize;
use weft_certs::SpiffeId;
use weft_proxy_api::{name::is_label, virtual_address::is_virtual};

use super::{
    catalog::Port,
    health_check,
    problem::{Path, Report},
    protocol::Said,
};

/// As it is written: what a file and a CRD hold.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Written {
    #[serde(default)]
    ports: Vec<WrittenPort>,
    workloads: Option<WrittenSelector>,
    dns: Option<WrittenDns>,
    r#static: Option<Vec<WrittenEndpoint>>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct WrittenPort {
    #[schemars(range(min = 1, max = 65535))]
    port: u16,
    name: Option<String>,
    #[schemars(extend("enum" = ["http", "http2", "grpc", "tcp", "tls"]))]
    protocol: Option<String>,
    app_protocol: Option<String>,
    health_check: Option<health_check::Written>,
}

#[derive(Debug, Deserialize, JsonSchema)]
struct WrittenSelector {
    service: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
struct WrittenDns {
    host: String,
    #[schemars(range(min = 1, max = 65535))]
    port: u16,
}

#[derive(Debug, Deserialize, JsonSchema)]
struct WrittenEndpoint {
    address: String,
    identity: Option<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct MeshServiceSpec {
    /// At least one; no number and no name twice.
    pub ports: Vec<Port>,
    pub source: Source,
}

/// Where the endpoints come from.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    Workloads(WorkloadSelector),
    Dns(Dns),
    Static(Vec<StaticEndpoint>),
}

impl Source {
    /// Whether none of the endpoints can be in the mesh.
    pub fn is_outside(&self) -> bool {
        match self {
            Self::Workloads(_) => false,
            Self::Dns(_) => true,
            Self::Static(endpoints) => endpoints.iter().all(|endpoint| endpoint.identity.is_none()),
        }
    }
}

/// Registered workloads of the service's own namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkloadSelector {
    /// The service that the workload registered for.
    pub service: String,
    /// All must be there.
    pub labels: BTreeMap<String, String>,
}

/// A name outside the mesh, reached in plaintext.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dns {
    pub host: String,
    pub port: u16,
}

#[derive(Clone, Debug, PartialEq)]
pub struct StaticEndpoint {
    pub address: SocketAddr,
    /// `None`: outside the mesh, reached in plaintext.
    pub identity: Option<Box<SpiffeId>>,
}

pub(super) const DEFAULT_PORT: u16 = 80;

impl Written {
    pub fn read(self, report: &mut Report) -> Option<MeshServiceSpec> {
        let spec = Path::spec();
        let ports = read_ports(self.ports, &spec.field("ports"), report);
        let workloads = self.workloads.map(|written| read_selector(written, &spec.field("workloads"), report));
        let dns = self.dns.map(|written| read_dns(written, &spec.field("dns"), report));
        let fixed = self.r#static.map(|written| read_static(written, &spec.field("static"), report));
        if workloads.is_none() && (dns.is_some() || fixed.is_some()) {
            refuse_health_checks(&ports, &spec.field("ports"), report);
        }
        match (workloads, dns, fixed) {
            (Some(selector), None, None) => Some(MeshServiceSpec { ports, source: Source::Workloads(selector) }),
            (None, Some(dns), None) => Some(MeshServiceSpec { ports, source: Source::Dns(dns) }),
            (None, None, Some(endpoints)) => Some(MeshServiceSpec { ports, source: Source::Static(endpoints) }),
            (None, None, None) => {
                let hint = "add one of workloads, dns, static".to_owned();
                report.error_with_hint(&spec, "nothing says where the endpoints come from", hint);
                None
            }
            _ => {
                report.error(&spec, "endpoints come from exactly one of workloads, dns and static, not from several");
                None
            }
        }
    }
}

fn read_ports(written: Vec<WrittenPort>, path: &Path, report: &mut Report) -> Vec<Port> {
    if written.is_empty() {
        return vec![Port::new(DEFAULT_PORT)];
    }
    let mut ports: Vec<Port> = Vec::new();
    for (index, port) in written.into_iter().enumerate() {
        let path = path.index(index);
        if ports.iter().any(|other| other.number == port.port) {
            report.error(&path.field("port"), format!("port {} is declared twice", port.port));
        }
        if let Some(name) = &port.name {
            if !is_label(name) {
                report.error(&path.field("name"), format!("{name:?} is not a port name: {LABEL}"));
            } else if ports.iter().any(|other| other.name.as_ref() == Some(name)) {
                report.error(&path.field("name"), format!("the port name {name:?} is given twice"));
            }
        }
        let said = Said {
            protocol: port.protocol.as_deref(),
            app_protocol: port.app_protocol.as_deref(),
            name: port.name.as_deref(),
        };
        let protocol = said.read(&path, report);
        let health_check = port.health_check.and_then(|written| written.read(&path.field("healthCheck"), report));
        ports.push(Port { number: port.port, name: port.name, protocol, health_check: health_check.map(Box::new) });
    }
    ports.shrink_to_fit();
    ports
}

/// An application is checked by its own sidecar, and these endpoints have none that the control plane tells about it.
fn refuse_health_checks(ports: &[Port], path: &Path, report: &mut Report) {
    for (index, _) in ports.iter().enumerate().filter(|(_, port)| port.health_check.is_some()) {
        let reason = "has no effect: applications are checked by the sidecars of registered workloads";
        let hint = "the endpoints of this service come from dns or static, not from workloads".to_owned();
        report.error_with_hint(&path.index(index).field("healthCheck"), reason, hint);
    }
}

/// What a label of DNS looks like, for messages.
pub(super) const LABEL: &str = "lower-case letters, digits and '-', at most 63, no '-' at the ends (RFC 1123)";

fn read_selector(written: WrittenSelector, path: &Path, report: &mut Report) -> WorkloadSelector {
    if !is_label(&written.service) {
        report.error(&path.field("service"), format!("{:?} is not a service name: {LABEL}", written.service));
    }
    WorkloadSelector { service: written.service, labels: written.labels }
}

fn read_dns(written: WrittenDns, path: &Path, report: &mut Report) -> Dns {
    let path = path.field("host");
    if written.host.parse::<std::net::IpAddr>().is_ok() {
        let hint = "write it under static".to_owned();
        report.error_with_hint(&path, format!("{} is an address, not a DNS name", written.host), hint);
    } else if !is_dns_name(&written.host) {
        report.error(&path, format!("{:?} is not a DNS name", written.host));
    }
    Dns { host: written.host, port: written.port }
}

/// Underscores are not for hosts, but they occur in names that answer.
pub(super) fn is_dns_name(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    let inner = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    let label = |label: &str| {
        (1..=63).contains(&label.len()) && label.bytes().all(inner) && !label.starts_with('-') && !label.ends_with('-')
    };
    name.len() <= 253 && name.split('.').all(label)
}

fn read_static(written: Vec<WrittenEndpoint>, path: &Path, report: &mut Report) -> Vec<StaticEndpoint> {
    if written.is_empty() {
        report.error(path, "the list of endpoints is empty");
    }
    let mut endpoints: Vec<StaticEndpoint> = Vec::new();
    for (index, endpoint) in written.into_iter().enumerate() {
        let path = path.index(index);
        let identity = endpoint.identity.and_then(|text| {
            let parsed = text.parse::<SpiffeId>();
            parsed.map_err(|e| report.error(&path.field("identity"), format!("{text:?}: {e}"))).ok()
        });
        let path = path.field("address");
        match endpoint.address.parse::<SocketAddr>() {
            Err(_) => report.error_with_hint(
                &path,
                format!("{:?} is not an address with a port", endpoint.address),
                "write it as 10.0.0.1:8080 or [::1]:8080; for a name, use dns".to_owned(),
            ),
            Ok(address) if is_virtual(address.ip()) => {
                report.error(&path, format!("{address} is of the range that the mesh gives out to services itself"));
            }
            Ok(address) if endpoints.iter().any(|other| other.address == address) => {
                report.error(&path, format!("{address} is listed twice"));
            }
            Ok(address) => endpoints.push(StaticEndpoint { address, identity: identity.map(Box::new) }),
        }
    }
    // There are many of these in a large mesh.
    endpoints.shrink_to_fit();
    endpoints
}
