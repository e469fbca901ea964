//! What happened in a run: every request and every attempt, to be measured afterwards.

use std::time::Duration;

/// All times are since the run began.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Run {
    pub requests: Vec<Request>,
    pub attempts: Vec<Attempt>,
    /// Attempts that the balancers still count as under way when nothing happens any more.
    pub in_flight_at_end: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    pub client: usize,
    pub backend: usize,
    pub arrived: Duration,
    pub finished: Duration,
    /// Answered with success while that was of use.
    pub good: bool,
    pub attempts: u32,
}

impl Request {
    pub fn took(&self) -> Duration {
        self.finished - self.arrived
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    pub client: usize,
    pub endpoint: usize,
    pub sent: Duration,
}
