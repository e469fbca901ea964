//! A backend: the endpoints of a service port, how one of them is picked, and whether the backend is left alone.

use std::{sync::Arc, time::Instant};

use tokio::sync::watch;
use weft_proxy_api as api;

use crate::{
    balance::Balancer,
    policy::{
        CircuitBreaker, Outcome,
        circuit_breaker::{Guard, Rejected, Transition},
    },
    telemetry::{
        Metrics,
        metrics::{Direction, RequestMetrics},
    },
};

pub struct Backend {
    pub settings: api::Backend,
    /// The name as it is written in metrics, logs and answers.
    pub label: Arc<str>,
    pub breaker: Arc<CircuitBreaker>,
    pub balancer: Arc<Balancer>,
    pub requests: Arc<RequestMetrics>,
    watchers: Watchers,
}

/// Who is told when a circuit changes its state.
#[derive(Clone)]
pub struct Watchers {
    pub metrics: Arc<Metrics>,
    pub transitions: watch::Sender<()>,
}

impl Backend {
    /// A backend with these settings. What `before` had learned about the same backend stays: its circuit, its
    /// endpoints with their latencies and circuits.
    pub fn new(settings: &api::Backend, before: Option<&Backend>, watchers: &Watchers) -> Self {
        let label = settings.name.to_string();
        let (breaker, balancer) = match before {
            Some(before) => {
                before.breaker.reconfigure(settings.circuit_breaker.clone());
                before.balancer.reconfigure(
                    settings.load_balancer,
                    settings.max_ejected_percent,
                    settings.endpoint_circuit_breaker.clone(),
                );
                (before.breaker.clone(), before.balancer.clone())
            }
            None => (
                Arc::new(CircuitBreaker::new(settings.circuit_breaker.clone())),
                Arc::new(Balancer::new(
                    settings.load_balancer,
                    settings.max_ejected_percent,
                    settings.endpoint_circuit_breaker.clone(),
                )),
            ),
        };
        Self {
            settings: settings.clone(),
            breaker,
            balancer,
            requests: watchers.metrics.requests(Direction::Outbound, &label),
            label: label.into(),
            watchers: watchers.clone(),
        }
    }

    /// Leave for one request, unless the circuit is open.
    pub fn admit(&self, now: Instant) -> Result<Guard, Rejected> {
        let guard = self.breaker.guard(now)?;
        self.report(None, guard.transition());
        Ok(guard)
    }

    /// Tells the backend's circuit how a request ended.
    pub fn finish(&self, guard: Guard, outcome: Outcome, now: Instant) {
        self.report(None, guard.finish(outcome, now, rand::random()));
    }

    /// Shows a transition of the backend's own circuit, or of one endpoint's, to people.
    pub fn report(&self, endpoint: Option<&str>, transition: Option<Transition>) {
        let Some(transition) = transition else { return };
        self.watchers.metrics.circuit(&self.label, endpoint.unwrap_or_default(), transition.to.name());
        self.watchers.transitions.send_replace(());
        match endpoint {
            None => tracing::warn!(backend = %self.label, "circuit {transition}"),
            Some(endpoint) => tracing::warn!(backend = %self.label, endpoint, "circuit {transition}"),
        }
    }
}
