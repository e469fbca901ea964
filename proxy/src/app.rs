//! The process: what runs where, how it starts, how it stops.
//!
//! | thread | runs |
//! |---|---|
//! | main | identity, discovery, reports, admin, DNS, the check of the application |
//! | `worker-N` | accepts and carries traffic, inbound and outbound, with connections and pools of its own |
//! | `access-log` | writes the access log |
//!
//! Start: listeners, identity, configuration, workers, then the ready line. Stop: the endpoint is taken out, then
//! inbound is drained, then outbound, so that the application's last calls still work.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs},
    sync::Arc,
    time::SystemTime,
};

use anyhow::Context;
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::sync::watch;
use weft_certs::Identity;
use weft_proxy_api::proto::workload::v1::{FurtherPort, Registration};

use crate::{
    admin,
    config::{Config, ServedPort},
    discovery::{certify, channel, quota::Quota, report::Reporter, state::StateDir, stream::Discovery},
    dns::{self, Dns, DnsMetrics, Found},
    doors::{Door, Doors},
    http::{
        client::Client,
        pool::{self, Pool},
    },
    inbound::{
        self, Apps, Inbound,
        health::{self, Health},
    },
    lifecycle::Lifecycle,
    mesh::{Store, lookup::Silent},
    net::{Dialer, listener},
    outbound::{self, Copies, Outbound},
    telemetry::{AccessLog, Metrics, log, metrics::Direction},
    tls::acceptor::Acceptor,
};

/// Runs the sidecar until it is told to stop.
///
/// # Errors
/// It cannot start: a port is taken, a file cannot be read, the control plane refuses the workload.
pub fn run(config: Config) -> anyhow::Result<()> {
    log::install(&config)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(start(config))
}

async fn start(config: Config) -> anyhow::Result<()> {
    let workers = config.worker_count();
    let max_connections = connections_within_open_files(config.max_connections);
    let doors = Doors::open(&config, workers)?;
    let dns =
        config.dns.then(|| dns::bind(config.dns_port, Some(config.dns_upstream.clone()).filter(|it| !it.is_empty())));
    let dns = dns.transpose()?;
    let admin = listener::bind(config.admin_listen, 1, "--admin-listen")?;
    let advertised = config.advertised(doors.inbound_address(), own_address).map_err(anyhow::Error::msg)?;
    let of_dns = dns.iter().flat_map(Dns::addresses).take(1).map(|address| format!(" dns={address}"));
    let addresses = format!("{doors} admin={}{}", admin.address, of_dns.collect::<String>());
    let state = config.state_dir.as_deref().map(StateDir::open).transpose()?.map(Arc::new);

    let metrics = Arc::new(Metrics::new());
    let access_log = Arc::new(AccessLog::start(metrics.access_log_dropped.clone())?);
    let lifecycle = Lifecycle::new(metrics.clone(), config.service.is_some());
    admin::start(admin, lifecycle.clone())?;

    // Listened for once and throughout, so that no signal falls between two waits.
    let end = lifecycle.clone();
    let stop = end.stop_requested();
    tokio::pin!(stop);

    let identity = tokio::select! {
        identity = certify::obtain(&config, state.as_deref()) => identity?,
        () = &mut stop => return Ok(()),
    };
    let (store, asked) = Store::new(identity.clone(), metrics.clone(), access_log.clone(), &config.zone);
    let _ = lifecycle.store.set(store.clone());
    let served = config.served(advertised);
    if config.intercept && config.service.is_some() {
        store.set_own(served.iter().map(|port| port.address).collect());
    }
    let app_missed = watch::Sender::new(());
    let fresh = || format!("{}-{:08x}", config.service.as_deref().unwrap_or("client"), rand::random::<u32>());
    let workload = state.as_ref().map_or_else(fresh, |state| state.workload_id(fresh)).into();
    let process = Process {
        config,
        served,
        workload,
        app_missed,
        max_connections,
        identity,
        store,
        metrics,
        access_log,
        state,
        lifecycle,
    };
    process.follow_control_plane(asked);
    process.start_workers(doors)?;
    if let Some(dns) = dns {
        process.serve_dns(dns);
    }

    tokio::select! {
        () = process.configured() => {
            process.lifecycle.ready.send_replace(true);
            println!("weft-proxy ready {addresses}");
            stop.await;
        }
        () = &mut stop => {}
    }
    process.stop().await;
    Ok(())
}

struct Process {
    config: Config,
    /// Where the application serves.
    served: Vec<ServedPort>,
    /// This workload's id.
    workload: Arc<str>,
    /// In each direction.
    max_connections: usize,
    identity: Arc<Identity>,
    store: Arc<Store>,
    metrics: Arc<Metrics>,
    access_log: Arc<AccessLog>,
    state: Option<Arc<StateDir>>,
    lifecycle: Arc<Lifecycle>,
    /// Told when the application could not be reached.
    app_missed: watch::Sender<()>,
}

impl Process {
    /// Starts what talks to the control plane, beside the data path.
    fn follow_control_plane(&self, asked: tokio::sync::mpsc::UnboundedReceiver<(weft_proxy_api::Kind, String)>) {
        let channel = channel::authenticated(&self.config.control_plane, &self.identity);
        let workload = self.workload.to_string();
        let discovery = Discovery {
            store: self.store.clone(),
            channel: channel.clone(),
            workload: workload.clone(),
            trust_domain: self.identity.bundle().trust_domain().to_string(),
            asked,
            state: self.state.clone(),
            metrics: self.metrics.clone(),
        };
        let quota = Quota { channel: channel.clone(), workload: workload.clone(), store: self.store.clone() };
        let reporter = Reporter {
            channel: channel.clone(),
            workload,
            registration: self.registration(),
            health: self.watch_application(),
            leaving: self.lifecycle.leaving.subscribe(),
            left: self.lifecycle.left.clone(),
            identity: self.identity.clone(),
            store: self.store.clone(),
            started: SystemTime::now(),
        };
        tokio::spawn(discovery.run());
        tokio::spawn(reporter.run());
        tokio::spawn(quota.run());
        let (state, metrics) = (self.state.clone(), self.metrics.clone());
        tokio::spawn(certify::renew(self.config.clone(), self.identity.clone(), channel, state, metrics));
    }

    /// Of each port that is registered.
    fn watch_application(&self) -> watch::Receiver<Vec<Health>> {
        let served = if self.config.service.is_some() { self.served.as_slice() } else { &[] };
        let (says, health) = watch::channel(vec![health::unknown(); served.len()]);
        for (index, port) in served.iter().enumerate() {
            let watcher = health::Watcher {
                app: inbound::reachable(port.app),
                endpoint_port: port.address.port(),
                store: self.store.clone(),
                missed: self.app_missed.clone(),
                health: says.clone(),
                index,
            };
            tokio::spawn(watcher.run());
        }
        health
    }

    fn registration(&self) -> Option<Registration> {
        let (first, further) = self.served.split_first()?;
        let further = further.iter().map(|port| FurtherPort {
            service_port: port.service_port.into(),
            address: port.address.to_string(),
            serving: false,
        });
        Some(Registration {
            service: self.config.service.clone()?,
            service_port: first.service_port.into(),
            address: first.address.to_string(),
            labels: self.config.labels.iter().cloned().collect(),
            zone: self.config.zone.clone(),
            further_ports: further.collect(),
        })
    }

    /// One thread for each pair of sockets; it ends with the process.
    fn start_workers(&self, doors: Doors) -> anyhow::Result<()> {
        let dialer = if self.config.intercept { Dialer::redirected() } else { Dialer::default() };
        let max_connections = self.max_connections;
        let apps: Vec<SocketAddr> = self.served.iter().map(|port| port.app).collect();
        for (number, sockets) in doors.by_worker().into_iter().enumerate() {
            let client = Arc::new(Client::new(&self.identity, self.metrics.clone(), dialer.clone()));
            let pool = Pool::new(client.clone());
            let outbound = Arc::new(Outbound {
                namespace: self.config.namespace.clone(),
                workload: self.workload.clone(),
                discovery_timeout: self.config.discovery_timeout,
                mesh: self.store.clone(),
                pool: pool.clone(),
                client: client.clone(),
                max_connections,
                copies: Copies::default(),
                drain: self.lifecycle.outbound.clone(),
                metrics: self.metrics.clone(),
                access_log: self.access_log.clone(),
            });
            let inbound = Arc::new(Inbound {
                mesh: self.store.clone(),
                apps: Apps::new(&apps),
                pool: pool.clone(),
                client,
                max_connections,
                acceptor: Acceptor::new(&self.identity),
                drain: self.lifecycle.inbound.clone(),
                app_missed: self.app_missed.clone(),
                requests: self.metrics.requests(Direction::Inbound, "app"),
                metrics: self.metrics.clone(),
                access_log: self.access_log.clone(),
            });
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            std::thread::Builder::new()
                .name(format!("worker-{number}"))
                .spawn(move || runtime.block_on(carry(outbound, inbound, sockets, pool)))
                .context("a worker thread cannot be started")?;
        }
        Ok(())
    }

    /// Beside the data path: a query waits for the control plane at most.
    fn serve_dns(&self, dns: Dns) {
        let metrics = DnsMetrics::default();
        self.metrics.add(|registry| metrics.register(registry));
        let (store, limit) = (self.store.clone(), self.config.discovery_timeout);
        let lookup = move |name| {
            let store = store.clone();
            async move {
                match store.host(&name, limit).await {
                    Ok(addresses) if addresses.is_empty() => Found::NoSuchService,
                    Ok(addresses) => Found::Addresses(addresses.to_vec()),
                    Err(Silent) => Found::Unknown,
                }
            }
        };
        let served = dns.run(self.config.namespace.clone(), metrics, lookup);
        tokio::spawn(async move {
            let Err(error) = served.await;
            tracing::error!(%error, "DNS queries are not answered any more");
        });
    }

    /// Resolves when the configuration is there that this workload cannot do without.
    async fn configured(&self) {
        let mut changed = self.store.subscribe();
        while self.store.inbound().is_none() {
            if changed.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    async fn stop(&self) {
        tracing::info!("stopping");
        let unfinished = self.lifecycle.drain_inbound().await + self.lifecycle.drain_outbound().await;
        if unfinished > 0 {
            tracing::warn!(connections = unfinished, "stopped before all requests had ended");
        }
    }
}

/// A worker's whole life.
async fn carry(outbound: Arc<Outbound>, inbound: Arc<Inbound>, doors: Vec<(Door, TcpListener)>, pool: Arc<Pool>) {
    for (door, socket) in doors {
        match tokio::net::TcpListener::from_std(socket) {
            Ok(listener) => match door {
                Door::Outbound => _ = tokio::spawn(outbound::run(outbound.clone(), listener)),
                Door::Intercepted => _ = tokio::spawn(outbound::intercept::run(outbound.clone(), listener)),
                Door::Inbound => _ = tokio::spawn(inbound::run(inbound.clone(), listener)),
            },
            Err(error) => tracing::error!(%error, "a worker cannot listen"),
        }
    }
    let mut turn = tokio::time::interval(pool::SWEEP);
    loop {
        turn.tick().await;
        pool.sweep();
    }
}

/// Takes as many descriptors as the process may have; returns how many connections, of those that may be open, these
/// are enough for. A connection through the sidecar needs two.
fn connections_within_open_files(max_connections: usize) -> usize {
    /// For listeners, the control plane, DNS, files.
    const OTHERS: u64 = 256;
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "the limit of open files cannot be raised");
    }
    let possible = limit.maximum.map(|maximum| usize::try_from(maximum.saturating_sub(OTHERS) / 2));
    let possible = possible.and_then(Result::ok).unwrap_or(usize::MAX);
    if possible < max_connections {
        tracing::info!(possible, "the limit of open files allows fewer connections than --max-connections");
    }
    max_connections.min(possible)
}

/// The address that this machine has on the way to `peer`. Nothing is sent.
fn own_address(peer: &str) -> std::io::Result<IpAddr> {
    let peer = peer.to_socket_addrs()?.next().ok_or_else(|| std::io::Error::other("the name has no address"))?;
    let any: IpAddr = if peer.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = std::net::UdpSocket::bind((any, 0))?;
    socket.connect(peer)?;
    Ok(socket.local_addr()?.ip())
}
