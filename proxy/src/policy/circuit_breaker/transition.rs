//! The states of a circuit, and what is said when one follows another.

use std::{
    fmt,
    time::{Duration, Instant},
};

use crate::policy::outcome::Cause;

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

/// A change of state. Displays as one line for the log: `open: 12 of 20 requests failed in 10s, last: status 503`, with
/// `open (dry run, every request passes)` in a dry run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transition {
    pub from: State,
    pub to: State,
    pub cause: Reason,
    pub dry_run: bool,
}

impl Transition {
    /// The new state as metrics have it: a dry run must not look like an open circuit.
    pub fn label(&self) -> &'static str {
        match (self.to, self.dry_run) {
            (to, false) => to.name(),
            (State::Closed, true) => "dry-run-closed",
            (State::Open { .. }, true) => "dry-run-open",
            (State::HalfOpen, true) => "dry-run-half-open",
        }
    }
}

impl fmt::Display for Transition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let note = if self.dry_run { " (dry run, every request passes)" } else { "" };
        write!(f, "{}{note}: {}", self.to, self.cause)
    }
}

/// Why the state changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    FailureRate {
        failed: u32,
        of: u32,
        window: Duration,
        last: Option<Cause>,
    },
    ConsecutiveFailures {
        row: u32,
        last: Cause,
    },
    /// Answers that took longer than that, whatever they were.
    SlowCallRate {
        slow: u32,
        of: u32,
        window: Duration,
        longer_than: Duration,
    },
    ProbeFailed(Cause),
    ProbeSlow {
        took: Duration,
        longer_than: Duration,
    },
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
            Self::SlowCallRate { slow, of, window, longer_than } => {
                let (window, limit) = (humantime::format_duration(*window), humantime::format_duration(*longer_than));
                write!(f, "{slow} of {of} requests in {window} took longer than {limit}")
            }
            Self::ProbeSlow { took, longer_than } => {
                write!(f, "a probe took {took:.3?}, longer than {}", humantime::format_duration(*longer_than))
            }
            Self::ProbeFailed(cause) => write!(f, "a probe failed: {cause}"),
            Self::WaitOver => f.write_str("the wait is over, probing"),
            Self::ProbesSucceeded(1) => f.write_str("1 probe succeeded"),
            Self::ProbesSucceeded(count) => write!(f, "{count} probes succeeded"),
        }
    }
}
