//! Ports for processes that must be told theirs before they start.
//!
//! They are taken from below the range that the system gives to outgoing connections (32768 and up on Linux), so that
//! no connection can take one between the choice and its use, nor while the control plane is away.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use anyhow::Context;
use rand::Rng;

const LOWEST: u16 = 20_000;
const HIGHEST: u16 = 32_000;
const TRIES: usize = 1000;

/// `N` different free addresses on 127.0.0.1.
pub fn free<const N: usize>() -> anyhow::Result<[SocketAddr; N]> {
    let mut rng = rand::rng();
    // Held until all are chosen, so that none is chosen twice.
    let mut held: Vec<TcpListener> = Vec::new();
    for _ in 0..TRIES {
        if held.len() == N {
            break;
        }
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, rng.random_range(LOWEST..HIGHEST)));
        held.extend(TcpListener::bind(address));
    }
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
