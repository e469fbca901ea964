//! The policies of a sidecar toward every backend, in the types in which the control plane tells them.

use std::time::Duration;

use weft_proxy_api::{
    self as api, ServicePort,
    policy::{self, Algorithm, Bulkhead, CircuitBreaker, Retry, RetryBudget, Timeouts},
};

#[derive(Clone, Debug)]
pub struct Policies {
    pub backend: api::Backend,
    /// Of the only rule that there is. Every request may be done twice.
    pub rule: policy::Policies,
}

impl Policies {
    /// Timeouts alone: no circuit opens, nothing is sent again, nothing is limited.
    pub fn none() -> Self {
        let name = ServicePort::new("default", "backend", 80);
        let backend =
            api::Backend { circuit_breaker: never(), endpoint_circuit_breaker: never(), ..api::Backend::new(name) };
        let timeouts = Timeouts {
            request: Some(Duration::from_secs(1)),
            backend_request: Some(Duration::from_millis(250)),
            ..Timeouts::NONE
        };
        let retry = Retry { attempts: 0, ..Retry::default() };
        Self { backend, rule: policy::Policies { timeouts, retry, ..policy::Policies::default() } }
    }

    pub fn balanced_by(mut self, algorithm: Algorithm) -> Self {
        self.backend.load_balancer = algorithm.into();
        self
    }

    /// Endpoints that fail are left out, with the defaults.
    pub fn ejecting(mut self) -> Self {
        self.backend.endpoint_circuit_breaker = CircuitBreaker::endpoint_default();
        self
    }

    /// At most this share of the endpoints is left out, in percent.
    pub fn at_most(mut self, percent: u32) -> Self {
        self.backend.max_ejected_percent = percent;
        self
    }

    /// The circuit breaker of the backend as a whole, with the defaults.
    pub fn breaking(mut self) -> Self {
        self.backend.circuit_breaker = CircuitBreaker::default();
        self
    }

    /// Failed attempts are followed by others, as many as the budget allows.
    pub fn retrying(mut self, attempts: u32, budget: RetryBudget) -> Self {
        self.rule.retry.attempts = attempts;
        self.backend.retry_budget = budget;
        self
    }

    /// At most so many requests are under way to a backend; others are refused at once.
    pub fn limited_to(mut self, requests: u32) -> Self {
        self.backend.bulkhead = Bulkhead { max_requests: Some(requests), ..Bulkhead::default() };
        self
    }
}

/// Allows every retry.
pub const NO_BUDGET: RetryBudget = RetryBudget { percent: 1_000_000, min_per_second: 0 };

/// A circuit breaker that does not open.
fn never() -> CircuitBreaker {
    CircuitBreaker { minimum_requests: u32::MAX, consecutive_failures: None, ..CircuitBreaker::default() }
}
