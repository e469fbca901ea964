//! The process: what runs where, how it starts, how it stops.
//!
//! | thread | runs |
//! |---|---|
//! | main | identity, discovery, reports, admin, the check of the application |
//! | `worker-N` | accepts and carries traffic, inbound and outbound, with connections and pools of its own |
//! | `access-log` | writes the access log |
//!
//! Start: listeners, identity, configuration, workers, then the ready line. Stop: the endpoint is taken out, then
//! inbound is drained, then outbound, so that the application's last calls still work.

use std::{net::SocketAddr, sync::Arc, time::SystemTime};

use anyhow::Context;
use tokio::sync::watch;
use weft_certs::Identity;
use weft_proxy_api::proto::workload::v1::Registration;

use crate::{
    admin,
    config::Config,
    discovery::{certify, channel, report::Reporter, state::StateDir, stream::Discovery},
    http::{
        client::{Client, Target},
        pool::{self, Pool},
    },
    inbound::{self, Inbound, app_check},
    lifecycle::Lifecycle,
    mesh::Store,
    net::listener::{self, Listeners},
    outbound::{self, Outbound},
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
    let outbound = listener::bind(config.outbound_listen, workers, "--outbound-listen")?;
    let inbound = listener::bind(config.inbound_listen, workers, "--inbound-listen")?;
    let admin = listener::bind(config.admin_listen, 1, "--admin-listen")?;
    let advertised = config.advertised(inbound.address).map_err(anyhow::Error::msg)?;
    let addresses = format!("outbound={} inbound={} admin={}", outbound.address, inbound.address, admin.address);
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
    let (store, asked) = Store::new(identity.clone(), metrics.clone(), access_log.clone());
    let _ = lifecycle.store.set(store.clone());
    let process = Process { config, identity, store, metrics, access_log, state, lifecycle };
    process.follow_control_plane(asked, advertised);
    process.start_workers(outbound, inbound)?;

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
    identity: Arc<Identity>,
    store: Arc<Store>,
    metrics: Arc<Metrics>,
    access_log: Arc<AccessLog>,
    state: Option<Arc<StateDir>>,
    lifecycle: Arc<Lifecycle>,
}

impl Process {
    /// Starts what talks to the control plane, beside the data path.
    fn follow_control_plane(
        &self,
        asked: tokio::sync::mpsc::UnboundedReceiver<weft_proxy_api::ServicePort>,
        advertised: SocketAddr,
    ) {
        let channel = channel::authenticated(&self.config.control_plane, &self.identity);
        let fresh = || format!("{}-{:08x}", self.config.service.as_deref().unwrap_or("client"), rand::random::<u32>());
        let workload = self.state.as_ref().map_or_else(fresh, |state| state.workload_id(fresh));
        let (serving, serves) = watch::channel(false);
        if let Some(app) = self.config.app.filter(|_| self.config.service.is_some()) {
            tokio::spawn(app_check::watch_app(app, serving));
        }
        let discovery = Discovery {
            store: self.store.clone(),
            channel: channel.clone(),
            workload: workload.clone(),
            trust_domain: self.identity.bundle().trust_domain().to_string(),
            asked,
            state: self.state.clone(),
            metrics: self.metrics.clone(),
        };
        let reporter = Reporter {
            channel: channel.clone(),
            workload,
            registration: self.registration(advertised),
            serving: serves,
            leaving: self.lifecycle.leaving.subscribe(),
            left: self.lifecycle.left.clone(),
            identity: self.identity.clone(),
            store: self.store.clone(),
            started: SystemTime::now(),
        };
        tokio::spawn(discovery.run());
        tokio::spawn(reporter.run());
        let (state, metrics) = (self.state.clone(), self.metrics.clone());
        tokio::spawn(certify::renew(self.config.clone(), self.identity.clone(), channel, state, metrics));
    }

    fn registration(&self, advertised: SocketAddr) -> Option<Registration> {
        Some(Registration {
            service: self.config.service.clone()?,
            service_port: self.config.service_port.into(),
            address: advertised.to_string(),
            labels: self.config.labels.iter().cloned().collect(),
            zone: self.config.zone.clone(),
        })
    }

    /// One thread for each pair of sockets; it ends with the process.
    fn start_workers(&self, outbound: Listeners, inbound: Listeners) -> anyhow::Result<()> {
        let app = self.config.app.map(|address| Arc::new(Target { address, identity: None }));
        for (number, sockets) in outbound.sockets.into_iter().zip(inbound.sockets).enumerate() {
            let pool = Pool::new(Arc::new(Client::new(&self.identity, self.metrics.clone())));
            let outbound = Arc::new(Outbound {
                namespace: self.config.namespace.clone(),
                discovery_timeout: self.config.discovery_timeout,
                mesh: self.store.clone(),
                pool: pool.clone(),
                drain: self.lifecycle.outbound.clone(),
                metrics: self.metrics.clone(),
                access_log: self.access_log.clone(),
            });
            let inbound = Arc::new(Inbound {
                app: app.clone(),
                pool: pool.clone(),
                acceptor: Acceptor::new(&self.identity),
                drain: self.lifecycle.inbound.clone(),
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
async fn carry(
    outbound: Arc<Outbound>,
    inbound: Arc<Inbound>,
    (outbound_socket, inbound_socket): (std::net::TcpListener, std::net::TcpListener),
    pool: Arc<Pool>,
) {
    let listeners =
        (tokio::net::TcpListener::from_std(outbound_socket), tokio::net::TcpListener::from_std(inbound_socket));
    let (Ok(outbound_listener), Ok(inbound_listener)) = listeners else {
        tracing::error!("a worker cannot listen");
        return;
    };
    let sweep = async {
        let mut turn = tokio::time::interval(pool::SWEEP);
        loop {
            turn.tick().await;
            pool.sweep();
        }
    };
    tokio::join!(outbound::run(outbound, outbound_listener), inbound::run(inbound, inbound_listener), sweep);
}
