//! Rate limits: token buckets, for all requests together, for each key, or for this sidecar's share of a limit.
//!
//! A bucket holds at most `burst` requests, and `requests` flow into it in each `per`, evenly. It is counted in whole
//! numbers, so that nothing is lost or gained by rounding: in any time T at most `burst + requests * T / per` are let
//! through, and a caller that was refused is let through after the time that it was told, if nobody else was before it.
//!
//! Which request falls under which limit is decided by `mesh::limits`, what a refusal is answered with by `inbound`.

mod keyed;
mod shared;

use std::time::{Duration, Instant};

use weft_proxy_api::policy::RateLimit;

pub use keyed::{Key, Keyed};
pub use shared::{Demand, Lease, Shared};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// At least 1.
    pub requests: u32,
    /// More than zero.
    pub per: Duration,
    /// At least 1.
    pub burst: u32,
}

impl From<&RateLimit> for Rate {
    fn from(limit: &RateLimit) -> Self {
        Self { requests: limit.requests, per: limit.per, burst: limit.burst }
    }
}

impl Rate {
    /// What one of `sharers` has of it: never less than one request at a time.
    pub fn share(self, sharers: u32) -> Self {
        let sharers = sharers.max(1);
        Self { requests: self.requests, per: self.per.saturating_mul(sharers), burst: (self.burst / sharers).max(1) }
    }

    /// One request, in the unit in which buckets count: `requests` of them flow in within each nanosecond.
    fn one(self) -> u128 {
        self.per.as_nanos().max(1)
    }

    /// How long so much takes to flow in, rounded up.
    fn time(self, amount: u128) -> Duration {
        let nanos = amount.div_ceil(u128::from(self.requests.max(1)));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

/// What is left after a request was let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Left {
    /// As many more at once.
    pub requests: u32,
    /// Until as many are there as can be, if nobody comes.
    pub full_in: Duration,
}

/// What one bucket lacks. The rate is given with every question: it is the same for many buckets.
#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    lacks: u128,
    at: Instant,
}

impl Bucket {
    pub fn full(now: Instant) -> Self {
        Self { lacks: 0, at: now }
    }

    /// With so many requests in it, or as many as it can hold.
    pub fn holding(requests: u32, rate: Rate, now: Instant) -> Self {
        let free = rate.burst.saturating_sub(requests);
        Self { lacks: u128::from(free) * rate.one(), at: now }
    }

    /// Lets one request through.
    ///
    /// # Errors
    /// There is none in it; after this time one is.
    pub fn take(&mut self, rate: Rate, now: Instant) -> Result<Left, Duration> {
        self.settle(rate, now);
        let size = u128::from(rate.burst) * rate.one();
        let after = self.lacks + rate.one();
        if after > size {
            return Err(rate.time(after - size));
        }
        self.lacks = after;
        let requests = u32::try_from((size - after) / rate.one()).unwrap_or(u32::MAX);
        Ok(Left { requests, full_in: rate.time(after) })
    }

    /// The request that was let through did not come through after all.
    pub fn give_back(&mut self, rate: Rate) {
        self.lacks = self.lacks.saturating_sub(rate.one());
    }

    /// Whether it is as a new one.
    pub fn is_full(&mut self, rate: Rate, now: Instant) -> bool {
        self.settle(rate, now);
        self.lacks == 0
    }

    /// Another worker may have asked with a later clock already: time does not go back.
    fn settle(&mut self, rate: Rate, now: Instant) {
        let passed = now.saturating_duration_since(self.at);
        self.lacks = self.lacks.saturating_sub(u128::from(rate.requests) * passed.as_nanos());
        self.at += passed;
    }
}

#[cfg(test)]
mod tests;
