//! One live endpoint: where it is, who must answer there, how loaded it is and whether its circuit is closed.

use std::{net::SocketAddr, sync::Arc, time::Instant};

use weft_certs::SpiffeId;
use weft_proxy_api::policy::CircuitBreaker as BreakerConfig;
use xxhash_rust::xxh3::xxh3_64;

use super::{
    load::Load,
    slow_start::{Latest, Start},
};
use crate::{http::client::Target, policy::CircuitBreaker};

#[derive(Debug)]
pub struct Endpoint {
    pub id: String,
    /// What names it in a session, and places it in a table: the hash of its id, so that it says no address.
    pub tag: u64,
    /// Where it is, and who must answer there.
    pub target: Arc<Target>,
    /// Relative to the other endpoints; at least 1.
    pub weight: u32,
    pub breaker: Arc<CircuitBreaker>,
    /// As it is reported.
    pub(super) healthy: bool,
    /// In the zone of this sidecar.
    pub(super) near: bool,
    pub(super) load: Arc<Load>,
    pub(super) start: Arc<Start>,
}

/// What makes two descriptions the same endpoint.
pub(super) type Key<'a> = (&'a str, SocketAddr, Option<&'a SpiffeId>);

impl Endpoint {
    /// An endpoint that is warm.
    pub(super) fn new(
        endpoint: &weft_proxy_api::Endpoint,
        zone: &str,
        breaker: BreakerConfig,
        latest: &Arc<Latest>,
    ) -> Self {
        Self {
            id: endpoint.id.clone(),
            tag: xxh3_64(endpoint.id.as_bytes()),
            target: Arc::new(Target { address: endpoint.address, identity: endpoint.identity.clone() }),
            weight: endpoint.weight.max(1),
            breaker: Arc::new(CircuitBreaker::new(breaker)),
            healthy: endpoint.healthy,
            near: is_near(endpoint, zone),
            load: Arc::new(Load::new()),
            start: Arc::new(Start::warm(latest)),
        }
    }

    /// The same endpoint as it is described now; its state is shared, so that requests in flight stay counted. One that
    /// was unhealthy and is healthy again begins slowly.
    pub(super) fn renewed(
        self: &Arc<Self>,
        endpoint: &weft_proxy_api::Endpoint,
        zone: &str,
        now: Instant,
    ) -> Arc<Self> {
        let (weight, healthy, near) = (endpoint.weight.max(1), endpoint.healthy, is_near(endpoint, zone));
        if (weight, healthy, near) == (self.weight, self.healthy, self.near) {
            return Arc::clone(self);
        }
        if healthy && !self.healthy {
            self.start.begin(now);
        }
        Arc::new(Self {
            id: self.id.clone(),
            tag: self.tag,
            target: Arc::clone(&self.target),
            weight,
            breaker: Arc::clone(&self.breaker),
            healthy,
            near,
            load: Arc::clone(&self.load),
            start: Arc::clone(&self.start),
        })
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

fn is_near(endpoint: &weft_proxy_api::Endpoint, zone: &str) -> bool {
    !zone.is_empty() && endpoint.zone == zone
}
