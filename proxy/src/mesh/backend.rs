//! A backend: the endpoints of a service port, how one of them is picked, whether the backend is left alone, and how much
//! it is given at a time.

use std::{sync::Arc, time::Instant};

use tokio::sync::watch;
use weft_proxy_api as api;

use crate::{
    balance::{Balancer, Picked},
    http::pool::{Connecting, Room},
    policy::{
        Bulkhead, CircuitBreaker, Outcome, RetryBudget,
        bulkhead::{Full, Place},
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
    /// `None` where nothing limits the requests under way.
    bulkhead: Option<Bulkhead>,
    pub retry_budget: Arc<RetryBudget>,
    /// `None` where nothing limits its connections.
    room: Option<Arc<Room>>,
    pub requests: Arc<RequestMetrics>,
    watchers: Watchers,
}

/// Leave for one request, from its admission on, whatever number of attempts it takes.
pub struct Leave {
    pub guard: Guard,
    /// To be held to the last byte of the answer.
    pub place: Option<Place>,
}

/// Why a request is not let through. It was not the backend's failure, and does not count as one.
#[derive(Clone, Copy, Debug)]
pub enum Refused {
    Circuit(Rejected),
    Bulkhead(Full),
}

/// Who is told when a circuit changes its state, and where this sidecar is.
#[derive(Clone)]
pub struct Watchers {
    pub metrics: Arc<Metrics>,
    pub transitions: watch::Sender<()>,
    /// Empty: in none.
    pub zone: Arc<str>,
}

impl Backend {
    /// A backend with these settings. What `before` had learned about the same backend stays: its circuit, its
    /// endpoints with their latencies and circuits, the count of what is under way.
    pub fn new(settings: &api::Backend, before: Option<&Backend>, watchers: &Watchers) -> Self {
        let label = settings.name.to_string();
        let (breaker, balancer) = match before {
            Some(before) => {
                before.breaker.reconfigure(settings.circuit_breaker.clone());
                before.balancer.reconfigure(settings);
                (before.breaker.clone(), before.balancer.clone())
            }
            None => (
                Arc::new(CircuitBreaker::new(settings.circuit_breaker.clone())),
                Arc::new(Balancer::new(settings, watchers.zone.clone(), watchers.metrics.panics(&label))),
            ),
        };
        let bulkhead = Bulkhead::new(&settings.bulkhead, before.and_then(|before| before.bulkhead.as_ref()), || {
            watchers.metrics.bulkheads.of(&label)
        });
        let room = room(settings, before, watchers);
        Self {
            settings: settings.clone(),
            breaker,
            balancer,
            bulkhead,
            retry_budget: before
                .map_or_else(|| Arc::new(RetryBudget::new(Instant::now())), |before| before.retry_budget.clone()),
            room,
            requests: watchers.metrics.requests(Direction::Outbound, &label),
            label: label.into(),
            watchers: watchers.clone(),
        }
    }

    /// The same backend, one endpoint of which is reached by itself: what `service` may be given at a time is not more
    /// for that.
    pub fn within(self, service: &Backend) -> Self {
        let bulkhead = Bulkhead::new(&self.settings.bulkhead, service.bulkhead.as_ref(), || {
            self.watchers.metrics.bulkheads.of(&self.label)
        });
        let room = room(&self.settings, Some(service), &self.watchers);
        Self { bulkhead, room, ..self }
    }

    /// How a new connection to one of its endpoints is made.
    pub fn connecting(&self) -> Connecting<'_> {
        Connecting { limit: self.settings.connect_timeout, room: self.room.as_ref() }
    }

    /// Leave for one request, unless the circuit is open or the bulkhead full. Where the bulkhead has it wait, it does
    /// so until `until` at most, and asks the circuit once more after that.
    ///
    /// # Errors
    /// The request is not to be sent.
    pub async fn admit(&self, now: Instant, until: Option<Instant>) -> Result<Leave, Refused> {
        let guard = self.ask_circuit(now)?;
        let Some(bulkhead) = &self.bulkhead else { return Ok(self.leave(guard, None)) };
        if let Some(place) = bulkhead.try_enter() {
            return Ok(self.leave(guard, Some(place)));
        }
        drop(guard); // it may be a probe, and is no use while it waits
        let entered = Box::pin(bulkhead.enter(now, until)).await;
        let now = Instant::now();
        match entered {
            Ok(place) => Ok(self.leave(self.ask_circuit(now)?, Some(place))),
            Err(full) => {
                if let Some(refused) = bulkhead.notice(now) {
                    tracing::warn!(backend = %self.label, refused, "bulkhead full: {full}");
                }
                Err(Refused::Bulkhead(full))
            }
        }
    }

    fn ask_circuit(&self, now: Instant) -> Result<Guard, Refused> {
        let guard = self.breaker.guard(now).map_err(Refused::Circuit)?;
        self.report(None, guard.transition());
        Ok(guard)
    }

    fn leave(&self, guard: Guard, place: Option<Place>) -> Leave {
        if guard.is_uncounted() {
            self.watchers.metrics.would_reject(&self.label, "");
        }
        Leave { guard, place }
    }

    /// Tells the backend's circuit and its limits how a request ended.
    pub fn finish(&self, guard: Guard, outcome: Outcome, now: Instant) {
        if let Some(bulkhead) = &self.bulkhead {
            bulkhead.observe(outcome, guard.latency(now), now);
        }
        self.report(None, guard.finish(outcome, now, rand::random()));
    }

    /// Shows what picking the endpoint did to its circuit.
    pub fn picked(&self, picked: &Picked) {
        let endpoint = picked.endpoint().id.as_str();
        self.report(Some(endpoint), picked.transition());
        if picked.is_uncounted() {
            self.watchers.metrics.would_reject(&self.label, endpoint);
        }
    }

    /// Shows a transition of the backend's own circuit, or of one endpoint's, to people.
    pub fn report(&self, endpoint: Option<&str>, transition: Option<Transition>) {
        let Some(transition) = transition else { return };
        self.watchers.metrics.circuit(&self.label, endpoint.unwrap_or_default(), transition.label());
        self.watchers.transitions.send_replace(());
        match endpoint {
            None => tracing::warn!(backend = %self.label, "circuit {transition}"),
            Some(endpoint) => tracing::warn!(backend = %self.label, endpoint, "circuit {transition}"),
        }
    }
}

fn room(settings: &api::Backend, before: Option<&Backend>, watchers: &Watchers) -> Option<Arc<Room>> {
    let max = settings.bulkhead.max_connections?;
    let known = before.and_then(|before| before.room.clone()).inspect(|room| room.resize(max));
    Some(known.unwrap_or_else(|| {
        let label = settings.name.to_string();
        let refused = watchers.metrics.bulkheads.refused(&label);
        Room::new(label.into(), max, refused)
    }))
}
