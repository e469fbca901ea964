//! What a `TrafficPolicy` and a `MeshConfig` say about circuit breakers: any part of the settings, over others.

use schemars::JsonSchema;
use serde::Deserialize;
use weft_proxy_api::policy::{CircuitBreaker, SlowCall};

use super::check_positive;
use crate::resources::{
    duration::Duration,
    problem::{Path, Report},
};

/// When a circuit opens, and how it closes again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CircuitBreakerSpec {
    #[schemars(range(min = 1, max = 100))]
    pub failure_rate_percent: Option<u32>,
    #[schemars(range(min = 1))]
    pub minimum_requests: Option<u32>,
    pub window: Option<Duration>,
    /// 0 turns this condition off.
    pub consecutive_failures: Option<u32>,
    pub open: Option<OpenSpec>,
    pub half_open: Option<HalfOpenSpec>,
    pub slow_call: Option<SlowCallSpec>,
    /// What it would do is counted and logged, and every request passes.
    pub dry_run: Option<bool>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
pub struct OpenSpec {
    pub initial: Option<Duration>,
    pub max: Option<Duration>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
pub struct HalfOpenSpec {
    #[schemars(range(min = 1))]
    pub probes: Option<u32>,
    #[schemars(range(min = 1))]
    pub successes: Option<u32>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SlowCallSpec {
    pub longer_than: Duration,
    /// Of at least `minimumRequests`; as many as of failures when it is left out.
    #[schemars(range(min = 1, max = 100))]
    pub rate_percent: Option<u32>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EndpointCircuitBreakerSpec {
    #[serde(flatten)]
    pub breaker: CircuitBreakerSpec,
    #[schemars(range(min = 1, max = 100))]
    pub max_ejected_percent: Option<u32>,
    #[schemars(range(min = 1))]
    pub min_available: Option<u32>,
}

impl CircuitBreakerSpec {
    pub(crate) fn check(&self, path: &Path, report: &mut Report) {
        let open = self.open.clone().unwrap_or_default();
        let at = path.field("open");
        let slow = self.slow_call.as_ref().map(|slow| slow.longer_than);
        let durations = [
            (self.window, path.field("window")),
            (open.initial, at.field("initial")),
            (open.max, at.field("max")),
            (slow, path.field("slowCall").field("longerThan")),
        ];
        for (duration, path) in durations.iter().filter_map(|(duration, path)| Some(((*duration)?, path))) {
            check_positive(duration, path, report);
        }
        if let (Some(initial), Some(max)) = (open.initial, open.max)
            && max < initial
        {
            report.error(&at.field("max"), format!("{max} is less than the initial wait of {initial}"));
        }
    }

    /// `base`, with what this says in place of what `base` says.
    pub fn over(&self, base: CircuitBreaker) -> CircuitBreaker {
        let open = self.open.clone().unwrap_or_default();
        let half_open = self.half_open.clone().unwrap_or_default();
        let open_initial = open.initial.map_or(base.open_initial, |d| d.0);
        let open_max = open.max.map_or(base.open_max, |d| d.0);
        // One of the two is the default here: the one that was written decides.
        let (open_initial, open_max) = match open.max {
            Some(_) => (open_initial.min(open_max), open_max),
            None => (open_initial, open_max.max(open_initial)),
        };
        let failure_rate_percent = self.failure_rate_percent.unwrap_or(base.failure_rate_percent);
        let slow_call = self.slow_call.as_ref().map(|slow| SlowCall {
            longer_than: slow.longer_than.0,
            rate_percent: slow.rate_percent.unwrap_or(failure_rate_percent),
        });
        CircuitBreaker {
            failure_rate_percent,
            minimum_requests: self.minimum_requests.unwrap_or(base.minimum_requests),
            window: self.window.map_or(base.window, |d| d.0),
            consecutive_failures: match self.consecutive_failures {
                None => base.consecutive_failures,
                Some(0) => None,
                some => some,
            },
            open_initial,
            open_max,
            half_open_probes: half_open.probes.unwrap_or(base.half_open_probes),
            half_open_successes: half_open.successes.unwrap_or(base.half_open_successes),
            slow_call: slow_call.or(base.slow_call),
            dry_run: self.dry_run.unwrap_or(base.dry_run),
        }
    }
}
