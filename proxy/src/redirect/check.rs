//! `--check`: that the rules are loaded, and that connections go where they say.
//!
//! What leaves is proved by probes to addresses that are set aside for documentation, where nobody is, or to a neighbour
//! where there is no way to those. What comes would have to come from another host, so there the loaded rules must do.

use std::{
    io::{self, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
};

use nix::{ifaddrs::getifaddrs, net::if_::InterfaceFlags, unistd::Uid};

use super::{
    loaded::{self, Chain},
    nft::{self, NftError},
    probe::{self, ProbeError, Taker},
    ruleset::Ruleset,
};

/// RFC 5737. More than one, as the flags may exempt some.
const V4: [IpAddr; 3] = [
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
    IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1)),
    IpAddr::V4(Ipv4Addr::new(203, 0, 113, 1)),
];
/// RFC 3849 and RFC 9637.
const V6: [IpAddr; 2] = [
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)),
    IpAddr::V6(Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 1)),
];
/// Discard: nothing is asked of whoever should get the connection by mistake.
const PORT: u16 = 9;
const DNS: u16 = 53;

#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    #[error(
        "it runs as user {0}, whose traffic the rules leave alone, so that it cannot see them work: run it as another \
         user, such as root"
    )]
    ExemptUser(u32),
    #[error("the loaded rules cannot be read: {0}")]
    Nft(#[from] NftError),
    #[error("the loaded rules cannot be read: nft prints JSON of another form than is known: {0}")]
    Listing(#[from] serde_json::Error),
    #[error(
        "the loaded rules are not those that these flags set. Check with the flags with which they were set, or set them \
         again with --set --check. Loaded: {loaded}; expected: {expected}"
    )]
    Differs { loaded: String, expected: String },
    #[error(
        "there is no route to check through: {0}. A connection must have a way out before it can be redirected: check \
         where the network is up"
    )]
    NoRoute(String),
    #[error(transparent)]
    Probe(#[from] ProbeError),
    #[error("cannot write the result: {0}")]
    Output(#[from] io::Error),
}

/// Whether what the rules say is what happens. Writes a line for each thing that was proved, or could not be tried.
///
/// # Errors
/// The first thing that is not as it should be.
pub fn run(ruleset: &Ruleset, out: &mut impl Write) -> Result<(), CheckError> {
    let user = Uid::effective().as_raw();
    if ruleset.exempt_users.contains(&user) {
        return Err(CheckError::ExemptUser(user));
    }
    compare(&loaded::chains(&nft::list()?)?, &ruleset.chains())?;
    writeln!(out, "ok: the rules are loaded, and TCP in goes to port {}", ruleset.inbound_port)?;

    let mut untried = Vec::new();
    for (family, addresses) in [("IPv4", &V4[..]), ("IPv6", &V6[..])] {
        match destination(ruleset, addresses)
            .or_else(|none| destination(ruleset, &neighbours(addresses)).map_err(|_| none))
        {
            Ok(destination) => outbound(ruleset, destination, out)?,
            Err(reason) => untried.push(format!("{family}: {reason}")),
        }
    }
    if untried.len() == 2 {
        return Err(CheckError::NoRoute(untried.join("; ")));
    }
    untried.iter().try_for_each(|reason| writeln!(out, "not tried: {reason}"))?;
    Ok(())
}

fn compare(loaded: &[Chain], expected: &[Chain]) -> Result<(), CheckError> {
    if loaded == expected {
        return Ok(());
    }
    let text = |chains: &[Chain]| chains.iter().map(Chain::to_string).collect::<Vec<_>>().join(", ");
    Err(CheckError::Differs { loaded: text(loaded), expected: text(expected) })
}

/// A destination of these whose connections the rules take, and to which there is a route.
fn destination(ruleset: &Ruleset, addresses: &[IpAddr]) -> Result<SocketAddr, String> {
    let ports = || (PORT..=u16::MAX).filter(|port| *port != DNS);
    let mut taken = addresses.iter().flat_map(|ip| ports().map(|port| SocketAddr::new(*ip, port)));
    let destination = taken.find(|destination| ruleset.takes(*destination)).ok_or("everything is exempt")?;
    // To connect a datagram socket looks for a route, and sends nothing.
    UdpSocket::bind((probe::unspecified(destination.ip()), 0))
        .and_then(|socket| socket.connect(destination))
        .map_err(|error| format!("no route to {}: {error}", destination.ip()))?;
    Ok(destination)
}

/// An address beside each own one of the same family, for networks from which nothing leads on. Whether somebody is
/// there does not matter: what is redirected does not get there.
fn neighbours(of: &[IpAddr]) -> Vec<IpAddr> {
    let usable =
        |flags: InterfaceFlags| flags.contains(InterfaceFlags::IFF_UP) && !flags.contains(InterfaceFlags::IFF_LOOPBACK);
    let interfaces = getifaddrs().into_iter().flatten().filter(move |interface| usable(interface.flags));
    let beside = interfaces.filter_map(|interface| {
        let address = interface.address?;
        // Addresses that differ in the last bit are in one network, all but of a network of one.
        if let Some(own) = address.as_sockaddr_in() {
            return Some(IpAddr::V4(Ipv4Addr::from_bits(own.ip().to_bits() ^ 1)));
        }
        let own = address.as_sockaddr_in6()?.ip();
        (!own.is_unicast_link_local()).then(|| IpAddr::V6(Ipv6Addr::from_bits(own.to_bits() ^ 1)))
    });
    beside.filter(|ip| of.iter().any(|other| other.is_ipv4() == ip.is_ipv4())).collect()
}

fn outbound(ruleset: &Ruleset, destination: SocketAddr, out: &mut impl Write) -> Result<(), CheckError> {
    let taker = probe::tcp(destination, ruleset.outbound_port)?;
    writeln!(out, "ok: TCP to {destination} {}", came(taker, ruleset.outbound_port, ORIGIN))?;
    if let Some(port) = ruleset.dns_port {
        let resolver = SocketAddr::new(destination.ip(), DNS);
        let taker = probe::udp(resolver, port)?;
        writeln!(out, "ok: DNS to {resolver} by UDP {}", came(taker, port, "and the answer back"))?;
        let taker = probe::tcp(resolver, port)?;
        writeln!(out, "ok: DNS to {resolver} by TCP {}", came(taker, port, ORIGIN))?;
    }
    Ok(())
}

const ORIGIN: &str = "with its original destination";

fn came(taker: Taker, port: u16, seen: &str) -> String {
    match taker {
        Taker::Check => format!("came to port {port}, {seen}"),
        Taker::Sidecar => format!("was taken, as port {port} is by a running sidecar"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redirect::sets::network;

    fn exempt(networks: &[&str], ports: &[&str]) -> Ruleset {
        Ruleset {
            outbound_port: 15001,
            inbound_port: 15006,
            dns_port: None,
            exempt_users: [2102].into(),
            exempt_outbound_ports: ports.iter().map(|range| range.parse().unwrap()).collect(),
            exempt_outbound_networks: networks.iter().map(|text| network(text).unwrap()).collect(),
            exempt_inbound_ports: Default::default(),
            exempt_inbound_networks: Default::default(),
        }
    }

    #[test]
    fn it_connects_to_what_is_not_exempt() {
        // On loopback, to which every host has a route.
        let addresses = [IpAddr::from([127, 0, 0, 1]), IpAddr::from([127, 0, 0, 2])];
        let to = |networks: &[&str], ports: &[&str]| destination(&exempt(networks, ports), &addresses);
        assert_eq!(to(&[], &[]), Ok("127.0.0.1:9".parse().unwrap()));
        assert_eq!(to(&["127.0.0.1"], &["1-52"]), Ok("127.0.0.2:54".parse().unwrap()), "neither exempt nor DNS");
        assert_eq!(to(&["0.0.0.0/0"], &[]), Err("everything is exempt".to_owned()));
        assert_eq!(to(&[], &["1-65535"]), Err("everything is exempt".to_owned()));
    }

    #[test]
    fn rules_that_differ_are_told_apart() {
        let expected = exempt(&[], &[]).chains();
        compare(&expected, &expected).unwrap();
        let mut without_inbound = expected.to_vec();
        without_inbound.pop();
        let error = compare(&without_inbound, &expected).unwrap_err().to_string();
        assert!(error.contains("expected: output (nat at output") && error.contains("[15006]"), "{error}");
        let mut other_port = expected.clone();
        other_port[1].ports = vec![15007];
        assert!(compare(&other_port, &expected).is_err());
    }
}
