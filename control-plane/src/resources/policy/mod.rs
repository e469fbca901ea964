//! What a `TrafficPolicy`, a `MeshConfig` and the rules of routes say about traffic: any part of the policies, laid over
//! what a less special place says. Which places there are, and in which order, is decided where they are compiled.
//!
//! [`BackendSpec`] is about a service, whoever sends it requests; [`RequestSpec`] about single requests.

mod amounts;
mod bulkhead;
mod circuit_breaker;
mod degradation;
mod fault;
mod grpc_code;
mod load_balancer;
mod retry;
mod timeouts;

use std::time;

use schemars::JsonSchema;
use serde::Deserialize;
use weft_proxy_api::{
    Backend,
    policy::{Bulkhead, Cache, Fault, FixedResponse, Policies},
};

use super::{
    duration::Duration,
    problem::{Path, Report},
};
pub(super) use amounts::{PERCENT_FORMAT, SIZE_FORMAT, parse_percent, parse_size};
pub use circuit_breaker::{CircuitBreakerSpec, EndpointCircuitBreakerSpec};
pub(super) use degradation::{WrittenCache, WrittenResponse};
pub(super) use fault::WrittenFault;
pub use load_balancer::LoadBalancerSpec;
pub use retry::{RetryBudgetSpec, RetrySpec};
pub(super) use retry::{WrittenRetry, read_attempts, read_status};
pub use timeouts::TimeoutsSpec;
pub(super) use timeouts::WrittenTimeouts;

/// Toward a service, as it is written.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct WrittenBackend {
    load_balancer: Option<load_balancer::Written>,
    circuit_breaker: Option<CircuitBreakerSpec>,
    endpoint_circuit_breaker: Option<EndpointCircuitBreakerSpec>,
    bulkhead: Option<bulkhead::Written>,
    retry_budget: Option<RetryBudgetSpec>,
}

/// Toward a service, from each sidecar that sends it requests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BackendSpec {
    pub load_balancer: LoadBalancerSpec,
    pub circuit_breaker: CircuitBreakerSpec,
    pub endpoint_circuit_breaker: EndpointCircuitBreakerSpec,
    /// As a whole: a limit of one place and a queue of another would fit by chance only.
    pub bulkhead: Option<Bulkhead>,
    pub retry_budget: RetryBudgetSpec,
    pub connect_timeout: Option<time::Duration>,
}

/// About single requests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestSpec {
    pub timeouts: TimeoutsSpec,
    pub retry: RetrySpec,
    pub fault: Option<Fault>,
    pub cache: Option<Cache>,
    pub fallback_response: Option<FixedResponse>,
}

impl WrittenBackend {
    /// Each field, and whether it is there.
    pub fn fields(&self) -> [(&'static str, bool); 5] {
        [
            ("loadBalancer", self.load_balancer.is_some()),
            ("circuitBreaker", self.circuit_breaker.is_some()),
            ("endpointCircuitBreaker", self.endpoint_circuit_breaker.is_some()),
            ("bulkhead", self.bulkhead.is_some()),
            ("retryBudget", self.retry_budget.is_some()),
        ]
    }

    /// `connect` is that of the timeouts beside it, and `path` is what holds them all.
    pub fn read(self, connect: Option<Duration>, path: &Path, report: &mut Report) -> BackendSpec {
        let load_balancer = self.load_balancer.map(|written| written.read(&path.field("loadBalancer"), report));
        let circuit_breaker = self.circuit_breaker.unwrap_or_default();
        circuit_breaker.check(&path.field("circuitBreaker"), report);
        let endpoint_circuit_breaker = self.endpoint_circuit_breaker.unwrap_or_default();
        endpoint_circuit_breaker.breaker.check(&path.field("endpointCircuitBreaker"), report);
        if let Some(connect) = connect {
            check_positive(connect, &path.field("timeouts").field("connect"), report);
        }
        BackendSpec {
            load_balancer: load_balancer.unwrap_or_default(),
            circuit_breaker,
            endpoint_circuit_breaker,
            bulkhead: self.bulkhead.map(|written| written.read(&path.field("bulkhead"), report)),
            retry_budget: self.retry_budget.unwrap_or_default(),
            connect_timeout: connect.map(|timeout| timeout.0),
        }
    }
}

impl BackendSpec {
    /// `base`, with what this says in place of what `base` says.
    pub fn over(&self, base: Backend) -> Backend {
        let endpoint = &self.endpoint_circuit_breaker;
        Backend {
            load_balancer: self.load_balancer.over(base.load_balancer),
            circuit_breaker: self.circuit_breaker.over(base.circuit_breaker),
            endpoint_circuit_breaker: endpoint.breaker.over(base.endpoint_circuit_breaker),
            max_ejected_percent: endpoint.max_ejected_percent.unwrap_or(base.max_ejected_percent),
            min_available: endpoint.min_available.unwrap_or(base.min_available),
            bulkhead: self.bulkhead.clone().unwrap_or(base.bulkhead),
            retry_budget: self.retry_budget.over(base.retry_budget),
            connect_timeout: self.connect_timeout.unwrap_or(base.connect_timeout),
            ..base
        }
    }
}

impl RequestSpec {
    /// What `layers` say, the less special first, over what is built in.
    pub fn together<'a>(layers: impl Iterator<Item = &'a Self>) -> Policies {
        let policies = layers.fold(Policies::default(), |base, layer| layer.over(base));
        Policies { retry: retry::settled(policies.retry), ..policies }
    }

    /// `base`, with what this says in place of what `base` says.
    fn over(&self, base: Policies) -> Policies {
        Policies {
            timeouts: self.timeouts.over(base.timeouts),
            retry: self.retry.over(base.retry),
            fault: self.fault.clone().or(base.fault),
            cache: self.cache.clone().or(base.cache),
            fallback_response: self.fallback_response.clone().or(base.fallback_response),
            ..base
        }
    }

    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Of a limit that cannot be switched off.
fn check_positive(duration: Duration, path: &Path, report: &mut Report) {
    if duration.0.is_zero() {
        report.error(path, "must be more than 0s");
    }
}
