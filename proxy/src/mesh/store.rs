//! The configuration store: one atomic pointer for readers, one writer.
//!
//! A new destination takes effect when the endpoints of all its backends are known, not before: until then the old
//! one serves, so that no update opens a gap.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use tokio::sync::{mpsc, watch};
use weft_certs::Identity;
use weft_proxy_api::{self as api, Endpoint, Inbound, Resource, ServicePort, State};

use super::{
    Destination,
    backend::Watchers,
    compile::{self, Backends},
};
use crate::{
    error::{Kind, ProxyError},
    telemetry::{AccessLog, Metrics, metrics::Direction},
};

/// More names than this that are no service, or not answered yet, are not asked for: a caller that makes names up
/// costs nobody else.
const UNKNOWN_LIMIT: usize = 1024;

pub struct Store {
    current: ArcSwap<HashMap<ServicePort, Known>>,
    /// `None` until the control plane, or the state folder, has said what this workload enforces.
    inbound: ArcSwap<Option<Inbound>>,
    writer: Mutex<Writer>,
    changed: watch::Sender<()>,
    wanted: mpsc::UnboundedSender<ServicePort>,
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
    /// The store, and the names that requests ask for and nobody has subscribed to yet.
    pub fn new(
        identity: Arc<Identity>,
        metrics: Arc<Metrics>,
        access_log: Arc<AccessLog>,
    ) -> (Arc<Self>, mpsc::UnboundedReceiver<ServicePort>) {
        let (wanted, asked) = mpsc::unbounded_channel();
        let store = Self {
            current: ArcSwap::default(),
            inbound: ArcSwap::default(),
            writer: Mutex::default(),
            changed: watch::Sender::new(()),
            wanted,
            started: Instant::now(),
            identity,
            watchers: Watchers { metrics, transitions: watch::Sender::new(()) },
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
        let _ = self.wanted.send(name.clone());
        Ok(())
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
            remove(&mut writer, &mut next, kind, &name);
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
                self.inbound.store(Arc::new(Some(inbound)));
            }
            Resource::EndpointSet(set) => {
                if let Some(backend) = writer.backends.get(&set.name) {
                    backend.balancer.update(&set.endpoints);
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
                    fresh.balancer.update(endpoints);
                }
            }
            let destination = compile::destination(name, service, &live);
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

    /// Names that are no service and that nobody has asked for within `idle`.
    pub fn forgotten(&self, idle: Duration) -> Vec<ServicePort> {
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

fn remove(writer: &mut Writer, next: &mut HashMap<ServicePort, Known>, kind: api::Kind, name: &str) {
    let Ok(name) = name.parse::<ServicePort>() else { return };
    match kind {
        api::Kind::Destination => {
            writer.asked.remove(&name);
            writer.destinations.remove(&name);
            writer.pending.remove(&name);
            next.remove(&name);
        }
        // A backend that is still named keeps its last endpoints until it is told new ones.
        api::Kind::EndpointSet | api::Kind::Inbound | api::Kind::TrustBundle => {}
    }
}

#[cfg(test)]
mod tests;
