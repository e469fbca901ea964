//! This sidecar's part of a limit that all sidecars of a service share.
//!
//! The control plane gives it a lease: so many requests, within so much time. It is renewed all the time by what is asked
//! for. A sidecar that has no lease counts by itself: with the whole limit if it has never had one, and else with its part
//! of the limit by the number of sidecars that shared it last, beginning with what is left of the lease.
//!
//! `discovery::quota` asks for leases; how the limit is divided is the control plane's.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::{Bucket, Left, Rate};

/// A hint to who is refused without a lease in sight: the time in which there surely is a new one.
const NEXT_LEASE: Duration = Duration::from_secs(1);

pub struct Shared {
    rate: Rate,
    state: Mutex<State>,
}

struct State {
    lease: Option<Running>,
    /// Sidecars that share the limit, this one included, as of the last lease. 0: there was none.
    sharers: u32,
    /// While there is no lease.
    own: Bucket,
    demand: Demand,
    /// More is needed, and nobody has been told yet.
    asks: bool,
}

/// What came since it was last reported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Demand {
    pub let_through: u64,
    pub refused: u64,
}

/// What the control plane answers to a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// As many from the moment of the report on.
    pub requests: u32,
    pub sharers: u32,
    pub until: Instant,
}

#[derive(Clone, Copy)]
struct Running {
    left: u32,
    /// At as many a new one is asked for.
    low: u32,
    until: Instant,
}

impl Shared {
    pub fn new(rate: Rate, now: Instant) -> Self {
        let state = State { lease: None, sharers: 0, own: Bucket::full(now), demand: Demand::default(), asks: false };
        Self { rate, state: Mutex::new(state) }
    }

    /// As [`Bucket::take`]; and whether a lease is to be asked for now, which is said once for each report.
    pub fn take(&self, now: Instant) -> (Result<Left, Duration>, bool) {
        let mut state = self.lock();
        let taken = state.take(self.rate, now);
        match taken {
            Ok(_) => state.demand.let_through += 1,
            Err(_) => state.demand.refused += 1,
        }
        let is_short = state.lease.is_some_and(|lease| lease.left <= lease.low);
        let asks = is_short && !state.asks;
        state.asks |= asks;
        (taken, asks)
    }

    pub fn give_back(&self) {
        let mut state = self.lock();
        state.demand.let_through = state.demand.let_through.saturating_sub(1);
        let rate = self.rate.share(state.sharers);
        match &mut state.lease {
            Some(lease) => lease.left += 1,
            None => state.own.give_back(rate),
        }
    }

    /// What came since the last report. What is counted from here on is what the next lease is asked for.
    pub fn report(&self) -> Demand {
        let mut state = self.lock();
        state.asks = false;
        std::mem::take(&mut state.demand)
    }

    /// The answer to the last report.
    pub fn renew(&self, lease: Lease) {
        let mut state = self.lock();
        let since = u32::try_from(state.demand.let_through).unwrap_or(u32::MAX);
        let left = lease.requests.saturating_sub(since);
        state.sharers = lease.sharers;
        state.lease = Some(Running { left, low: lease.requests / 2, until: lease.until });
    }

    pub fn is_leased(&self, now: Instant) -> bool {
        self.lock().lease.is_some_and(|lease| now < lease.until)
    }

    /// Of how many it is, by the last lease; 0: there was none.
    pub fn sharers(&self) -> u32 {
        self.lock().sharers
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn take(&mut self, rate: Rate, now: Instant) -> Result<Left, Duration> {
        let share = rate.share(self.sharers);
        match &mut self.lease {
            Some(lease) if now < lease.until => match lease.left.checked_sub(1) {
                Some(left) => {
                    lease.left = left;
                    Ok(Left { requests: left, full_in: NEXT_LEASE })
                }
                None => Err(NEXT_LEASE.max(share.time(share.one()))),
            },
            Some(lease) => {
                self.own = Bucket::holding(lease.left, share, lease.until);
                self.lease = None;
                self.own.take(share, now)
            }
            None => self.own.take(share, now),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { requests: 60, per: Duration::from_secs(60), burst: 30 };

    fn through(shared: &Shared, times: u32, now: Instant) -> u32 {
        (0..times).filter(|_| shared.take(now).0.is_ok()).count().try_into().unwrap()
    }

    #[test]
    fn without_a_lease_the_whole_limit_holds() {
        let now = Instant::now();
        let shared = Shared::new(RATE, now);
        assert_eq!((shared.is_leased(now), shared.sharers()), (false, 0));
        assert_eq!(through(&shared, 40, now), 30);
        assert_eq!(through(&shared, 40, now + Duration::from_secs(5)), 5);
        assert_eq!(shared.report(), Demand { let_through: 35, refused: 45 });
    }

    #[test]
    fn a_lease_is_so_many_requests_from_the_report_on() {
        let now = Instant::now();
        let shared = Shared::new(RATE, now);
        assert_eq!(through(&shared, 3, now), 3);
        assert_eq!(shared.report(), Demand { let_through: 3, refused: 0 });
        assert_eq!(through(&shared, 2, now), 2, "while the answer is on its way");
        let until = now + Duration::from_secs(5);
        shared.renew(Lease { requests: 10, sharers: 3, until });
        assert_eq!(through(&shared, 20, now), 8);
        assert_eq!(shared.report(), Demand { let_through: 10, refused: 12 });
        assert_eq!(through(&shared, 1, until - Duration::from_millis(1)), 0, "nothing flows in by itself");
        shared.renew(Lease { requests: 0, sharers: 3, until });
        assert_eq!(through(&shared, 1, now), 0);
    }

    #[test]
    fn it_asks_once_when_half_of_a_lease_is_left() {
        let now = Instant::now();
        let shared = Shared::new(RATE, now);
        let lease = Lease { requests: 4, sharers: 1, until: now + Duration::from_secs(5) };
        shared.renew(lease);
        let asks = |times: usize| (0..times).map(|_| shared.take(now).1).collect::<Vec<_>>();
        assert_eq!(asks(5), [false, true, false, false, false]);
        shared.report();
        assert_eq!(asks(2), [true, false], "it was not answered yet, and there is none left");
    }

    #[test]
    fn a_lease_that_ends_leaves_a_share_of_the_limit() {
        let now = Instant::now();
        let shared = Shared::new(RATE, now);
        let until = now + Duration::from_secs(5);
        shared.renew(Lease { requests: 6, sharers: 3, until });
        assert_eq!(through(&shared, 2, now), 2);
        assert!(shared.is_leased(now) && !shared.is_leased(until));
        assert_eq!(through(&shared, 20, until), 4, "what is left of the lease");
        assert_eq!(through(&shared, 20, until + Duration::from_secs(9)), 3, "a third of 9");
        assert_eq!(through(&shared, 20, until + Duration::from_secs(900)), 10, "a third of the burst");
        shared.report();
        let until = until + Duration::from_secs(905);
        shared.renew(Lease { requests: 7, sharers: 3, until });
        assert_eq!(through(&shared, 20, until - Duration::from_secs(1)), 7);
    }

    #[test]
    fn what_is_given_back_is_there_again() {
        let now = Instant::now();
        let shared = Shared::new(RATE, now);
        shared.renew(Lease { requests: 1, sharers: 1, until: now + Duration::from_secs(5) });
        assert_eq!(through(&shared, 2, now), 1);
        shared.give_back();
        assert_eq!(through(&shared, 2, now), 1);
        assert_eq!(shared.report(), Demand { let_through: 1, refused: 2 });
    }
}
