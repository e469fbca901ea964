//! Ports for processes that must be told theirs before they start.
//!
//! They are taken from below the range that the system gives to outgoing connections (32768 and up on Linux), so that
//! no connection can take one between the choice and its use, nor while the control plane is away. Each process begins
//! its search elsewhere, so that demos that start together do not choose the same ones.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use anyhow::Context;

const LOWEST: u16 = 20_000;
const PORTS: u32 = 12_000;
/// From where one process begins to where the next one does.
const STRIDE: u32 = 12;

/// `N` different free addresses on 127.0.0.1.
pub fn free<const N: usize>() -> anyhow::Result<[SocketAddr; N]> {
    let begin = std::process::id() % (PORTS / STRIDE) * STRIDE;
    let ports = (begin..PORTS).chain(0..begin).filter_map(|port| Some(LOWEST + u16::try_from(port).ok()?));
    // Held until all are chosen.
    let listeners = ports.filter_map(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok());
    let held: Vec<TcpListener> = listeners.take(N).collect();
    let addresses = held.iter().map(TcpListener::local_addr).collect::<Result<Vec<_>, _>>()?;
    addresses.try_into().ok().context("no free ports on 127.0.0.1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ports_differ_and_can_be_used() {
        let mut addresses = free::<6>().unwrap().to_vec();
        let listeners: Vec<_> = addresses.iter().map(|address| TcpListener::bind(address).unwrap()).collect();
        assert_eq!(listeners.len(), 6);
        addresses.sort();
        addresses.dedup();
        assert_eq!(addresses.len(), 6);
    }
}
