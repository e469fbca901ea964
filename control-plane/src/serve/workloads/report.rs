//! One report, from the wire: what it claims to serve, and what it shows. Pure.

use std::net::SocketAddr;

use jiff::Timestamp;
use weft_certs::SpiffeId;
use weft_proxy_api::{MOST_PORTS, name::is_label, proto::workload::v1 as pb, virtual_address::is_virtual};

use crate::{
    fleet::{Circuit, Sidecar},
    snapshot::{WorkloadPort, WorkloadPorts},
    store::Registration,
};

/// Every label and circuit travels to people and is held in memory for the workload's life.
const MAX_LABELS: usize = 64;
const MAX_TEXT: usize = 256;
const MAX_CIRCUITS: usize = 4096;

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegistrationError {
    #[error("{0:?} is not a service name: it must be a DNS label, in the namespace of the workload's identity")]
    Service(String),
    #[error("the service port {0} is not from 1 to 65535")]
    Port(u32),
    #[error("{0:?} is not an address that others can connect to: expected ip:port")]
    Address(String),
    #[error("it registers {0} ports; a workload has {MOST_PORTS} at most")]
    TooManyPorts(usize),
    #[error(
        "{0} is registered twice: each port of a workload has a service port and a port of the application of its own"
    )]
    Twice(String),
    #[error("{0} is of another IP address than the first port: a workload has one")]
    Elsewhere(SocketAddr),
    #[error("a workload may have {MAX_LABELS} labels of {MAX_TEXT} characters each, none of them a control character")]
    Labels,
}

pub fn registration(
    wire: pb::Registration,
    serving: bool,
    identity: &SpiffeId,
) -> Result<Registration, RegistrationError> {
    if !is_label(&wire.service) {
        return Err(RegistrationError::Service(wire.service));
    }
    // They are shown on terminals.
    let fits = |text: &str| text.len() <= MAX_TEXT && !text.contains(char::is_control);
    if wire.labels.len() > MAX_LABELS || wire.labels.iter().any(|(key, value)| !fits(key) || !fits(value)) {
        return Err(RegistrationError::Labels);
    }
    let first = port(wire.service_port, wire.address, serving)?;
    Ok(Registration {
        identity: identity.clone(),
        service: wire.service,
        ports: ports(first, wire.further_ports)?,
        labels: wire.labels.into_iter().collect(),
        zone: short(wire.zone),
    })
}

fn ports(first: WorkloadPort, further: Vec<pb::FurtherPort>) -> Result<WorkloadPorts, RegistrationError> {
    if further.len() >= MOST_PORTS {
        return Err(RegistrationError::TooManyPorts(further.len() + 1));
    }
    let ip = first.address.ip().to_canonical();
    let mut ports = WorkloadPorts::from(first);
    for pb::FurtherPort { service_port, address, serving } in further {
        let next = port(service_port, address, serving)?;
        if next.address.ip().to_canonical() != ip {
            return Err(RegistrationError::Elsewhere(next.address));
        }
        for other in ports.iter() {
            if other.service_port == next.service_port {
                return Err(RegistrationError::Twice(format!("the service port {}", next.service_port)));
            }
            // Policies are held by the number that callers connect to.
            if other.address.port() == next.address.port() {
                return Err(RegistrationError::Twice(format!("the address {}", next.address)));
            }
        }
        ports.further_ports.push(next);
    }
    Ok(ports)
}

fn port(service_port: u32, address: String, serving: bool) -> Result<WorkloadPort, RegistrationError> {
    let number = u16::try_from(service_port).ok().filter(|port| *port > 0);
    let reachable =
        |address: &SocketAddr| !address.ip().is_unspecified() && address.port() > 0 && !is_virtual(address.ip());
    Ok(WorkloadPort {
        service_port: number.ok_or(RegistrationError::Port(service_port))?,
        address: address.parse().ok().filter(reachable).ok_or(RegistrationError::Address(address))?,
        serving,
    })
}

/// Keeps what people are shown about the sidecar.
pub fn show(report: pb::WorkloadReport, sidecar: &mut Sidecar) {
    sidecar.circuits = report.circuits.into_iter().take(MAX_CIRCUITS).map(circuit).collect();
    sidecar.cause = short(report.cause);
    sidecar.svid_not_after = Timestamp::from_second(report.svid_not_after).ok().filter(|_| report.svid_not_after > 0);
    sidecar.version = short(report.version);
}

fn circuit(wire: pb::Circuit) -> Circuit {
    let state = match wire.state() {
        pb::circuit::State::Closed => "closed",
        pb::circuit::State::Open => "open",
        pb::circuit::State::HalfOpen => "half-open",
    };
    Circuit {
        state,
        backend: short(wire.backend),
        endpoint: Some(short(wire.endpoint)).filter(|endpoint| !endpoint.is_empty()),
        cause: short(wire.cause),
        since: Timestamp::from_millisecond(wire.since_ms).unwrap_or(Timestamp::UNIX_EPOCH),
        times_opened: wire.times_opened,
        dry_run: wire.dry_run,
    }
}

fn short(text: String) -> String {
    match text.char_indices().nth(MAX_TEXT) {
        Some((end, _)) => text.get(..end).unwrap_or_default().to_owned(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire() -> pb::Registration {
        pb::Registration {
            service: "orders".into(),
            service_port: 80,
            address: "10.0.0.1:15006".into(),
            ..Default::default()
        }
    }

    fn check(wire: pb::Registration) -> Result<Registration, RegistrationError> {
        registration(wire, true, &"spiffe://weft.local/ns/shop/sa/orders".parse().unwrap())
    }

    #[test]
    fn a_registration_is_in_the_namespace_of_its_identity() {
        assert_eq!(check(wire()).unwrap().service_name().to_string(), "shop/orders");
    }

    #[test]
    fn impossible_registrations_are_refused() {
        for service in ["", "other/orders", "Orders"] {
            let bad = pb::Registration { service: service.into(), ..wire() };
            assert_eq!(check(bad), Err(RegistrationError::Service(service.into())));
        }
        for address in ["", "0.0.0.0:80", "10.0.0.1:0", "orders:80", "240.0.1.1:80", "[fd77:6566:7400::f000:101]:80"] {
            let bad = pb::Registration { address: address.into(), ..wire() };
            assert_eq!(check(bad), Err(RegistrationError::Address(address.into())));
        }
        assert_eq!(check(pb::Registration { service_port: 65_536, ..wire() }), Err(RegistrationError::Port(65_536)));
        let labels = (0..65).map(|n| (n.to_string(), String::new())).collect();
        assert_eq!(check(pb::Registration { labels, ..wire() }), Err(RegistrationError::Labels));
        for (key, value) in [("version", "v1\u{1b}[2J"), ("ver\nsion", "v1"), ("version", "\u{9b}31m")] {
            let labels = [(key.to_owned(), value.to_owned())].into();
            assert_eq!(check(pb::Registration { labels, ..wire() }), Err(RegistrationError::Labels), "{value:?}");
        }
    }

    #[test]
    fn each_port_has_a_number_and_an_address_of_its_own() {
        let further = |ports: &[(u32, &str)]| {
            let port = |(service_port, address): &(u32, &str)| pb::FurtherPort {
                service_port: *service_port,
                address: (*address).into(),
                serving: false,
            };
            check(pb::Registration { further_ports: ports.iter().map(port).collect(), ..wire() })
        };
        let registered = further(&[(9090, "10.0.0.1:9090"), (9091, "10.0.0.1:9091")]).unwrap();
        let ports = registered.ports.iter().map(|port| (port.service_port, port.address.port(), port.serving));
        assert_eq!(ports.collect::<Vec<_>>(), [(80, 15006, true), (9090, 9090, false), (9091, 9091, false)]);
        assert_eq!(further(&[(0, "10.0.0.1:9090")]), Err(RegistrationError::Port(0)));
        assert_eq!(further(&[(1, "0.0.0.0:9090")]), Err(RegistrationError::Address("0.0.0.0:9090".into())));
        let twice = |what: &str| Err(RegistrationError::Twice(what.into()));
        assert_eq!(further(&[(80, "10.0.0.1:9090")]), twice("the service port 80"));
        assert_eq!(further(&[(90, "10.0.0.1:15006")]), twice("the address 10.0.0.1:15006"));
        assert_eq!(further(&[(90, "10.0.0.1:1"), (91, "10.0.0.1:1")]), twice("the address 10.0.0.1:1"));
        let many: Vec<_> = (0..64).map(|n| (1000 + n, "10.0.0.1:1")).collect();
        assert_eq!(further(&many), Err(RegistrationError::TooManyPorts(65)));
        let elsewhere = "10.0.0.2:1".parse().unwrap();
        assert_eq!(further(&[(90, "10.0.0.2:1")]), Err(RegistrationError::Elsewhere(elsewhere)));
        assert_eq!(further(&[(90, "[::ffff:10.0.0.1]:15006")]), twice("the address [::ffff:10.0.0.1]:15006"));
    }

    #[test]
    fn text_from_outside_has_an_end() {
        assert_eq!(short("é".repeat(1000)).chars().count(), MAX_TEXT);
    }
}
