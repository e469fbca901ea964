//! Which endpoint of a backend gets a request.
//!
//! Decides by the load balancer that the backend has, and leaves out the endpoints whose own circuit is open, as far
//! as the limit on ejection allows. Called by the outbound path for each attempt, and by `mesh` when the control plane
//! sends other endpoints or other policies. Connections are not its concern.
//!
//! - **Peak EWMA** and **least request** take the better of two random endpoints (P2C).
//! - **Ring hash** and **Maglev** give a key the same endpoint from every sidecar; see `table`.
//! - **Sessions** come before the algorithm, and keys before zones: they stay where they are as long as it can be used.
//! - **Ejection**: at most `max_ejected_percent` of the endpoints, rounded down, and so that `min_available` stay. When
//!   more circuits are open than that, those with the least wait left are used all the same, and their circuits do not
//!   learn from it: when most endpoints fail, pressing the whole load on the few that are left would make them fail too.
//! - **Probes**: an endpoint whose circuit is half-open gets the request that draws it as long as a probe is free, and
//!   else none. A request that failed on another endpoint before (`avoid`) is not used as a probe unless it must be.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, atomic::AtomicU64},
    time::Instant,
};

use arc_swap::ArcSwap;
use prometheus_client::metrics::counter::Counter;
use rand::Rng;
use weft_proxy_api::{self as api, policy::CircuitBreaker as BreakerConfig};

pub use affinity::{Affinity, Source, key};
pub use endpoint::Endpoint;
use panic::Panic;
use pick::Pick;
pub use picked::Picked;
use set::{Limits, Set};
use slow_start::Latest;

mod affinity;
mod endpoint;
mod load;
mod maglev;
mod panic;
mod pick;
mod picked;
mod pool;
mod ring_hash;
mod set;
mod slow_start;
mod standing;
mod table;
mod zone;

/// The endpoints of one backend, and how one is picked.
#[derive(Debug)]
pub struct Balancer {
    /// Everything that a pick reads, behind one pointer.
    set: ArcSwap<Set>,
    /// Round robin's place.
    turn: AtomicU64,
    /// When an endpoint began last.
    latest: Arc<Latest>,
    panic: Panic,
    /// Of this sidecar; may be empty.
    zone: Arc<str>,
    /// Held by who writes `set`, so that an update and a reconfiguration do not undo each other.
    breakers: Mutex<BreakerConfig>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PickError {
    #[error("the service has no endpoints")]
    NoEndpoints,
}

impl Balancer {
    /// A balancer without endpoints. `zone` is the one of this sidecar; `panics` counts how often the panic threshold was
    /// passed.
    pub fn new(settings: &api::Backend, zone: Arc<str>, panics: Counter) -> Self {
        let set = Set::new(settings.load_balancer.clone(), limits(settings), Arc::from([]), None);
        Self {
            set: ArcSwap::from_pointee(set),
            turn: AtomicU64::new(0),
            latest: Arc::default(),
            panic: Panic::new(settings.name.to_string().into(), panics),
            zone,
            breakers: Mutex::new(settings.endpoint_circuit_breaker.clone()),
        }
    }

    /// Takes other policies; the endpoints keep their circuits and their measured load.
    pub fn reconfigure(&self, settings: &api::Backend) {
        let mut current = self.breakers.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.set.load_full();
        for endpoint in before.everyone.iter() {
            endpoint.breaker.reconfigure(settings.endpoint_circuit_breaker.clone());
        }
        *current = settings.endpoint_circuit_breaker.clone();
        let endpoints = before.everyone.share_endpoints();
        let set = Set::new(settings.load_balancer.clone(), limits(settings), endpoints, Some(&before));
        self.set.store(Arc::new(set));
    }

    /// Replaces the endpoints. One that stays, by id, address and identity, keeps its circuit and its measured load.
    /// Unhealthy ones are left out, unless none is healthy: then the report is doubted, and all are used.
    pub fn update(&self, endpoints: &[api::Endpoint], now: Instant) {
        let breakers = self.breakers.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.set.load_full();
        let known: HashMap<_, &Arc<Endpoint>> = before.everyone.iter().map(|e| (e.key(), e)).collect();
        let next = endpoints.iter().map(|endpoint| match known.get(&Endpoint::key_of(endpoint)) {
            Some(same) => same.renewed(endpoint, &self.zone, now),
            None => {
                let new = Endpoint::new(endpoint, &self.zone, breakers.clone(), &self.latest);
                if !known.is_empty() {
                    new.start.begin(now);
                }
                Arc::new(new)
            }
        });
        let set = Set::new(before.settings.clone(), before.limits, next.collect(), Some(&before));
        self.set.store(Arc::new(set));
    }

    /// Picks the endpoint of one attempt and counts the attempt as in flight. `avoid` is the endpoint on which this
    /// request failed before; it is picked again only when there is no other.
    ///
    /// # Errors
    /// There are no endpoints.
    pub fn pick(
        &self,
        now: Instant,
        rng: &mut impl Rng,
        avoid: Option<&Endpoint>,
        affinity: Affinity,
    ) -> Result<Picked, PickError> {
        let set = self.set.load();
        let warming = set.settings.slow_start.filter(|slow_start| self.latest.is_warming(now, *slow_start));
        let pick = Pick { set: &set, turn: &self.turn, panic: &self.panic, now, warming, avoid, affinity };
        let choice = pick.choose(rng).ok_or(PickError::NoEndpoints)?;
        Ok(Picked::new(choice.endpoint, choice.permit, now))
    }

    /// The endpoints in use: those that are not reported unhealthy, or all if all are.
    pub fn endpoints(&self) -> Arc<[Arc<Endpoint>]> {
        self.set.load().usable().share_endpoints()
    }
}

fn limits(settings: &api::Backend) -> Limits {
    Limits { max_ejected_percent: settings.max_ejected_percent, min_available: settings.min_available }
}

#[cfg(test)]
mod tests;
