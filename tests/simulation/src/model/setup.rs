//! What a run is made of: who calls whom how often, what goes wrong, and the policies of all sidecars.

use std::{ops::Range, time::Duration};

use super::{Fault, Policies};

/// Of each backend.
pub const ENDPOINTS: usize = 10;

#[derive(Clone, Debug)]
pub struct Setup {
    pub clients: usize,
    pub backends: Vec<Backend>,
    pub faults: Vec<Fault>,
    pub policies: Policies,
    /// How many calls an application can have under way at a time, to all backends together; others wait for a place.
    /// `None`: as many as come.
    pub slots: Option<usize>,
    /// An answer is of use to who asked for so long.
    pub patience: Duration,
    /// Requests arrive until then.
    pub length: Duration,
}

/// A service with [`ENDPOINTS`] endpoints, all alike.
#[derive(Clone, Debug)]
pub struct Backend {
    /// Requests of one endpoint that are worked on at a time.
    pub workers: usize,
    /// The mean of the time that one request takes; it is distributed exponentially.
    pub service_time: Duration,
    /// Requests of one endpoint that may wait for a worker; others are answered with 503 at once.
    pub queue: usize,
    pub callers: Range<usize>,
    /// Requests per second of each caller, as a Poisson process: callers do not wait for answers before they go on.
    pub rate: f64,
}

impl Setup {
    /// About how many requests there will be.
    pub fn requests(&self) -> usize {
        let rates = self.backends.iter().map(|backend| backend.callers.len() as f64 * backend.rate);
        (rates.sum::<f64>() * self.length.as_secs_f64()) as usize
    }
}
