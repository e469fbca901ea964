//! When a backend, or one endpoint, is left alone.

use std::time::Duration;

use crate::{
    proto::api::v1 as pb,
    wire::{WireError, millis, to_millis},
};

/// When a backend, or one endpoint, is left alone because it fails.
///
/// Closed → open at `failure_rate_percent` of at least `minimum_requests` within `window`, or at
/// `consecutive_failures`; open → half-open after a wait that doubles from `open_initial` to `open_max`, with jitter;
/// half-open admits at most `half_open_probes` requests at a time and closes after `half_open_successes`.
/// An answer that took longer than `slow_call` says is counted apart: closed → open at its rate as well.
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
    pub slow_call: Option<SlowCall>,
    /// What it would do is counted and logged, and every request passes.
    pub dry_run: bool,
}

/// Which answers are too slow, and how many of them are too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlowCall {
    /// To the response's head.
    pub longer_than: Duration,
    /// Of at least `minimum_requests` within the window; 1 to 100.
    pub rate_percent: u32,
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
            slow_call: None,
            dry_run: false,
        }
    }
}

impl CircuitBreaker {
    /// The default for a single endpoint, which is left sooner than a whole backend: another endpoint can answer.
    pub fn endpoint_default() -> Self {
        Self { consecutive_failures: Some(5), ..Self::default() }
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
            slow_call_ms: to_millis(value.slow_call.map(|slow| slow.longer_than)),
            slow_call_rate_percent: value.slow_call.map_or(0, |slow| slow.rate_percent),
            dry_run: value.dry_run,
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
            slow_call: millis(wire.slow_call_ms)
                .map(|longer_than| SlowCall { longer_than, rate_percent: wire.slow_call_rate_percent.clamp(1, 100) }),
            dry_run: wire.dry_run,
        })
    }
}
