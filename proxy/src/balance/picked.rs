//! The endpoint of one attempt, counted as in flight until it is dropped.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::Endpoint;
use crate::policy::{
    Outcome,
    circuit_breaker::{Permit, State, Transition},
};

/// Dropped without an outcome, the attempt counts as cancelled.
#[must_use = "the attempt ends when this is dropped"]
#[derive(Debug)]
pub struct Picked {
    endpoint: Arc<Endpoint>,
    /// `None` when the endpoint is used although its circuit is open, and when the outcome was recorded.
    permit: Option<Permit>,
    started: Instant,
    latency: Option<Duration>,
    /// The latency counts already.
    observed: bool,
    recorded: bool,
}

impl Picked {
    pub(super) fn new(endpoint: Arc<Endpoint>, permit: Option<Permit>, started: Instant) -> Self {
        endpoint.load.begin();
        Self { endpoint, permit, started, latency: None, observed: false, recorded: false }
    }

    pub fn endpoint(&self) -> &Arc<Endpoint> {
        &self.endpoint
    }

    /// The endpoint's transition to half-open, when this pick made it; for the log.
    pub fn transition(&self) -> Option<Transition> {
        self.permit.as_ref().and_then(Permit::transition)
    }

    /// The endpoint's circuit would have rejected this pick, and is a dry run.
    pub fn is_uncounted(&self) -> bool {
        self.permit.as_ref().is_some_and(Permit::is_uncounted)
    }

    /// The response's head arrived: from here on the time that passes is the caller's and the body's, not latency.
    pub fn head_arrived(&mut self, now: Instant) {
        self.latency.get_or_insert(now.saturating_duration_since(self.started));
    }

    /// Counts the latency of an answer whose head is good. Its outcome may come much later, with the end of its body.
    pub fn observe_head(&mut self, now: Instant) {
        self.head_arrived(now);
        self.observe(Outcome::Success, now);
    }

    fn observe(&mut self, outcome: Outcome, now: Instant) {
        let was_observed = std::mem::replace(&mut self.observed, true);
        let latency = self.latency.unwrap_or_else(|| now.saturating_duration_since(self.started));
        match outcome {
            Outcome::Failure(_) => self.endpoint.load.observe_failure(latency, now),
            _ if was_observed => {}
            Outcome::Success => self.endpoint.load.observe(latency, now),
            Outcome::Cancelled => self.endpoint.load.observe_at_least(latency, now),
        }
    }

    /// Counts the outcome; once. The attempt stays in flight until it is dropped, for as long as its body streams.
    /// `jitter` is random, from 0 to 1. Returns the endpoint's transition that the outcome caused.
    pub fn record(&mut self, outcome: Outcome, now: Instant, jitter: f64) -> Option<Transition> {
        if std::mem::replace(&mut self.recorded, true) {
            return None;
        }
        self.observe(outcome, now);
        let latency = self.latency.unwrap_or_else(|| now.saturating_duration_since(self.started));
        let permit = self.permit.take()?;
        let transition = self.endpoint.breaker.finish(permit, outcome, latency, now, jitter);
        if transition.is_some_and(|transition| transition.to == State::Closed && !transition.dry_run) {
            self.endpoint.start.begin(now);
        }
        transition
    }

    /// As [`record`](Self::record), and the attempt is over.
    pub fn finish(mut self, outcome: Outcome, now: Instant, jitter: f64) -> Option<Transition> {
        self.record(outcome, now, jitter)
    }
}

impl Drop for Picked {
    fn drop(&mut self) {
        if !self.recorded {
            let now = self.started + self.latency.unwrap_or_else(|| self.started.elapsed());
            // Cancelled: no transition can follow, so that nothing is lost with the result.
            let _ = self.record(Outcome::Cancelled, now, 0.0);
        }
        self.endpoint.load.end();
    }
}
