//! Putting a control plane together: opens what lasts, starts the mesh and the servers, stops them in order.
//!
//! [`run`] is the process: it prints the ready line and waits for a signal. [`App`] is the same without a process
//! around it, for tests.

use std::{
    io::Write,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{Arc, atomic::AtomicU64},
    time::{Duration, Instant, SystemTime},
};

use anyhow::Context;
use jiff::Timestamp;
use rustix::process::{Resource, getrlimit};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::{Semaphore, mpsc},
};
use weft_certs::{Ca, Clock, Identity, SpiffeId, rotation, tls};

use crate::{
    admin_api::AdminCredentials,
    config::Config,
    data_dir::DataDir,
    endpoints::dns,
    first_rules,
    fleet::Fleet,
    mesh::{self, Mesh},
    quotas::Quotas,
    serve::{
        self, admin, discovery, grpc, identity,
        listener::{Acceptor, Places},
        workloads,
    },
    store::{Store, sha256},
    tasks::Tasks,
    telemetry::Metrics,
};

/// The issuing CA is renewed months before its end, so that a day more or less is nothing.
const CA_CHECK: Duration = Duration::from_secs(24 * 3600);

/// Runs a control plane until SIGTERM or SIGINT. The logs are the caller's to start (`telemetry::start_logs`).
///
/// # Errors
/// It cannot start; the text names the setting to change.
pub async fn run(config: Config) -> anyhow::Result<()> {
    // Before the ready line, so that a signal that follows it is never missed.
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let app = App::start(config).await?;
    // Whoever started this may have closed the other end; that is no reason not to run.
    let mut stdout = std::io::stdout();
    let _ = writeln!(stdout, "weft-control-plane ready grpc={} admin={}", app.grpc, app.admin)
        .and_then(|()| stdout.flush());
    tokio::select! {
        _ = terminate.recv() => tracing::info!("stopping on SIGTERM"),
        _ = interrupt.recv() => tracing::info!("stopping on SIGINT"),
    }
    app.stop().await;
    Ok(())
}

/// A running control plane. Dropping it stops it without waiting.
pub struct App {
    pub grpc: SocketAddr,
    pub admin: SocketAddr,
    /// How to reach it; the content of `admin.yaml`.
    pub credentials: AdminCredentials,
    tasks: Tasks,
    _data_dir: DataDir,
}

impl App {
    pub async fn start(config: Config) -> anyhow::Result<Self> {
        let grpc_listener = listen(config.grpc_listen, "--grpc-listen").await?;
        let admin_listener = listen(config.admin_listen, "--admin-listen").await?;
        let (grpc, admin) = (grpc_listener.local_addr()?, admin_listener.local_addr()?);
        let lasting = Lasting::open(&config, grpc, admin)?;
        let parts = Parts::new(&config, lasting.store, lasting.ca, &lasting.credentials).await?;
        if let Some(file) = &config.rules {
            first_rules::apply(&parts.mesh, file).await?;
        }
        parts.start_background(&config)?;
        let tasks = parts.tasks.clone();
        let places = Places::within(getrlimit(Resource::Nofile).current);
        tasks.spawn_to_end(grpc::serve(
            parts.acceptor("grpc", &[b"h2"], places.grpc).start(grpc_listener, &tasks),
            parts.services(&config),
            tasks.clone(),
        ));
        tasks.spawn_to_end(admin::serve(
            parts.acceptor("admin", &[b"http/1.1"], places.admin).start(admin_listener, &tasks),
            parts.admin()?,
            tasks.clone(),
        ));
        Ok(Self { grpc, admin, credentials: lasting.credentials, tasks, _data_dir: lasting.data_dir })
    }

    /// Stops: no new connections, streams end, requests in flight have some seconds.
    pub async fn stop(self) {
        self.tasks.stop();
        self.tasks.ended().await;
    }
}

impl Drop for App {
    fn drop(&mut self) {
        self.tasks.stop();
    }
}

/// What is on the disk.
struct Lasting {
    data_dir: DataDir,
    store: Arc<Store>,
    ca: Arc<Ca>,
    credentials: AdminCredentials,
}

impl Lasting {
    fn open(config: &Config, grpc: SocketAddr, admin: SocketAddr) -> anyhow::Result<Self> {
        let data_dir = DataDir::open(&config.data_dir)?;
        let store = Arc::new(Store::open(&data_dir.store())?);
        data_dir.check_trust_domain(&store, config.trust_domain.as_str())?;
        let ca = data_dir.open_ca(&store, &config.trust_domain, SystemTime::now())?;
        let credentials = AdminCredentials {
            address: reachable(admin).to_string(),
            grpc_address: reachable(grpc).to_string(),
            trust_domain: config.trust_domain.to_string(),
            trust_anchor: ca.trust_bundle().to_pem(),
            token: data_dir.admin_token(&store)?,
        };
        data_dir.write_credentials(&credentials)?;
        Ok(Self { data_dir, store, ca: Arc::new(ca), credentials })
    }
}

/// What lives in memory, shared by the servers.
struct Parts {
    store: Arc<Store>,
    ca: Arc<Ca>,
    mesh: Mesh,
    fleet: Arc<Fleet>,
    metrics: Arc<Metrics>,
    identity: Arc<Identity>,
    token_sha256: String,
    tasks: Tasks,
}

impl Parts {
    async fn new(
        config: &Config,
        store: Arc<Store>,
        ca: Arc<Ca>,
        credentials: &AdminCredentials,
    ) -> anyhow::Result<Self> {
        let (fleet, metrics) = (Arc::new(Fleet::new(config.endpoint_grace)), Arc::new(Metrics::default()));
        let tasks = Tasks::default();
        let own = ca.issue(&own_id(config), config.svid_lifetime, SystemTime::now())?;
        let mesh = Mesh::start(mesh::Parts {
            store: store.clone(),
            fleet: fleet.clone(),
            metrics: metrics.clone(),
            trust_bundle: ca.trust_bundle(),
            endpoint_grace: config.endpoint_grace,
            tasks: tasks.clone(),
        })
        .await?;
        let identity = Identity::new(own, ca.trust_bundle());
        Ok(Self { store, ca, mesh, fleet, metrics, identity, token_sha256: sha256(&credentials.token), tasks })
    }

    fn acceptor(&self, name: &'static str, alpn: &[&[u8]], places: usize) -> Acceptor {
        let tls = tls::server_config_optional_client(&self.identity, alpn);
        Acceptor {
            name,
            tls,
            metrics: self.metrics.clone(),
            clock: Clock::system(),
            places: Arc::new(Semaphore::new(places)),
        }
    }

    fn services(&self, config: &Config) -> grpc::Services {
        grpc::Services {
            discovery: discovery::Discovery {
                published: self.mesh.watch(),
                fleet: self.fleet.clone(),
                metrics: self.metrics.clone(),
                trust_domain: config.trust_domain.clone(),
                tasks: self.tasks.clone(),
            },
            identity: identity::Identity {
                ca: self.ca.clone(),
                store: self.store.clone(),
                metrics: self.metrics.clone(),
                lifetime: config.svid_lifetime,
                clock: Clock::system(),
            },
            workloads: workloads::Workloads {
                mesh: self.mesh.clone(),
                store: self.store.clone(),
                fleet: self.fleet.clone(),
                metrics: self.metrics.clone(),
                trust_domain: config.trust_domain.clone(),
                holders: Arc::new(AtomicU64::new(1)),
                tasks: self.tasks.clone(),
            },
            quotas: serve::quotas::Quotas {
                mesh: self.mesh.clone(),
                fleet: self.fleet.clone(),
                quotas: Arc::new(Quotas::new(Instant::now())),
                trust_domain: config.trust_domain.clone(),
                holders: Arc::new(AtomicU64::new(1)),
                tasks: self.tasks.clone(),
            },
        }
    }

    fn admin(&self) -> anyhow::Result<Arc<admin::Admin>> {
        Ok(Arc::new(admin::Admin {
            mesh: self.mesh.clone(),
            store: self.store.clone(),
            fleet: self.fleet.clone(),
            ca: self.ca.clone(),
            metrics: self.metrics.clone(),
            clock: Clock::system(),
            started: Timestamp::try_from(SystemTime::now())?,
            token_sha256: self.token_sha256.clone(),
        }))
    }

    /// Keeps the issuing CA and its own SVID fresh, and the hosts of MeshServices resolved.
    fn start_background(&self, config: &Config) -> anyhow::Result<()> {
        self.tasks.spawn(renew_issuing_ca(self.ca.clone()));
        let (ca, id, lifetime) = (self.ca.clone(), own_id(config), config.svid_lifetime);
        let renew = async move || ca.issue(&id, lifetime, SystemTime::now());
        let fresh = rotation::keep_fresh(self.identity.clone(), Clock::system(), rand::random, renew);
        self.tasks.spawn(async move { match fresh.await {} });

        let resolver = dns::resolver(config.dns_server).context("cannot start the DNS resolver (--dns-server)")?;
        let (found, mut answers) = mpsc::channel(64);
        self.tasks.spawn(dns::run(resolver, self.mesh.wanted_hosts(), found));
        let mesh = self.mesh.clone();
        self.tasks.spawn(async move {
            while let Some((host, addresses)) = answers.recv().await {
                mesh.resolved(host, addresses).await;
            }
        });
        Ok(())
    }
}

/// The CA logs a renewal itself.
async fn renew_issuing_ca(ca: Arc<Ca>) {
    loop {
        tokio::time::sleep(CA_CHECK).await;
        let ca = ca.clone();
        // It reads and writes the CA's folder.
        let renewed = tokio::task::spawn_blocking(move || ca.renew(SystemTime::now())).await;
        if let Ok(Err(error)) = renewed {
            tracing::error!(%error, "the issuing CA cannot be renewed; it is tried again in a day");
        }
    }
}

fn own_id(config: &Config) -> SpiffeId {
    SpiffeId::control_plane(&config.trust_domain)
}

async fn listen(address: SocketAddr, flag: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| match error.kind() {
        std::io::ErrorKind::AddrInUse => {
            anyhow::anyhow!("{flag} {address}: the port is in use; choose another, or 0 for a free one")
        }
        _ => anyhow::anyhow!("{flag} {address}: cannot listen there: {error}"),
    })
}

/// A listener on all addresses is reached from this machine on its loopback.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        IpAddr::V4(_) | IpAddr::V6(_) => {}
    }
    address
}
