//! Which names are the mesh's, and what is answered for them.

use std::net::IpAddr;

use hickory_proto::{
    op::{Message, ResponseCode},
    rr::{Name, RData, Record, RecordType},
};
use weft_proxy_api::{ServiceName, ServicePort, name::MESH_SUFFIX};

use super::query::Query;

/// In seconds. A service keeps its virtual addresses, so that this is only how long its end goes unnoticed.
const TTL: u32 = 30;

/// Whom a query is for.
#[derive(Debug, PartialEq, Eq)]
pub enum Meant {
    /// A service, if there is one of that name.
    Service(ServiceName),
    /// A name of ours that leads to nothing. It is in this zone.
    Nothing(Name),
    /// Name servers.
    Others,
}

pub fn meant(query: &Query, own_namespace: &str) -> Meant {
    let name = query.name();
    if !query.is_internet() {
        return Meant::Others;
    }
    if let Some(zone) = virtual_zone(name) {
        return Meant::Nothing(zone);
    }
    match ServicePort::from_host(&name.to_ascii(), None, own_namespace) {
        Ok(service) => Meant::Service(service.service_name()),
        Err(_) if is_in_mesh(name) => Meant::Nothing(zone(name)),
        Err(_) => Meant::Others,
    }
}

/// Whether the name is below `mesh`, or is it: nobody else has an answer to it.
pub fn is_in_mesh(name: &Name) -> bool {
    name.iter().next_back().is_some_and(|label| label.eq_ignore_ascii_case(MESH_SUFFIX.as_bytes()))
}

/// The addresses of the family that is asked for, as far as this machine has a route there: a client that prefers IPv6
/// must not be sent where it cannot go. Other types have nothing, so that clients go on to the addresses.
pub fn addresses(query: &Query, addresses: &[IpAddr], has_route: impl Fn(IpAddr) -> bool) -> Message {
    let data = addresses.iter().filter_map(|ip| match (query.kind(), *ip) {
        (RecordType::A, IpAddr::V4(ip)) => has_route(ip.into()).then(|| RData::A(ip.into())),
        (RecordType::AAAA, IpAddr::V6(ip)) => has_route(ip.into()).then(|| RData::AAAA(ip.into())),
        _ => None,
    });
    let records: Vec<_> = data.map(|data| Record::from_rdata(query.name().clone(), TTL, data)).collect();
    if records.is_empty() {
        return query.nothing(ResponseCode::NoError, zone(query.name()));
    }
    let mut message = query.answer(ResponseCode::NoError);
    message.metadata.authoritative = true;
    message.add_answers(records);
    message
}

/// No service has this name, which is one of ours. Of `mesh` itself there is nothing, but there is something below it:
/// that it does not exist would end the search for all services (RFC 8020).
pub fn no_such_service(query: &Query) -> Message {
    let code = if query.name().iter().count() == 1 { ResponseCode::NoError } else { ResponseCode::NXDomain };
    query.nothing(code, zone(query.name()))
}

fn zone(name: &Name) -> Name {
    if is_in_mesh(name) { name.trim_to(1) } else { name.clone() }
}

/// The zone of reverse names that a virtual address's name is in: what is asked about it tells others what this machine
/// talks to, and they know nothing of it.
fn virtual_zone(name: &Name) -> Option<Name> {
    let network = name.parse_arpa_name().ok()?;
    match network.addr() {
        // 240.0.0.0/4
        IpAddr::V4(ip) => (network.prefix_len() >= 8 && ip.octets()[0] >= 240).then(|| name.trim_to(3)),
        // fd77:6566:7400::/96
        IpAddr::V6(ip) => {
            let prefix = [0xfd77, 0x6566, 0x7400, 0, 0, 0];
            (network.prefix_len() >= 96 && ip.segments().starts_with(&prefix)).then(|| name.trim_to(26))
        }
    }
}
