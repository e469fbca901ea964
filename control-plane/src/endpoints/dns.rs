//! The addresses of hosts that MeshServices name, kept fresh by the records' own TTL.
//!
//! A failed look-up never takes addresses away: the last good answer stays until there is a better one, because a name
//! server's outage says nothing about the hosts. Failures are retried with growing pauses and jitter. Called by `app`,
//! which gives the set of wanted hosts (from `mesh`) and passes on what is found.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    time::Duration,
};

use hickory_resolver::{
    TokioResolver,
    config::{ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolverConfig},
    net::{NetError, runtime::TokioRuntimeProvider},
};
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};
use tokio_util::task::AbortOnDropHandle;

/// A host and the port that its addresses get.
pub type Host = (String, u16);
pub type Resolved = BTreeMap<Host, Vec<SocketAddr>>;

/// A TTL of 0 would otherwise mean a query without end, one of a week that a moved host is never found.
const REFRESH: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(300));
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// Asks `server`, or the servers of the system.
pub fn resolver(server: Option<SocketAddr>) -> Result<TokioResolver, NetError> {
    let mut builder = match server {
        None => TokioResolver::builder_tokio()?,
        Some(server) => {
            let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
                connection.port = server.port();
                connection
            });
            let server = NameServerConfig::new(server.ip(), true, connections.into());
            let config = ResolverConfig::from_name_servers(vec![server]);
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
        }
    };
    let options = builder.options_mut();
    // The TTL decides here when to ask again; a cache would answer in between with the same.
    options.cache_size = 0;
    options.ip_strategy = LookupIpStrategy::Ipv4thenIpv6;
    builder.build()
}

/// Keeps every wanted host resolved and reports every answer: only the listener knows what it still holds. Ends when nobody listens any more.
pub async fn run(
    resolver: TokioResolver,
    mut wanted: watch::Receiver<BTreeSet<Host>>,
    found: mpsc::Sender<(Host, Vec<SocketAddr>)>,
) {
    let mut watching: BTreeMap<Host, AbortOnDropHandle<()>> = BTreeMap::new();
    loop {
        let hosts = wanted.borrow_and_update().clone();
        watching.retain(|host, _| hosts.contains(host));
        for host in hosts {
            let spawn = |host: &Host| tokio::spawn(watch_host(resolver.clone(), host.clone(), found.clone()));
            watching.entry(host).or_insert_with_key(|host| AbortOnDropHandle::new(spawn(host)));
        }
        if wanted.changed().await.is_err() {
            return;
        }
    }
}

async fn watch_host(resolver: TokioResolver, host: Host, found: mpsc::Sender<(Host, Vec<SocketAddr>)>) {
    let (mut kept, mut failures) = (0, 0);
    loop {
        let pause = match look_up(&resolver, &host).await {
            Ok((addresses, valid_until)) => {
                log_recovery(&host, failures);
                failures = 0;
                kept = addresses.len();
                if found.send((host.clone(), addresses)).await.is_err() {
                    return;
                }
                refresh_after(valid_until.saturating_duration_since(Instant::now()))
            }
            Err(error) => {
                failures += 1;
                let pause = retry_after(failures, rand::random());
                log_failure(&host, &error, failures, kept);
                pause
            }
        };
        tokio::time::sleep(pause).await;
    }
}

async fn look_up(resolver: &TokioResolver, (host, port): &Host) -> Result<(Vec<SocketAddr>, Instant), NetError> {
    let answer = resolver.lookup_ip(host.as_str()).await?;
    // Sorted, because servers rotate their answers and an order is no change.
    let addresses: BTreeSet<SocketAddr> = answer.iter().map(|ip| SocketAddr::new(ip, *port)).collect();
    Ok((addresses.into_iter().collect(), Instant::from_std(answer.valid_until())))
}

fn refresh_after(ttl: Duration) -> Duration {
    ttl.clamp(REFRESH.0, REFRESH.1)
}

/// After failure number `failures` (from 1): doubles from a second to a minute; `jitter` (0 to 1) takes off up to half.
fn retry_after(failures: u32, jitter: f64) -> Duration {
    let doubled = RETRY.0.saturating_mul(1 << failures.saturating_sub(1).min(16));
    doubled.min(RETRY.1).mul_f64(1.0 - jitter.clamp(0.0, 1.0) / 2.0)
}

fn log_failure((host, port): &Host, error: &NetError, failures: u32, kept: usize) {
    // One line per outage: the rest is the same.
    if failures == 1 {
        tracing::warn!(host, port, %error, kept, "the host cannot be resolved, its last addresses are kept");
    }
}

fn log_recovery((host, port): &Host, failures: u32) {
    if failures > 0 {
        tracing::info!(host, port, failures, "the host is resolved again");
    }
}

#[cfg(test)]
mod tests;
