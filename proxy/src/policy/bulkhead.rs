//! The bulkhead: what a backend may be given at a time, so that a slow one does not take the capacity of its neighbours.
//!
//! `max_requests` requests are under way, from their admission to the last byte of their answers, whatever number of
//! attempts they take. `max_waiting` more wait for one of these to end, in the order in which they came and for
//! `max_wait` at most; all others are refused at once. With `adaptive_min` the limit follows latency: see `adaptive`.
//!
//! The counts are those of the whole sidecar, exact across its threads, and live as long as the backend has a
//! bulkhead: other limits apply to what is under way already. Called by the outbound path after the circuit breaker. A
//! backend without a bulkhead has none of this.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use weft_proxy_api::policy::Bulkhead as Config;

use super::{
    adaptive::Gradient,
    outcome::{Cause, Outcome},
};
use crate::telemetry::bulkhead::Gauges;
use limit::Limit;
use notice::Notice;

pub mod limit;
pub mod notice;

/// When to come back to a full bulkhead: soon, since a place is free with the next answer that ends.
pub const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The limit of requests of one backend.
#[derive(Debug)]
pub struct Bulkhead {
    max_waiting: u32,
    max_wait: Option<Duration>,
    requests: Arc<Requests>,
}

/// What stays when the configuration changes.
#[derive(Debug)]
struct Requests {
    limit: Arc<Limit>,
    waiting: AtomicU32,
    gradient: Mutex<Option<Gradient>>,
    notice: Notice,
    gauges: Gauges,
}

/// One request under way.
#[must_use = "the request is over when this is dropped"]
#[derive(Debug)]
pub struct Place {
    _place: limit::Place,
    requests: Arc<Requests>,
}

/// There is no place for the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full {
    /// The requests that may be under way.
    pub limit: u32,
    pub why: Why,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// So many wait already.
    Waiting(u32),
    /// It has waited for so long in vain.
    Waited(Duration),
}

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} requests are under way, as many as there may be, ", self.limit)?;
        match self.why {
            Why::Waiting(0) => f.write_str("and none may wait"),
            Why::Waiting(count) => write!(f, "and {count} wait already"),
            Why::Waited(time) => write!(f, "and none of them has ended within {time:.3?}"),
        }
    }
}

impl Bulkhead {
    /// `None` where nothing limits requests. What is under way by `before`, of the same backend, is counted on.
    pub fn new(config: &Config, before: Option<&Self>, gauges: impl FnOnce() -> Gauges) -> Option<Self> {
        let max = config.max_requests?;
        let requests = match before {
            Some(before) => before.requests.clone(),
            None => Arc::new(Requests {
                limit: Limit::new(max),
                waiting: AtomicU32::new(0),
                gradient: Mutex::default(),
                notice: Notice::default(),
                gauges: gauges(),
            }),
        };
        requests.reconfigure(max, config.adaptive_min);
        Some(Self { max_waiting: config.max_waiting, max_wait: config.max_wait, requests })
    }

    /// A place, if one is free.
    pub fn try_enter(&self) -> Option<Place> {
        Some(self.requests.admit(self.requests.limit.try_take()?))
    }

    /// A place, as soon as one is free; `until` is when the request's own time is over.
    ///
    /// # Errors
    /// Enough others wait already, or the wait was in vain. The refusal is counted.
    pub async fn enter(&self, now: Instant, until: Option<Instant>) -> Result<Place, Full> {
        let seat = self.seat().inspect_err(|_| self.requests.gauges.refused())?;
        let until = self.max_wait.map(|wait| now + wait).into_iter().chain(until).min();
        let place = match until {
            None => Some(self.requests.limit.take().await),
            Some(until) => tokio::time::timeout_at(until.into(), self.requests.limit.take()).await.ok(),
        };
        drop(seat);
        match place {
            Some(place) => Ok(self.requests.admit(place)),
            None => {
                self.requests.gauges.refused();
                let waited = until.map_or(Duration::ZERO, |until| until.saturating_duration_since(now));
                Err(self.full(Why::Waited(waited)))
            }
        }
    }

    /// An answer, or the failure, came after `latency`: the adaptive limit learns from what the backend has worked on.
    pub fn observe(&self, outcome: Outcome, latency: Duration, now: Instant) {
        if let Outcome::Success | Outcome::Failure(Cause::Timeout) = outcome {
            self.requests.observe(latency, now);
        }
    }

    /// What a person is to be told of a refusal: once a second, with how many there were since the last line.
    pub fn notice(&self, now: Instant) -> Option<u64> {
        self.requests.notice.take(now)
    }

    fn seat(&self) -> Result<Seat<'_>, Full> {
        let waiting = &self.requests.waiting;
        let sit = |count: u32| (count < self.max_waiting).then(|| count + 1);
        match waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, sit) {
            Ok(_) => Ok(Seat::of(&self.requests)),
            Err(count) => Err(self.full(Why::Waiting(count))),
        }
    }

    fn full(&self, why: Why) -> Full {
        Full { limit: self.requests.limit.limit(), why }
    }
}

impl Requests {
    fn reconfigure(&self, max: u32, adaptive_min: Option<u32>) {
        let mut gradient = self.gradient();
        match (&mut *gradient, adaptive_min) {
            (None, Some(min)) => *gradient = Some(Gradient::new(min, max)),
            (Some(known), Some(min)) => known.reconfigure(min, max),
            (_, None) => *gradient = None,
        }
        self.resize(gradient.as_ref().map_or(max, Gradient::limit));
    }

    fn observe(&self, latency: Duration, now: Instant) {
        if let Some(gradient) = &mut *self.gradient()
            && let Some(limit) = gradient.observe(latency, self.limit.taken(), now)
        {
            self.resize(limit);
        }
    }

    fn resize(&self, limit: u32) {
        self.limit.resize(limit);
        self.gauges.limit(limit);
    }

    fn admit(self: &Arc<Self>, place: limit::Place) -> Place {
        self.gauges.admitted();
        Place { _place: place, requests: self.clone() }
    }

    fn gradient(&self) -> MutexGuard<'_, Option<Gradient>> {
        self.gradient.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.requests.gauges.ended();
    }
}

/// A request that waits.
struct Seat<'a>(&'a Requests);

impl<'a> Seat<'a> {
    fn of(requests: &'a Requests) -> Self {
        requests.gauges.waits();
        Self(requests)
    }
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        self.0.gauges.waits_no_more();
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
