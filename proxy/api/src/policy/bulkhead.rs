//! What a backend may be given at a time.

use std::time::Duration;

use crate::{
    proto::api::v1 as pb,
    wire::{millis, to_millis},
};

/// The limits of one sidecar, all of its threads together. `None` is no limit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bulkhead {
    pub max_connections: Option<u32>,
    /// Under way, to the last byte of their answers.
    pub max_requests: Option<u32>,
    /// Requests that wait for one of `max_requests` to end; what comes when all places are taken is refused at once.
    pub max_waiting: u32,
    /// `None`: as long as the request's own limits allow.
    pub max_wait: Option<Duration>,
    /// The limit of requests follows the latency that is observed, from this up to `max_requests`.
    pub adaptive_min: Option<u32>,
}

impl From<&Bulkhead> for pb::Bulkhead {
    fn from(value: &Bulkhead) -> Self {
        Self {
            max_connections: value.max_connections.unwrap_or(0),
            max_requests: value.max_requests.unwrap_or(0),
            max_waiting: value.max_waiting,
            max_wait_ms: to_millis(value.max_wait),
            adaptive_min: value.adaptive_min.unwrap_or(0),
        }
    }
}

impl From<pb::Bulkhead> for Bulkhead {
    fn from(wire: pb::Bulkhead) -> Self {
        let limit = |value: u32| (value > 0).then_some(value);
        Self {
            max_connections: limit(wire.max_connections),
            max_requests: limit(wire.max_requests),
            max_waiting: wire.max_waiting,
            max_wait: millis(wire.max_wait_ms),
            adaptive_min: limit(wire.adaptive_min),
        }
    }
}
