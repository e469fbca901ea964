//! Whether there is another attempt: what the policy says, and then what the backend's circuit and budget allow.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use http::{HeaderValue, StatusCode};
use weft_proxy_api::policy::Retry;

use crate::{
    error::ProxyError,
    http::{answer, proxy_status::ProxyStatus},
    mesh::Backend,
    policy::{
        circuit_breaker::Availability,
        retry::{self, Decision, Ended, Moment, Reason, Safety, Stop},
    },
    telemetry::{Metrics, metrics::Direction},
};

/// The rules for one request.
pub(in super::super) struct Repeat<'a> {
    backend: &'a Arc<Backend>,
    policy: &'a Retry,
    safety: Safety,
    metrics: &'a Metrics,
}

/// What was tried so far.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Tried {
    pub made: u32,
    pub is_whole: bool,
    pub left: Option<Duration>,
}

impl<'a> Repeat<'a> {
    pub fn new(backend: &'a Arc<Backend>, policy: &'a Retry, safety: Safety, metrics: &'a Metrics) -> Self {
        Self { backend, policy, safety, metrics }
    }

    /// A request begins, of which a share may be sent again.
    pub fn begins(&self, now: Instant) {
        if self.policy.attempts > 0 {
            self.backend.retry_budget.request(now);
        }
    }

    /// Asked after each attempt that may be followed by another. `Again` has been counted.
    pub fn decide(&self, ended: Ended<'_>, tried: Tried) -> Decision {
        let decision = self.would(ended, tried);
        let Decision::Again { reason, wait } = decision else { return decision };
        match self.leave(reason) {
            Some(stop) => Decision::Answer(Some(stop)),
            None => {
                tracing::debug!(backend = %self.backend.label, reason = reason.label(), ?wait, "another attempt is made");
                decision
            }
        }
    }

    /// What the policy alone says.
    pub(super) fn would(&self, ended: Ended<'_>, tried: Tried) -> Decision {
        let Tried { made, is_whole, left } = tried;
        let moment = Moment { made, is_whole, left, time_of_day: SystemTime::now(), random: rand::random() };
        retry::decide(self.policy, self.safety, ended, moment)
    }

    /// Leave for one more attempt, which is counted; else why there is none. What reached nobody is no load for the
    /// backend: it only has to end when the circuit opens.
    pub(super) fn leave(&self, reason: Reason) -> Option<Stop> {
        let (backend, now) = (self.backend, Instant::now());
        let may_go = match backend.breaker.availability(now) {
            Availability::Closed => true,
            Availability::Probe | Availability::ProbesTaken => reason == Reason::Unsent,
            Availability::Open { .. } => false,
        };
        if !may_go {
            return Some(Stop::CircuitOpen);
        }
        if reason != Reason::Unsent && !backend.retry_budget.take(backend.settings.retry_budget, now) {
            self.metrics.retry_budget_exhausted(&backend.label);
            return Some(Stop::BudgetExhausted);
        }
        self.metrics.retry(&backend.label, reason);
        None
    }
}

fn attempts(made: u32, stop: Stop) -> String {
    let plural = if made == 1 { "" } else { "s" };
    format!("{made} attempt{plural}, and no more: {stop}")
}

/// Says in an answer of the application why it was not asked again.
pub(super) fn note(backend: &Backend, status: StatusCode, made: u32, stop: Stop) -> HeaderValue {
    let details = attempts(made, stop);
    let status = ProxyStatus::new(answer::name(Direction::Outbound)).received_status(status);
    status.next_hop(&backend.label).details(&details).to_header_value()
}

/// The failure, with the backend that it was, and why there was no other attempt.
pub(in super::super) fn explained(backend: &Backend, error: ProxyError, made: u32, stop: Option<Stop>) -> ProxyError {
    let also = stop.map(|stop| format!(" ({})", attempts(made, stop))).unwrap_or_default();
    ProxyError { details: format!("{}: {}{also}", backend.label, error.details), ..error }
}
