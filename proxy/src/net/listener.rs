//! Listeners: one socket for each worker on the same address, so that the kernel spreads the connections and no
//! worker hands one to another.

use std::{
    io,
    net::{Ipv6Addr, SocketAddr, TcpListener},
    time::Duration,
};

use socket2::{Domain, Socket, Type};
use tokio::net::TcpStream;

use crate::telemetry::{
    Metrics,
    metrics::{Direction, OpenConnection},
};

const BACKLOG: i32 = 1024;

/// Sockets that share one address.
#[derive(Debug)]
pub struct Listeners {
    pub address: SocketAddr,
    pub sockets: Vec<TcpListener>,
}

/// Binds `count` sockets to `address`; with port 0 all of them to the one free port that the first got. `flag` is
/// named in the error, so that the reader knows what to change.
pub fn bind(address: SocketAddr, count: usize, flag: &str) -> anyhow::Result<Listeners> {
    bind_as(address, false, count, flag)
}

fn bind_as(address: SocketAddr, only_v6: bool, count: usize, flag: &str) -> anyhow::Result<Listeners> {
    let socket = |address, shared| socket(address, only_v6, shared);
    let fail = |e: io::Error| {
        let hint = match e.kind() {
            io::ErrorKind::AddrInUse => ": another process has it; choose another port, or 0 for a free one",
            io::ErrorKind::PermissionDenied => ": ports below 1024 need a privilege",
            _ => "",
        };
        anyhow::anyhow!("cannot listen on {address} ({flag}): {e}{hint}")
    };
    if address.port() != 0 {
        // An address that another process has is refused, not shared with it. A free port is nobody else's anyway.
        drop(socket(address, false).map_err(fail)?);
    }
    let first = socket(address, true).map_err(fail)?;
    let address = first.local_addr().map_err(fail)?;
    let mut sockets = vec![first];
    for _ in 1..count {
        sockets.push(socket(address, true).map_err(fail)?);
    }
    Ok(Listeners { address, sockets })
}

/// Binds `count` sockets to each of the addresses, which are one for each family. A machine without IPv6 has those of
/// IPv4 alone.
pub fn bind_each(addresses: [SocketAddr; 2], count: usize, flag: &str) -> anyhow::Result<Vec<Listeners>> {
    let [v4, v6] = addresses;
    let first = bind(v4, count, flag)?;
    let second = SocketAddr::new(v6.ip(), first.address.port());
    match has_ipv6() {
        true => Ok(vec![first, bind_as(second, true, count, flag)?]),
        false => Ok(vec![first]),
    }
}

fn has_ipv6() -> bool {
    TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok()
}

fn socket(address: SocketAddr, only_v6: bool, shared: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    if only_v6 {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// The next connection. Errors of a single connection, and running out of descriptors, never end the listener.
pub async fn accept(listener: &tokio::net::TcpListener) -> (TcpStream, SocketAddr) {
    let mut is_said = false;
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                super::tune(&stream);
                return (stream, peer);
            }
            Err(error) => {
                if !std::mem::replace(&mut is_said, true) {
                    tracing::warn!(%error, "connections cannot be accepted");
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
}

/// The next connection of those that may be open at a time, counted as long as what comes with it lives. More are reset.
pub async fn admit(
    listener: &tokio::net::TcpListener,
    metrics: &Metrics,
    direction: Direction,
    limit: usize,
) -> (TcpStream, SocketAddr, OpenConnection) {
    loop {
        let (stream, peer) = accept(listener).await;
        match metrics.connection(direction, limit) {
            Some(open) => return (stream, peer, open),
            None => super::Socket::new(stream).abort(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_families_have_one_port() {
        let each = bind_each(["127.0.0.1:0", "[::1]:0"].map(|address| address.parse().unwrap()), 2, "--dns-port");
        let each = each.unwrap();
        assert_eq!(each.len(), if has_ipv6() { 2 } else { 1 });
        assert!(each.iter().all(|listeners| listeners.address.port() == each[0].address.port()));
    }

    #[test]
    fn all_sockets_share_a_free_port_and_a_taken_one_is_refused_by_flag() {
        let any = "127.0.0.1:0".parse().unwrap();
        let listeners = bind(any, 3, "--inbound-listen").unwrap();
        assert_eq!(listeners.sockets.len(), 3);
        for socket in &listeners.sockets {
            assert_eq!(socket.local_addr().unwrap(), listeners.address);
        }
        let error = bind(listeners.address, 1, "--outbound-listen").unwrap_err().to_string();
        assert!(error.contains("--outbound-listen") && error.contains("another process has it"), "{error}");
    }
}
