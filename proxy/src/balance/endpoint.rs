//! One live endpoint: where it is, who must answer there, how loaded it is and whether its circuit is closed.

use std::{net::SocketAddr, sync::Arc, time::Instant};

use weft_certs::SpiffeId;
use weft_proxy_api::policy::CircuitBreaker as BreakerConfig;

use super::load::Load;
use crate::{http::client::Target, policy::CircuitBreaker};

#[derive(Debug)]
pub struct Endpoint {
    pub id: String,
    /// Where it is, and who must answer there.
    pub target: Arc<Target>,
    /// Relative to the other endpoints; at least 1.
    pub weight: u32,
    pub breaker: Arc<CircuitBreaker>,
    pub(super) load: Arc<Load>,
}

/// What makes two descriptions the same endpoint.
pub(super) type Key<'a> = (&'a str, SocketAddr, Option<&'a SpiffeId>);

impl Endpoint {
    pub(super) fn new(endpoint: &weft_proxy_api::Endpoint, breaker: BreakerConfig) -> Self {
        Self {
            id: endpoint.id.clone(),
            target: Arc::new(Target { address: endpoint.address, identity: endpoint.identity.clone() }),
            weight: endpoint.weight.max(1),
            breaker: Arc::new(CircuitBreaker::new(breaker)),
            load: Arc::new(Load::new()),
        }
    }

    /// The same endpoint with another weight; its state is shared, so that requests in flight stay counted.
    pub(super) fn with_weight(&self, weight: u32) -> Self {
        Self {
            id: self.id.clone(),
            target: Arc::clone(&self.target),
            weight: weight.max(1),
            breaker: Arc::clone(&self.breaker),
            load: Arc::clone(&self.load),
        }
    }

    pub(super) fn key(&self) -> Key<'_> {
        (&self.id, self.target.address, self.target.identity.as_ref())
    }

    pub(super) fn key_of(endpoint: &weft_proxy_api::Endpoint) -> Key<'_> {
        (&endpoint.id, endpoint.address, endpoint.identity.as_ref())
    }

    /// Whether both are the same endpoint, also across an update of its weight.
    pub fn is(&self, other: &Self) -> bool {
        self.key() == other.key()
    }

    pub fn in_flight(&self) -> u32 {
        self.load.in_flight()
    }

    /// The moving average of its latency, in seconds; `None` before the first answer.
    pub fn latency(&self, now: Instant) -> Option<f64> {
        self.load.latency(now)
    }
}
