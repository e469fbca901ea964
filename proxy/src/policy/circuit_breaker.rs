//! The circuit breaker: leaves a backend, or one endpoint, alone while it fails.
//!
//! Closed → open at a failure rate within a sliding window or at a row of failures; open → half-open after a wait;
//! half-open admits a bounded number of probes at a time, closes after enough successes and re-opens at the first
//! failure, with the wait doubled. The wait gets up to 20 % of jitter, so that the sidecars of one service do not probe
//! in step. The machine reads no clock and makes no random number: both are arguments.
//!
//! Called for each request by the outbound path (per backend) and by `balance` (per endpoint). What counts as a
//! failure is decided by `outcome`.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use weft_proxy_api::policy::CircuitBreaker as Config;

use super::outcome::{Cause, Outcome};
use machine::{Admission, Machine};

mod machine;
mod window;

/// Shared by all worker threads. While it is closed, [`admit`](Self::admit) takes no lock.
#[derive(Debug)]
pub struct CircuitBreaker {
    /// The machine's generation while it is closed, otherwise [`NOT_CLOSED`]; written only under the lock.
    closed: AtomicU64,
    machine: Mutex<Machine>,
}

const NOT_CLOSED: u64 = 0;

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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Closed,
    Open {
        until: Instant,
    },
    /// Probes are, or would now be, admitted.
    HalfOpen,
}

impl State {
    pub fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open { .. } => "open",
            Self::HalfOpen => "half-open",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A change of state. Displays as one line for the log: `open: 12 of 20 requests failed in 10s, last: status 503`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transition {
    pub from: State,
    pub to: State,
    pub cause: Reason,
}

impl fmt::Display for Transition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.to, self.cause)
    }
}

/// Why the state changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    FailureRate { failed: u32, of: u32, window: Duration, last: Option<Cause> },
    ConsecutiveFailures { row: u32, last: Cause },
    ProbeFailed(Cause),
    WaitOver,
    ProbesSucceeded(u32),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FailureRate { failed, of, window, last } => {
                write!(f, "{failed} of {of} requests failed in {}", humantime::format_duration(*window))?;
                last.map_or(Ok(()), |last| write!(f, ", last: {last}"))
            }
            Self::ConsecutiveFailures { row, last } => write!(f, "{row} failures in a row, last: {last}"),
            Self::ProbeFailed(cause) => write!(f, "a probe failed: {cause}"),
            Self::WaitOver => f.write_str("the wait is over, probing"),
            Self::ProbesSucceeded(1) => f.write_str("1 probe succeeded"),
            Self::ProbesSucceeded(count) => write!(f, "{count} probes succeeded"),
        }
    }
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
        let machine = Machine::new(config);
        Self { closed: AtomicU64::new(machine.generation()), machine: Mutex::new(machine) }
    }

    /// # Errors
    /// The circuit is open, or half-open with all its probes under way.
    pub fn admit(&self, now: Instant) -> Result<Permit, Rejected> {
        let generation = self.closed.load(Ordering::Acquire);
        if generation != NOT_CLOSED {
            return Ok(Permit { generation, transition: None });
        }
        let mut machine = self.lock();
        match machine.admit(now) {
            Admission::Admitted(transition) => Ok(Permit { generation: machine.generation(), transition }),
            Admission::Rejected { retry_after } => Err(Rejected { retry_after }),
        }
    }

    /// As [`admit`](Self::admit), with a permit that cannot be lost.
    pub fn guard(self: &Arc<Self>, now: Instant) -> Result<Guard, Rejected> {
        let permit = self.admit(now)?;
        Ok(Guard { breaker: Arc::clone(self), permit: Some(permit) })
    }

    /// Counts the outcome, unless the state changed since the permit was given. `jitter` is random, from 0 to 1.
    pub fn finish(&self, permit: Permit, outcome: Outcome, now: Instant, jitter: f64) -> Option<Transition> {
        let mut machine = self.lock();
        if permit.generation != machine.generation() {
            return None;
        }
        let transition = machine.finish(outcome, now, jitter);
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

    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire) != NOT_CLOSED
    }

    pub fn state(&self, now: Instant) -> State {
        if self.is_closed() { State::Closed } else { self.lock().state(now) }
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
        }
    }

    /// Takes other limits, and keeps the state; counts are kept unless the window is another one.
    pub fn reconfigure(&self, config: Config) {
        self.lock().reconfigure(config);
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
}

impl Guard {
    /// See [`Permit::transition`].
    pub fn transition(&self) -> Option<Transition> {
        self.permit.as_ref().and_then(Permit::transition)
    }

    /// See [`CircuitBreaker::finish`].
    pub fn finish(mut self, outcome: Outcome, now: Instant, jitter: f64) -> Option<Transition> {
        let permit = self.permit.take()?;
        self.breaker.finish(permit, outcome, now, jitter)
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
