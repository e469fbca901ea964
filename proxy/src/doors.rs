//! The ports through which traffic comes in: which there are, on which addresses, and whose they are.

use std::{
    fmt,
    net::{Ipv6Addr, SocketAddr, TcpListener},
};

use crate::{
    config::Config,
    net::listener::{self, Listeners},
};

/// What comes through a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// Requests of an application that knows the sidecar as a proxy.
    Outbound,
    /// Connections of the application that were redirected.
    Intercepted,
    /// Connections of others, redirected or not.
    Inbound,
}

pub struct Doors(Vec<(Door, Listeners)>);

impl Doors {
    /// # Errors
    /// A port is taken; the message names its flag.
    pub fn open(config: &Config, workers: usize) -> anyhow::Result<Self> {
        let mut doors = vec![(Door::Outbound, listener::bind(config.outbound_listen, workers, "--outbound-listen")?)];
        if config.intercept {
            let loopback = [[127, 0, 0, 1].into(), Ipv6Addr::LOCALHOST.into()];
            let loopback = loopback.map(|ip| SocketAddr::new(ip, config.intercept_port));
            let intercepted = listener::bind_each(loopback, workers, "--intercept-port")?;
            doors.extend(intercepted.into_iter().map(|listeners| (Door::Intercepted, listeners)));
        }
        let inbound = config.inbound_listen;
        // What is redirected comes by either family.
        let inbound = match config.intercept && inbound.ip().is_unspecified() && inbound.is_ipv4() {
            true => {
                let any = [inbound, SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), inbound.port())];
                listener::bind_each(any, workers, "--inbound-listen")?
            }
            false => vec![listener::bind(inbound, workers, "--inbound-listen")?],
        };
        doors.extend(inbound.into_iter().map(|listeners| (Door::Inbound, listeners)));
        Ok(Self(doors))
    }

    fn address(&self, door: Door) -> Option<SocketAddr> {
        self.0.iter().find(|(of, _)| *of == door).map(|(_, listeners)| listeners.address)
    }

    pub fn inbound_address(&self) -> SocketAddr {
        self.address(Door::Inbound).unwrap_or(SocketAddr::from(([0, 0, 0, 0], 0)))
    }

    /// The sockets of each worker.
    pub fn by_worker(self) -> Vec<Vec<(Door, TcpListener)>> {
        let mut workers: Vec<Vec<(Door, TcpListener)>> = Vec::new();
        for (door, listeners) in self.0 {
            workers.resize_with(workers.len().max(listeners.sockets.len()), Vec::new);
            workers.iter_mut().zip(listeners.sockets).for_each(|(worker, socket)| worker.push((door, socket)));
        }
        workers
    }
}

/// As the ready line has it.
impl fmt::Display for Doors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = [("outbound", Door::Outbound), ("inbound", Door::Inbound), ("intercept", Door::Intercepted)];
        let there = named.into_iter().filter_map(|(name, door)| Some((name, self.address(door)?)));
        for (index, (name, address)) in there.enumerate() {
            let space = if index == 0 { "" } else { " " };
            write!(f, "{space}{name}={address}")?;
        }
        Ok(())
    }
}
