//! Policies toward a backend, as values; the proxy's engines enforce them.

use std::time::Duration;

use crate::{
    proto::api::v1 as pb,
    wire::{WireError, millis, to_millis},
};

/// How the next endpoint is picked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum LoadBalancer {
    /// The better of two random endpoints, by a peak-sensitive moving average of latency times requests in flight.
    #[default]
    PeakEwma,
    /// The better of two random endpoints, by requests in flight.
    LeastRequest,
    RoundRobin,
}

/// When a backend, or one endpoint, is left alone because it fails.
///
/// Closed → open at `failure_rate_percent` of at least `minimum_requests` within `window`, or at
/// `consecutive_failures`; open → half-open after a wait that doubles from `open_initial` to `open_max`, with jitter;
/// half-open admits at most `half_open_probes` requests at a time and closes after `half_open_successes`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CircuitBreaker {
    /// 1 to 100.
    pub failure_rate_percent: u32,
    pub minimum_requests: u32,
    pub window: Duration,
    /// `None`: a row of failures alone does not open the circuit.
    pub consecutive_failures: Option<u32>,
    pub open_initial: Duration,
    pub open_max: Duration,
    pub half_open_probes: u32,
    pub half_open_successes: u32,
}

impl Default for CircuitBreaker {
    fn default() -> Self {
        Self {
            failure_rate_percent: 50,
            minimum_requests: 20,
            window: Duration::from_secs(10),
            consecutive_failures: None,
            open_initial: Duration::from_secs(5),
            open_max: Duration::from_secs(60),
            half_open_probes: 3,
            half_open_successes: 3,
        }
    }
}

impl CircuitBreaker {
    /// The default for a single endpoint, which is left sooner than a whole backend: another endpoint can answer.
    pub fn endpoint_default() -> Self {
        Self { consecutive_failures: Some(5), ..Self::default() }
    }
}

/// Limits on the time of a request on a route; `None` is no limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// From the request's head to the response's head, all attempts together.
    pub request: Option<Duration>,
    /// One attempt toward a backend.
    pub backend_request: Option<Duration>,
}

impl Timeouts {
    pub const DEFAULT_REQUEST: Duration = Duration::from_secs(30);
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { request: Some(Self::DEFAULT_REQUEST), backend_request: None }
    }
}

pub const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
pub const DEFAULT_MAX_EJECTED_PERCENT: u32 = 50;

impl From<LoadBalancer> for pb::LoadBalancer {
    fn from(value: LoadBalancer) -> Self {
        match value {
            LoadBalancer::PeakEwma => Self::PeakEwma,
            LoadBalancer::LeastRequest => Self::LeastRequest,
            LoadBalancer::RoundRobin => Self::RoundRobin,
        }
    }
}

impl From<pb::LoadBalancer> for LoadBalancer {
    fn from(wire: pb::LoadBalancer) -> Self {
        match wire {
            pb::LoadBalancer::Unspecified | pb::LoadBalancer::PeakEwma => Self::PeakEwma,
            pb::LoadBalancer::LeastRequest => Self::LeastRequest,
            pb::LoadBalancer::RoundRobin => Self::RoundRobin,
        }
    }
}

impl From<&CircuitBreaker> for pb::CircuitBreaker {
    fn from(value: &CircuitBreaker) -> Self {
        Self {
            failure_rate_percent: value.failure_rate_percent,
            minimum_requests: value.minimum_requests,
            window_ms: to_millis(Some(value.window)),
            consecutive_failures: value.consecutive_failures.unwrap_or(0),
            open_initial_ms: to_millis(Some(value.open_initial)),
            open_max_ms: to_millis(Some(value.open_max)),
            half_open_probes: value.half_open_probes,
            half_open_successes: value.half_open_successes,
        }
    }
}

impl TryFrom<pb::CircuitBreaker> for CircuitBreaker {
    type Error = WireError;

    fn try_from(wire: pb::CircuitBreaker) -> Result<Self, WireError> {
        if !(1..=100).contains(&wire.failure_rate_percent) {
            return Err(WireError::new("failure_rate_percent", "must be from 1 to 100"));
        }
        let positive = |value: u64, field| millis(value).ok_or_else(|| WireError::new(field, "must be more than 0"));
        let open_initial = positive(wire.open_initial_ms, "open_initial_ms")?;
        Ok(Self {
            failure_rate_percent: wire.failure_rate_percent,
            minimum_requests: wire.minimum_requests.max(1),
            window: positive(wire.window_ms, "window_ms")?,
            consecutive_failures: (wire.consecutive_failures > 0).then_some(wire.consecutive_failures),
            open_initial,
            open_max: positive(wire.open_max_ms, "open_max_ms")?.max(open_initial),
            half_open_probes: wire.half_open_probes.max(1),
            half_open_successes: wire.half_open_successes.max(1),
        })
    }
}

impl From<&Timeouts> for pb::Timeouts {
    fn from(value: &Timeouts) -> Self {
        Self { request_ms: to_millis(value.request), backend_request_ms: to_millis(value.backend_request) }
    }
}

impl From<pb::Timeouts> for Timeouts {
    fn from(wire: pb::Timeouts) -> Self {
        Self { request: millis(wire.request_ms), backend_request: millis(wire.backend_request_ms) }
    }
}
