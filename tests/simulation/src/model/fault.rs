//! What goes wrong, where and when.

use std::{ops::Range, time::Duration};

#[derive(Clone, Debug)]
pub struct Fault {
    pub kind: Kind,
    pub during: Range<Duration>,
    /// Endpoints are numbered through all backends.
    pub endpoints: Range<usize>,
    /// For whom; a fault of the endpoint itself is there for all.
    pub clients: Range<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// Each request takes so many times as long.
    Slow(f64),
    /// This share of the requests, from 0 to 1, is answered with 503 at once.
    Errors(f64),
    /// The process is gone: connections are refused, and what was under way is reset.
    Crash,
    /// Nothing arrives and nothing comes back: a host that is off, or a partition of the network.
    Silence,
}

impl Fault {
    fn concerns(&self, now: Duration, endpoint: usize, client: usize) -> bool {
        self.during.contains(&now) && self.endpoints.contains(&endpoint) && self.clients.contains(&client)
    }
}

/// The faults that meet a request of this client at this endpoint.
pub fn of(faults: &[Fault], now: Duration, endpoint: usize, client: usize) -> impl Iterator<Item = Kind> + '_ {
    faults.iter().filter(move |fault| fault.concerns(now, endpoint, client)).map(|fault| fault.kind)
}
