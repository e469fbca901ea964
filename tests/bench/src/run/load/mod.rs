//! The load: what is sent to a proxy, and what the one who sent it saw.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use rustls::ClientConfig;
use serde::Serialize;

use super::{peers::Protocol, site::Site};

mod h2load;
pub mod handshakes;
pub mod idle;
mod wrk;

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Load {
    /// wrk, one thread, HTTP/1.1.
    Wrk { connections: u32, path: &'static str, close: bool },
    /// h2load, one thread, HTTP/2 without TLS; `message` is posted as one gRPC message of so many bytes.
    H2load { clients: u32, streams: u32, path: &'static str, message: Option<usize> },
    /// Connections straight to the inbound proxy with mutual TLS, one request on each.
    Handshakes { callers: u32 },
}

pub struct Target {
    pub entry: SocketAddr,
    pub inbound: Option<(SocketAddr, Arc<ClientConfig>)>,
    /// The load shares CPU 0 with everyone.
    pub pinned: bool,
}

/// What one run of a load came to.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Sample {
    pub requests: u64,
    pub seconds: f64,
    /// Answers that were not 2xx, and connections that broke.
    pub failed: u64,
    pub latency: Option<Latency>,
}

/// Percentiles, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Latency {
    pub p50: f64,
    pub p99: f64,
    pub p999: f64,
}

impl Load {
    pub fn speaks(&self) -> Protocol {
        match self {
            Self::H2load { .. } => Protocol::H2,
            Self::Wrk { .. } | Self::Handshakes { .. } => Protocol::H1,
        }
    }

    /// One good answer of the application, through all that stands before it.
    pub async fn once(&self, site: &Site, target: &Target) -> anyhow::Result<()> {
        match *self {
            Self::Wrk { .. } | Self::Handshakes { .. } => idle::once(target.entry).await,
            Self::H2load { path, message, .. } => {
                let options = h2load::Options { clients: 1, streams: 1, path, message };
                h2load::once(site, target, &options).await
            }
        }
    }

    pub async fn run(&self, site: &Site, target: &Target, duration: Duration) -> anyhow::Result<Sample> {
        match *self {
            Self::Wrk { connections, path, close } => {
                wrk::run(site, target, duration, &wrk::Options { connections, path, close }).await
            }
            Self::H2load { clients, streams, path, message } => {
                let options = h2load::Options { clients, streams, path, message };
                h2load::run(site, target, duration, &options).await
            }
            Self::Handshakes { callers } => handshakes::run(target, duration, callers).await,
        }
    }
}

impl Latency {
    /// Of single values in microseconds, in any order.
    fn of(mut values: Vec<u32>) -> Option<Self> {
        values.sort_unstable();
        let last = values.len().checked_sub(1)?;
        let at = |share: f64| values.get((last as f64 * share).round() as usize).map(|&value| f64::from(value));
        Some(Self { p50: at(0.5)?, p99: at(0.99)?, p999: at(0.999)? })
    }
}

/// Runs it under `taskset` if it is to share CPU 0.
fn command(program: &std::path::Path, target: &Target) -> tokio::process::Command {
    let mut command = if target.pinned {
        let mut command = tokio::process::Command::new("taskset");
        command.args(["-c", "0"]).arg(program);
        command
    } else {
        tokio::process::Command::new(program)
    };
    command.kill_on_drop(true);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_sorted_values() {
        let latency = Latency::of((0..=1000).rev().collect());
        assert_eq!(latency, Some(Latency { p50: 500.0, p99: 990.0, p999: 999.0 }));
        assert_eq!(Latency::of(Vec::new()), None);
    }
}
