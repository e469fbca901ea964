//! Which endpoint of a backend gets a request.
//!
//! Decides by the load balancer that the backend has, and leaves out the endpoints whose own circuit is open, as far
//! as the limit on ejection allows. Called by the outbound path for each attempt, and by `mesh` when the control plane
//! sends other endpoints or other policies. Connections are not its concern.
//!
//! - **Peak EWMA** and **least request** take the better of two random endpoints (P2C).
//! - **Ejection**: at most `max_ejected_percent` of the endpoints, rounded down, and never all of them. When more
//!   circuits are open than that, those with the least wait left are used all the same, and their circuits do not learn
//!   from it: when most endpoints fail, pressing the whole load on the few that are left would make them fail too.
//! - **Probes**: an endpoint whose circuit is half-open gets the request that draws it as long as a probe is free, and
//!   else none. A request that failed on another endpoint before (`avoid`) is not used as a probe unless it must be.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, atomic::AtomicU64},
    time::Instant,
};

use arc_swap::ArcSwap;
use rand::Rng;
use weft_proxy_api::policy::{CircuitBreaker as BreakerConfig, LoadBalancer};

pub use endpoint::Endpoint;
use pick::Pick;
pub use picked::Picked;
use set::Set;

mod endpoint;
mod load;
mod pick;
mod picked;
mod set;

/// The endpoints of one backend, and how one is picked.
#[derive(Debug)]
pub struct Balancer {
    /// Everything that a pick reads, behind one pointer.
    set: ArcSwap<Set>,
    /// Round robin's place.
    turn: AtomicU64,
    /// Held by who writes `set`, so that an update and a reconfiguration do not undo each other.
    breakers: Mutex<BreakerConfig>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PickError {
    #[error("the service has no endpoints")]
    NoEndpoints,
}

impl Balancer {
    /// A balancer without endpoints. `breakers` is the circuit breaker of each endpoint.
    pub fn new(kind: LoadBalancer, max_ejected_percent: u32, breakers: BreakerConfig) -> Self {
        Self {
            set: ArcSwap::from_pointee(Set::new(kind, max_ejected_percent, Arc::from([]))),
            turn: AtomicU64::new(0),
            breakers: Mutex::new(breakers),
        }
    }

    /// Takes other policies; the endpoints keep their circuits and their measured load.
    pub fn reconfigure(&self, kind: LoadBalancer, max_ejected_percent: u32, breakers: BreakerConfig) {
        let mut current = self.breakers.lock().unwrap_or_else(PoisonError::into_inner);
        let endpoints = self.endpoints();
        for endpoint in endpoints.iter() {
            endpoint.breaker.reconfigure(breakers.clone());
        }
        *current = breakers;
        self.set.store(Arc::new(Set::new(kind, max_ejected_percent, endpoints)));
    }

    /// Replaces the endpoints. One that stays, by id, address and identity, keeps its circuit and its measured load.
    /// Unhealthy ones are left out, unless none is healthy: then the report is doubted, and all are used.
    pub fn update(&self, endpoints: &[weft_proxy_api::Endpoint]) {
        let breakers = self.breakers.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.set.load_full();
        let known: HashMap<_, &Arc<Endpoint>> = before.endpoints.iter().map(|e| (e.key(), e)).collect();
        let any_healthy = endpoints.iter().any(|endpoint| endpoint.healthy);
        let next = endpoints
            .iter()
            .filter(|endpoint| endpoint.healthy || !any_healthy)
            .map(|endpoint| match known.get(&Endpoint::key_of(endpoint)) {
                Some(same) if same.weight == endpoint.weight.max(1) => Arc::clone(same),
                Some(same) => Arc::new(same.with_weight(endpoint.weight)),
                None => Arc::new(Endpoint::new(endpoint, breakers.clone())),
            })
            .collect();
        self.set.store(Arc::new(Set::new(before.kind, before.max_ejected_percent, next)));
    }

    /// Picks the endpoint of one attempt and counts the attempt as in flight. `avoid` is the endpoint on which this
    /// request failed before; it is picked again only when there is no other.
    ///
    /// # Errors
    /// There are no endpoints.
    pub fn pick(&self, now: Instant, rng: &mut impl Rng, avoid: Option<&Endpoint>) -> Result<Picked, PickError> {
        let set = self.set.load();
        let pick = Pick { set: &set, turn: &self.turn, now, avoid };
        let choice = pick.choose(rng).ok_or(PickError::NoEndpoints)?;
        Ok(Picked::new(choice.endpoint, choice.permit, now))
    }

    pub fn endpoints(&self) -> Arc<[Arc<Endpoint>]> {
        Arc::clone(&self.set.load().endpoints)
    }
}

#[cfg(test)]
mod tests;
