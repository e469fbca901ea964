//! The sockets that applications ask: UDP and TCP, on both loopback addresses, with one port.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket},
};

use super::Error;

/// How often another free port is tried until all sockets get the same.
const TRIES: usize = 64;

/// One address of the two kinds of sockets.
#[derive(Debug)]
pub struct Pair {
    pub address: SocketAddr,
    pub udp: UdpSocket,
    pub tcp: TcpListener,
}

/// Port 0 asks for a free one. A machine without IPv6 has the IPv4 address alone.
///
/// # Errors
/// Another process has the port.
pub fn bind(port: u16) -> Result<Vec<Pair>, Error> {
    let mut tries = if port == 0 { TRIES } else { 1 };
    loop {
        tries -= 1;
        match bind_all(port) {
            // A port that is free for one kind of socket may be taken for another.
            Err(Error::Listen { source, .. }) if source.kind() == io::ErrorKind::AddrInUse && tries > 0 => {}
            result => return result,
        }
    }
}

fn bind_all(port: u16) -> Result<Vec<Pair>, Error> {
    let first = bind_pair((Ipv4Addr::LOCALHOST, port).into())?;
    let second = bind_pair((Ipv6Addr::LOCALHOST, first.address.port()).into());
    match second {
        Ok(second) => Ok(vec![first, second]),
        Err(Error::Listen { source, .. }) if is_without_ipv6(&source) => Ok(vec![first]),
        Err(error) => Err(error),
    }
}

/// There is no telling how a system without IPv6 says so; a port that is taken is said in one way.
fn is_without_ipv6(error: &io::Error) -> bool {
    !matches!(error.kind(), io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied)
}

fn bind_pair(address: SocketAddr) -> Result<Pair, Error> {
    let bind = || {
        let tcp = TcpListener::bind(address)?;
        let address = tcp.local_addr()?;
        let udp = UdpSocket::bind(address)?;
        tcp.set_nonblocking(true)?;
        udp.set_nonblocking(true)?;
        Ok(Pair { address, udp, tcp })
    };
    bind().map_err(|source| Error::Listen { address, source })
}

/// Whether this machine has a route to `ip`. A UDP socket that connects asks for one and sends nothing.
pub fn has_route(ip: IpAddr) -> bool {
    UdpSocket::bind((any(ip), 0)).and_then(|socket| socket.connect((ip, DISCARD))).is_ok()
}

/// Any port does; this is the one for what nobody wants (RFC 863).
const DISCARD: u16 = 9;

/// The address to bind a socket to that is to connect to `ip`.
pub fn any(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    }
}
