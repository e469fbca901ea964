//! What a `TrafficPolicy` and a `MeshConfig` say about circuit breakers: any part of the settings, over others.

use schemars::JsonSchema;
use serde::Deserialize;
use weft_proxy_api::policy::CircuitBreaker;

use super::{
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

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EndpointCircuitBreakerSpec {
    #[serde(flatten)]
    pub breaker: CircuitBreakerSpec,
    #[schemars(range(min = 1, max = 100))]
    pub max_ejected_percent: Option<u32>,
}

pub(super) fn check_breakers(
    backend: &Option<CircuitBreakerSpec>,
    endpoint: &Option<EndpointCircuitBreakerSpec>,
    path: &Path,
    report: &mut Report,
) {
    if let Some(breaker) = backend {
        breaker.check(&path.field("circuitBreaker"), report);
    }
    if let Some(endpoint) = endpoint {
        endpoint.breaker.check(&path.field("endpointCircuitBreaker"), report);
    }
}

impl CircuitBreakerSpec {
    fn check(&self, path: &Path, report: &mut Report) {
        let open = self.open.clone().unwrap_or_default();
        let at = path.field("open");
        let durations =
            [(self.window, path.field("window")), (open.initial, at.field("initial")), (open.max, at.field("max"))];
        for (duration, path) in durations {
            if duration.is_some_and(|duration| duration.0.is_zero()) {
                report.error(&path, "must be more than 0s");
            }
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
        CircuitBreaker {
            failure_rate_percent: self.failure_rate_percent.unwrap_or(base.failure_rate_percent),
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
        }
    }
}
