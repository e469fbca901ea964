//! The circuit breaker: leaves a backend, or one endpoint, alone while it fails.
//!
//! Closed → open at a failure rate within a sliding window, at a row of failures, or at a rate of slow answers; open →
//! half-open after a wait; half-open admits a bounded number of probes at a time, closes after enough successes and
//! re-opens at the first failure or slow answer, with the wait doubled. The wait gets up to 20 % of jitter, so that the
//! sidecars of one service do not probe in step. The machine reads no clock and makes no random number: both are
//! arguments.
//!
//! In a dry run the machine goes the same way, and what it would have rejected is admitted uncounted: with a permit
//! whose outcome it does not learn, since in earnest there would have been none. So the transitions are those that it
//! would have made, and the number of probes whose outcomes count is bounded as ever.
//!
//! Called for each request by the outbound path (per backend) and by `balance` (per endpoint). What counts as a
//! failure is decided by `outcome`.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use weft_proxy_api::policy::CircuitBreaker as Config;

use super::outcome::Outcome;
use machine::{Admission, Machine};
pub use transition::{Reason, State, Transition};

mod machine;
mod transition;
mod window;

/// Shared by all worker threads. While it is closed, [`admit`](Self::admit) takes no lock.
#[derive(Debug)]
pub struct CircuitBreaker {
    /// The machine's generation while it is closed, otherwise [`NOT_CLOSED`]; written only under the lock.
    closed: AtomicU64,
    dry_run: AtomicBool,
    machine: Mutex<Machine>,
}

const NOT_CLOSED: u64 = 0;
/// Of a permit whose outcome does not count.
const UNCOUNTED: u64 = 0;

/// Leave for one request. It must be given back with [`CircuitBreaker::finish`], or a probe is lost; [`Guard`] sees to
/// it.
#[must_use = "a permit that is not finished may be a probe that is lost"]
#[derive(Debug)]
pub struct Permit {
    /// What was admitted before a transition must not count after it.
    generation: u64,
    transition: Option<Transition>,
}

impl Permit {
    /// The circuit would have rejected the request, and is a dry run: the outcome does not count.
    pub fn is_uncounted(&self) -> bool {
        self.generation == UNCOUNTED
    }

    /// The transition to half-open, when this request was what made it: the wait was over and this is the first probe.
    pub fn transition(&self) -> Option<Transition> {
        self.transition
    }
}

/// The circuit is open, or half-open with all its probes under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rejected {
    pub retry_after: Duration,
}

/// What a person is shown about a circuit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    pub state: State,
    /// Of the last transition; empty while there was none.
    pub cause: String,
    /// When the last transition was; `None` while there was none.
    pub since: Option<Instant>,
    pub times_opened: u64,
    /// Whether every request passes all the same.
    pub dry_run: bool,
}

/// Whether a request could be admitted now, without admitting it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Availability {
    Closed,
    /// A probe is free.
    Probe,
    /// Half-open, and all probes are under way.
    ProbesTaken,
    Open {
        until: Instant,
    },
}

impl CircuitBreaker {
    pub fn new(config: Config) -> Self {
        let dry_run = AtomicBool::new(config.dry_run);
        let machine = Machine::new(config);
        Self { closed: AtomicU64::new(machine.generation()), dry_run, machine: Mutex::new(machine) }
    }

    /// # Errors
    /// The circuit is open, or half-open with all its probes under way; never in a dry run.
    pub fn admit(&self, now: Instant) -> Result<Permit, Rejected> {
        let generation = self.closed.load(Ordering::Acquire);
        if generation != NOT_CLOSED {
            return Ok(Permit { generation, transition: None });
        }
        let mut machine = self.lock();
        match machine.admit(now) {
            Admission::Admitted(transition) => Ok(Permit { generation: machine.generation(), transition }),
            Admission::Rejected { .. } if machine.is_dry_run() => {
                Ok(Permit { generation: UNCOUNTED, transition: None })
            }
            Admission::Rejected { retry_after } => Err(Rejected { retry_after }),
        }
    }

    /// As [`admit`](Self::admit), with a permit that cannot be lost.
    pub fn guard(self: &Arc<Self>, now: Instant) -> Result<Guard, Rejected> {
        let permit = self.admit(now)?;
        Ok(Guard { breaker: Arc::clone(self), permit: Some(permit), admitted: now, latency: None })
    }

    /// Counts the outcome, unless the state changed since the permit was given. `latency` is the time to the response's
    /// head, or to the failure; `jitter` is random, from 0 to 1.
    pub fn finish(
        &self,
        permit: Permit,
        outcome: Outcome,
        latency: Duration,
        now: Instant,
        jitter: f64,
    ) -> Option<Transition> {
        let mut machine = self.lock();
        if permit.generation != machine.generation() {
            return None;
        }
        let transition = machine.finish(outcome, latency, now, jitter);
        self.publish(&machine);
        transition
    }

    /// Gives the permit back as if the request had not been.
    pub fn cancel(&self, permit: Permit) {
        // A cancelled request of a closed circuit changes nothing: spare the lock.
        if self.closed.load(Ordering::Acquire) == permit.generation {
            return;
        }
        let mut machine = self.lock();
        if permit.generation == machine.generation() {
            machine.cancel();
        }
    }

    /// Whether every request passes: the circuit is closed, or a dry run.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire) != NOT_CLOSED || self.dry_run.load(Ordering::Relaxed)
    }

    /// Whether the circuit waits for the outcome of probes, or will; in a dry run as well.
    pub fn is_probing(&self) -> bool {
        self.closed.load(Ordering::Acquire) == NOT_CLOSED
    }

    /// The state of the machine; in a dry run, the one that it would be in.
    pub fn state(&self, now: Instant) -> State {
        if self.is_probing() { self.lock().state(now) } else { State::Closed }
    }

    pub fn availability(&self, now: Instant) -> Availability {
        if self.is_closed() { Availability::Closed } else { self.lock().availability(now) }
    }

    pub fn status(&self, now: Instant) -> Status {
        let machine = self.lock();
        let last = machine.last_transition();
        Status {
            state: machine.state(now),
            cause: last.map(|(_, transition)| transition.cause.to_string()).unwrap_or_default(),
            since: last.map(|(at, _)| at),
            times_opened: machine.times_opened(),
            dry_run: machine.is_dry_run(),
        }
    }

    /// Takes other limits, and keeps the state; counts are kept unless the window is another one.
    pub fn reconfigure(&self, config: Config) {
        let mut machine = self.lock();
        self.dry_run.store(config.dry_run, Ordering::Relaxed);
        machine.reconfigure(config);
    }

    fn publish(&self, machine: &Machine) {
        let closed = if machine.is_closed() { machine.generation() } else { NOT_CLOSED };
        if self.closed.load(Ordering::Relaxed) != closed {
            self.closed.store(closed, Ordering::Release);
        }
    }

    /// The machine is valid between any two of its statements, so that a poisoned lock can be used on.
    fn lock(&self) -> MutexGuard<'_, Machine> {
        self.machine.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A permit that is given back as cancelled when it is dropped.
#[derive(Debug)]
pub struct Guard {
    breaker: Arc<CircuitBreaker>,
    permit: Option<Permit>,
    admitted: Instant,
    latency: Option<Duration>,
}

impl Guard {
    /// See [`Permit::is_uncounted`].
    pub fn is_uncounted(&self) -> bool {
        self.permit.as_ref().is_some_and(Permit::is_uncounted)
    }

    /// The response's head arrived: what takes time from here on is not the backend's answering.
    pub fn head_arrived(&mut self, now: Instant) {
        self.latency.get_or_insert(now.saturating_duration_since(self.admitted));
    }

    /// See [`Permit::transition`].
    pub fn transition(&self) -> Option<Transition> {
        self.permit.as_ref().and_then(Permit::transition)
    }

    /// When the request was admitted.
    pub fn admitted(&self) -> Instant {
        self.admitted
    }

    /// The time to the response's head; to `now` where there is none.
    pub fn latency(&self, now: Instant) -> Duration {
        self.latency.unwrap_or_else(|| now.saturating_duration_since(self.admitted))
    }

    /// See [`CircuitBreaker::finish`].
    pub fn finish(mut self, outcome: Outcome, now: Instant, jitter: f64) -> Option<Transition> {
        let latency = self.latency(now);
        let permit = self.permit.take()?;
        self.breaker.finish(permit, outcome, latency, now, jitter)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(permit) = self.permit.take() {
            self.breaker.cancel(permit);
        }
    }
}

#[cfg(test)]
mod tests;
