//! The state machine itself, without sharing: the circuit breaker holds it behind its lock.

use std::time::{Duration, Instant};

use weft_proxy_api::policy::CircuitBreaker as Config;

use super::{Availability, Reason, State, Transition, window::Window};
use crate::policy::outcome::{Cause, Outcome};

/// When to come back while all probes of a half-open circuit are under way: soon, since they are about to decide.
const PROBES_TAKEN_RETRY_AFTER: Duration = Duration::from_secs(1);
const JITTER: f64 = 0.2;
/// Keeps the arithmetic of time within its range, whatever is configured.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 60 * 60);

#[derive(Debug)]
pub(super) struct Machine {
    config: Config,
    phase: Phase,
    /// Starts at 1 and grows with each transition.
    generation: u64,
    times_opened: u64,
    last: Option<(Instant, Transition)>,
}

#[derive(Debug)]
enum Phase {
    Closed {
        window: Window,
        row: u32,
        last_failure: Option<Cause>,
    },
    /// `wait`: without jitter, the base of the next one.
    Open {
        until: Instant,
        wait: Duration,
    },
    HalfOpen {
        in_flight: u32,
        successes: u32,
        wait: Duration,
    },
}

pub(super) enum Admission {
    Admitted(Option<Transition>),
    Rejected { retry_after: Duration },
}

impl Machine {
    pub(super) fn new(config: Config) -> Self {
        let phase = Phase::closed(&config);
        Self { config, phase, generation: 1, times_opened: 0, last: None }
    }

    pub(super) fn admit(&mut self, now: Instant) -> Admission {
        let transition = match self.phase {
            Phase::Open { until, wait } if now >= until => {
                let half_open = Phase::HalfOpen { in_flight: 0, successes: 0, wait };
                Some(self.change(half_open, State::HalfOpen, Reason::WaitOver, now))
            }
            _ => None,
        };
        match &mut self.phase {
            Phase::Closed { .. } => Admission::Admitted(None),
            Phase::Open { until, .. } => Admission::Rejected { retry_after: until.saturating_duration_since(now) },
            Phase::HalfOpen { in_flight, .. } if *in_flight < self.config.half_open_probes.max(1) => {
                *in_flight += 1;
                Admission::Admitted(transition)
            }
            Phase::HalfOpen { .. } => Admission::Rejected { retry_after: PROBES_TAKEN_RETRY_AFTER },
        }
    }

    /// The outcome of a request that was admitted in this generation.
    pub(super) fn finish(
        &mut self,
        outcome: Outcome,
        latency: Duration,
        now: Instant,
        jitter: f64,
    ) -> Option<Transition> {
        let too_slow = self.config.slow_call.map(|slow| slow.longer_than).filter(|limit| latency > *limit);
        let slow = too_slow.is_some();
        match (&mut self.phase, outcome) {
            (_, Outcome::Cancelled) => {
                self.cancel();
                None
            }
            (Phase::Closed { window, row, .. }, Outcome::Success) => {
                window.record(false, slow, now);
                *row = 0;
                self.judge(now, jitter)
            }
            (Phase::Closed { window, row, last_failure }, Outcome::Failure(cause)) => {
                window.record(true, slow, now);
                *row = row.saturating_add(1);
                *last_failure = Some(cause);
                self.judge(now, jitter)
            }
            (Phase::HalfOpen { .. }, Outcome::Failure(cause)) => {
                self.open_again(Reason::ProbeFailed(cause), now, jitter)
            }
            (Phase::HalfOpen { in_flight, successes, .. }, Outcome::Success) => {
                if let Some(longer_than) = too_slow {
                    return self.open_again(Reason::ProbeSlow { took: latency, longer_than }, now, jitter);
                }
                *in_flight = in_flight.saturating_sub(1);
                *successes += 1;
                let successes = *successes;
                (successes >= self.config.half_open_successes).then(|| self.close(successes, now))
            }
            // An open circuit admits nobody, so that no permit of its generation exists.
            (Phase::Open { .. }, _) => None,
        }
    }

    /// Gives back the probe of a request that was admitted in this generation.
    pub(super) fn cancel(&mut self) {
        if let Phase::HalfOpen { in_flight, .. } = &mut self.phase {
            *in_flight = in_flight.saturating_sub(1);
        }
    }

    pub(super) fn reconfigure(&mut self, config: Config) {
        if let Phase::Closed { window, .. } = &mut self.phase
            && config.window != self.config.window
        {
            *window = Window::new(config.window);
        }
        self.config = config;
    }

    pub(super) fn state(&self, now: Instant) -> State {
        match self.availability(now) {
            Availability::Closed => State::Closed,
            Availability::Open { until } => State::Open { until },
            Availability::Probe | Availability::ProbesTaken => State::HalfOpen,
        }
    }

    pub(super) fn availability(&self, now: Instant) -> Availability {
        match self.phase {
            Phase::Closed { .. } => Availability::Closed,
            Phase::Open { until, .. } if now < until => Availability::Open { until },
            Phase::Open { .. } => Availability::Probe,
            Phase::HalfOpen { in_flight, .. } if in_flight < self.config.half_open_probes.max(1) => Availability::Probe,
            Phase::HalfOpen { .. } => Availability::ProbesTaken,
        }
    }

    pub(super) fn is_dry_run(&self) -> bool {
        self.config.dry_run
    }

    pub(super) fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Closed { .. })
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    pub(super) fn times_opened(&self) -> u64 {
        self.times_opened
    }

    pub(super) fn last_transition(&self) -> Option<(Instant, Transition)> {
        self.last
    }

    /// Opens a closed circuit whose failures are too many in a row or in the window, or whose slow answers are.
    fn judge(&mut self, now: Instant, jitter: f64) -> Option<Transition> {
        let Phase::Closed { window, row, last_failure } = &self.phase else { return None };
        let reason = match (self.config.consecutive_failures, *last_failure) {
            (Some(limit), Some(last)) if *row >= limit => Reason::ConsecutiveFailures { row: *row, last },
            _ if self.rate_exceeded(window) => Reason::FailureRate {
                failed: window.failed(),
                of: window.total(),
                window: self.config.window,
                last: *last_failure,
            },
            _ => self.slow_call_rate(window)?,
        };
        Some(self.open(self.config.open_initial, reason, now, jitter))
    }

    fn rate_exceeded(&self, window: &Window) -> bool {
        self.is_too_many(window.failed(), window, self.config.failure_rate_percent)
    }

    fn slow_call_rate(&self, window: &Window) -> Option<Reason> {
        let limit = self.config.slow_call?;
        let (slow, of) = (window.slow(), window.total());
        let too_many = self.is_too_many(slow, window, limit.rate_percent);
        let (window, longer_than) = (self.config.window, limit.longer_than);
        too_many.then_some(Reason::SlowCallRate { slow, of, window, longer_than })
    }

    fn is_too_many(&self, count: u32, window: &Window, percent: u32) -> bool {
        let (count, total) = (u64::from(count), u64::from(window.total()));
        count > 0 && total >= u64::from(self.config.minimum_requests) && count * 100 >= total * u64::from(percent)
    }

    /// Opens a half-open circuit, with the wait doubled.
    fn open_again(&mut self, cause: Reason, now: Instant, jitter: f64) -> Option<Transition> {
        let Phase::HalfOpen { wait, .. } = self.phase else { return None };
        Some(self.open(wait.saturating_mul(2).min(self.config.open_max), cause, now, jitter))
    }

    fn open(&mut self, wait: Duration, cause: Reason, now: Instant, jitter: f64) -> Transition {
        let wait = wait.min(LONGEST_WAIT);
        let until = now + wait.mul_f64(1.0 + JITTER * jitter.clamp(0.0, 1.0));
        self.times_opened += 1;
        self.change(Phase::Open { until, wait }, State::Open { until }, cause, now)
    }

    fn close(&mut self, successes: u32, now: Instant) -> Transition {
        let closed = Phase::closed(&self.config);
        self.change(closed, State::Closed, Reason::ProbesSucceeded(successes), now)
    }

    fn change(&mut self, phase: Phase, to: State, cause: Reason, now: Instant) -> Transition {
        let from = match self.phase {
            Phase::Closed { .. } => State::Closed,
            Phase::Open { until, .. } => State::Open { until },
            Phase::HalfOpen { .. } => State::HalfOpen,
        };
        let transition = Transition { from, to, cause, dry_run: self.config.dry_run };
        self.phase = phase;
        self.generation += 1;
        self.last = Some((now, transition));
        transition
    }
}

impl Phase {
    /// The counts start anew.
    fn closed(config: &Config) -> Self {
        Self::Closed { window: Window::new(config.window), row: 0, last_failure: None }
    }
}
