//! The configuration store: one atomic pointer for readers, one writer.
//!
//! A new destination takes effect when the endpoints of all its backends are known, not before: until then the old
//! one serves, so that no update opens a gap.

use std::{
    collections::{BTreeSet, HashMap},
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex, MutexGuard, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use arc_swap::{ArcSwap, ArcSwapOption, Guard};
use tokio::sync::{mpsc, watch};
use weft_certs::Identity;
use weft_proxy_api::{self as api, Endpoint, Inbound, Leads, Resource, ServiceName, ServicePort, State};

use super::{
    Destination,
    backend::Watchers,
    compile::{self, Backends},
    limits::Limits,
    lookup::{Lookup, Silent, Wanted},
};
use crate::{
    error::{Kind, ProxyError},
    telemetry::{AccessLog, LimitMetrics, Metrics, metrics::Direction},
};

/// More names than this that are no service, or not answered yet, are not asked for: a caller that makes names up
/// costs nobody else.
const UNKNOWN_LIMIT: usize = 1024;

pub struct Store {
    current: ArcSwap<HashMap<ServicePort, Known>>,
    /// `None` until the control plane, or the state folder, has said what this workload enforces.
    inbound: ArcSwap<Option<Inbound>>,
    /// Those of `inbound`; `None`: there are none.
    limits: ArcSwapOption<Limits>,
    limit_metrics: LimitMetrics,
    writer: Mutex<Writer>,
    changed: watch::Sender<()>,
    wanted: Wanted,
    addresses: Lookup<SocketAddr, Leads>,
    hosts: Lookup<ServiceName, Arc<[IpAddr]>>,
    /// Whether the control plane can be asked now.
    connected: AtomicBool,
    /// This workload's own endpoints, where the sidecar takes redirected connections: they are reached without mutual TLS.
    own: OnceLock<Vec<SocketAddr>>,
    started: Instant,
    identity: Arc<Identity>,
    watchers: Watchers,
    access_log: Arc<AccessLog>,
}

/// What is known of a service port that somebody asked for.
#[derive(Clone)]
enum Known {
    Service(Arc<Destination>),
    Unknown(Arc<Unknown>),
}

struct Unknown {
    nearest: Option<String>,
    /// Milliseconds since the store was made.
    last_used: AtomicU64,
}

#[derive(Default)]
struct Writer {
    /// Asked for, and not answered yet.
    asked: BTreeSet<ServicePort>,
    /// As received, the newest valid ones.
    destinations: HashMap<ServicePort, api::Service>,
    /// Those of `destinations` that wait for the endpoints of a backend.
    pending: BTreeSet<ServicePort>,
    endpoints: HashMap<ServicePort, Vec<Endpoint>>,
    backends: Backends,
}

impl Store {
    /// The store, and the resources that the data path asks for and nobody has subscribed to yet.
    /// `zone` is where this sidecar is; empty: in none.
    pub fn new(
        identity: Arc<Identity>,
        metrics: Arc<Metrics>,
        access_log: Arc<AccessLog>,
        zone: &str,
    ) -> (Arc<Self>, mpsc::UnboundedReceiver<(api::Kind, String)>) {
        let (wanted, asked) = mpsc::unbounded_channel();
        let limit_metrics = LimitMetrics::new(&metrics);
        let store = Self {
            current: ArcSwap::default(),
            inbound: ArcSwap::default(),
            limits: ArcSwapOption::default(),
            limit_metrics,
            writer: Mutex::default(),
            changed: watch::Sender::new(()),
            addresses: Lookup::new(api::Kind::Address, wanted.clone()),
            hosts: Lookup::new(api::Kind::Host, wanted.clone()),
            wanted,
            connected: AtomicBool::new(false),
            own: OnceLock::new(),
            started: Instant::now(),
            identity,
            watchers: Watchers { metrics, transitions: watch::Sender::new(()), zone: zone.into() },
            access_log,
        };
        (Arc::new(store), asked)
    }

    /// The destination of that name. Asks the control plane where nothing is known yet, and waits at most `limit`.
    pub async fn destination(&self, name: &ServicePort, limit: Duration) -> Result<Arc<Destination>, ProxyError> {
        if let Some(known) = self.known(name) {
            return known;
        }
        let mut changed = self.changed.subscribe();
        self.ask(name)?;
        let answered = async {
            loop {
                if let Some(known) = self.known(name) {
                    return known;
                }
                if changed.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        };
        tokio::time::timeout(limit, answered).await.unwrap_or_else(|_| {
            Err(ProxyError::new(
                Kind::NoConfiguration,
                format_args!("the control plane has not said anything about {name} within {limit:?}"),
            ))
        })
    }

    /// Has the name subscribed to, once.
    fn ask(&self, name: &ServicePort) -> Result<(), ProxyError> {
        let mut writer = self.lock();
        if writer.asked.contains(name) {
            return Ok(());
        }
        if writer.asked.len() + self.unknown_count() >= UNKNOWN_LIMIT {
            return Err(ProxyError::new(
                Kind::NoConfiguration,
                format_args!("{name} is not known, and too many names that are no service were asked for lately"),
            ));
        }
        writer.asked.insert(name.clone());
        // The receiver lives as long as the process.
        let _ = self.wanted.send((api::Kind::Destination, name.to_string()));
        Ok(())
    }

    /// Where a connection to this address leads. Asks the control plane where nothing is known yet, and waits at most
    /// `limit`; while it is away, not at all.
    ///
    /// # Errors
    /// The control plane has not said anything.
    pub async fn leads(&self, address: SocketAddr, limit: Duration) -> Result<Leads, Silent> {
        match self.addresses.known(&address) {
            Some(known) => Ok(known),
            None => Box::pin(self.addresses.find(&address, self.patience(limit))).await,
        }
    }

    /// The virtual addresses of a service, none if there is no such service. As [`leads`](Self::leads).
    ///
    /// # Errors
    /// The control plane has not said anything.
    pub async fn host(&self, name: &ServiceName, limit: Duration) -> Result<Arc<[IpAddr]>, Silent> {
        self.hosts.find(name, self.patience(limit)).await
    }

    /// The destination that is one endpoint of a service alone.
    pub async fn member(
        &self,
        service: &ServicePort,
        endpoint: Endpoint,
        limit: Duration,
    ) -> Result<Arc<Destination>, ProxyError> {
        let destination = self.destination(service, limit).await?;
        let writer = self.lock();
        let Some(known) = writer.destinations.get(service) else { return Ok(destination) };
        let endpoint = self.as_reached(endpoint);
        let speech = destination.speech.clone();
        let whole = writer.backends.get(service).map(Arc::as_ref);
        Ok(Arc::new(compile::member(service, known, endpoint, whole, &self.watchers, speech)))
    }

    fn patience(&self, limit: Duration) -> Duration {
        if self.connected.load(Ordering::Relaxed) { limit } else { Duration::ZERO }
    }

    /// Said by discovery: whether the control plane can be asked now.
    pub fn set_connected(&self, connected: bool) {
        self.connected.store(connected, Ordering::Relaxed);
    }

    /// Connections to these addresses come back to this workload itself, past its redirection.
    pub fn set_own(&self, own: Vec<SocketAddr>) {
        let _ = self.own.set(own);
    }

    fn as_reached(&self, endpoint: Endpoint) -> Endpoint {
        match self.own.get().is_some_and(|own| own.contains(&endpoint.address)) {
            true => Endpoint { identity: None, ..endpoint },
            false => endpoint,
        }
    }

    /// What is known of that name; `None`: nothing yet.
    pub fn known(&self, name: &ServicePort) -> Option<Result<Arc<Destination>, ProxyError>> {
        match self.current.load().get(name)? {
            Known::Service(destination) => Some(Ok(destination.clone())),
            Known::Unknown(unknown) => {
                unknown.last_used.store(self.clock(), Ordering::Relaxed);
                let hint = unknown.nearest.as_ref().map(|n| format!("; did you mean {n}?")).unwrap_or_default();
                Some(Err(ProxyError::new(Kind::UnknownService, format_args!("there is no service {name}{hint}"))))
            }
        }
    }

    pub fn inbound(&self) -> Arc<Option<Inbound>> {
        self.inbound.load_full()
    }

    /// The rate limits of requests to the application, if there are any.
    pub fn limits(&self) -> Guard<Option<Arc<Limits>>> {
        self.limits.load()
    }

    pub fn limit_metrics(&self) -> &LimitMetrics {
        &self.limit_metrics
    }

    /// Told after every change.
    pub fn subscribe(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Told after every change of a circuit's state.
    pub fn transitions(&self) -> watch::Receiver<()> {
        self.watchers.transitions.subscribe()
    }

    /// Takes one update as a whole. The resources are valid: decoding them has refused what is not.
    pub fn apply(&self, resources: Vec<Resource>, removed: Vec<(api::Kind, String)>) {
        let mut writer = self.lock();
        let mut next = HashMap::clone(&self.current.load());
        for resource in resources {
            self.take(&mut writer, &mut next, resource);
        }
        for (kind, name) in removed {
            self.remove(&mut writer, &mut next, kind, &name);
        }
        self.settle(&mut writer, &mut next);
        self.current.store(Arc::new(next));
        drop(writer);
        self.changed.send_replace(());
    }

    fn take(&self, writer: &mut Writer, next: &mut HashMap<ServicePort, Known>, resource: Resource) {
        match resource {
            Resource::TrustBundle(bundle) => self.identity.set_bundle(bundle),
            Resource::Inbound(inbound) => {
                self.access_log.set_enabled(inbound.access_log);
                let before = self.limits.load();
                let limits = Limits::compile(&inbound.rate_limits, before.as_deref(), &self.limit_metrics);
                self.limits.store(limits.map(Arc::new));
                self.inbound.store(Arc::new(Some(inbound)));
            }
            Resource::Address(address) => self.addresses.take(address.address, address.leads),
            Resource::Host(host) => self.hosts.take(host.name, host.addresses.into()),
            Resource::EndpointSet(mut set) => {
                set.endpoints = set.endpoints.into_iter().map(|endpoint| self.as_reached(endpoint)).collect();
                if let Some(backend) = writer.backends.get(&set.name) {
                    backend.balancer.update(&set.endpoints, Instant::now());
                }
                writer.endpoints.insert(set.name, set.endpoints);
            }
            Resource::Destination(api::Destination { name, state: State::Service(service) }) => {
                writer.asked.remove(&name);
                writer.pending.insert(name.clone());
                writer.destinations.insert(name, service);
            }
            Resource::Destination(api::Destination { name, state: State::Unknown { nearest } }) => {
                writer.asked.remove(&name);
                writer.destinations.remove(&name);
                writer.pending.remove(&name);
                next.insert(
                    name,
                    Known::Unknown(Arc::new(Unknown { nearest, last_used: AtomicU64::new(self.clock()) })),
                );
            }
        }
    }

    fn remove(&self, writer: &mut Writer, next: &mut HashMap<ServicePort, Known>, kind: api::Kind, name: &str) {
        match kind {
            api::Kind::Destination => {
                let Ok(name) = name.parse::<ServicePort>() else { return };
                writer.asked.remove(&name);
                writer.destinations.remove(&name);
                writer.pending.remove(&name);
                next.remove(&name);
            }
            api::Kind::Address => _ = name.parse().map(|address| self.addresses.remove(&address)),
            api::Kind::Host => _ = name.parse().map(|host| self.hosts.remove(&host)),
            // A backend that is still named keeps its last endpoints until it is told new ones.
            api::Kind::EndpointSet | api::Kind::Inbound | api::Kind::TrustBundle => {}
        }
    }

    /// Makes those destinations live whose endpoints are known by now, and lets go of backends that nothing names.
    fn settle(&self, writer: &mut Writer, next: &mut HashMap<ServicePort, Known>) {
        let Writer { destinations, pending, endpoints, backends, .. } = writer;
        pending.retain(|name| {
            let Some(service) = destinations.get(name) else { return false };
            if !service.backends.iter().all(|backend| endpoints.contains_key(&backend.name)) {
                return true;
            }
            let live = compile::backends(service, backends, &self.watchers);
            for (backend, fresh) in live.iter().filter(|(backend, _)| !backends.contains_key(*backend)) {
                if let Some(endpoints) = endpoints.get(backend) {
                    fresh.balancer.update(endpoints, Instant::now());
                }
            }
            let before = match next.get(name) {
                Some(Known::Service(before)) => Some(before.as_ref()),
                _ => None,
            };
            let speech = before.map(|before| before.speech.clone()).unwrap_or_default();
            let destination = compile::destination(name, service, &live, before, speech);
            next.insert(name.clone(), Known::Service(Arc::new(destination)));
            backends.extend(live);
            false
        });
        let needed: BTreeSet<&ServicePort> =
            destinations.values().flat_map(|service| service.backends.iter().map(|backend| &backend.name)).collect();
        endpoints.retain(|name, _| needed.contains(name));
        backends.retain(|name, backend| {
            let keep = needed.contains(name);
            if !keep {
                self.watchers.metrics.forget(Direction::Outbound, &backend.label);
            }
            keep
        });
    }

    /// The service ports whose endpoints are needed.
    pub fn needed_endpoints(&self) -> BTreeSet<ServicePort> {
        let writer = self.lock();
        writer.destinations.values().flat_map(|service| service.backends.iter().map(|b| b.name.clone())).collect()
    }

    /// Resources that say that something is not of the mesh, and that nobody has asked for within `idle`.
    pub fn forgotten(&self, idle: Duration) -> Vec<(api::Kind, String)> {
        let names = self.forgotten_names(idle).into_iter().map(|name| (api::Kind::Destination, name.to_string()));
        let addresses = self.addresses.forget_unused(idle, |leads| *leads == Leads::Outside);
        let hosts = self.hosts.forget_unused(idle, |addresses| addresses.is_empty());
        names.chain(addresses).chain(hosts).collect()
    }

    fn forgotten_names(&self, idle: Duration) -> Vec<ServicePort> {
        let idle = u64::try_from(idle.as_millis()).unwrap_or(u64::MAX);
        let now = self.clock();
        let current = self.current.load();
        let unused = current.iter().filter_map(|(name, known)| match known {
            Known::Unknown(unknown) if now.saturating_sub(unknown.last_used.load(Ordering::Relaxed)) > idle => {
                Some(name.clone())
            }
            _ => None,
        });
        unused.collect()
    }

    /// The names of the destinations in use, in order.
    pub fn destinations(&self) -> Vec<String> {
        let current = self.current.load();
        let mut names: Vec<String> = current.keys().map(ToString::to_string).collect();
        names.sort();
        names
    }

    /// The backends in use, ordered by name.
    pub fn backends(&self) -> Vec<Arc<super::Backend>> {
        let mut backends: Vec<_> = self.lock().backends.values().cloned().collect();
        backends.sort_by(|a, b| a.settings.name.cmp(&b.settings.name));
        backends
    }

    /// Milliseconds since the store was made.
    fn clock(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn unknown_count(&self) -> usize {
        self.current.load().values().filter(|known| matches!(known, Known::Unknown(_))).count()
    }

    fn lock(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
