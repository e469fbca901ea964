//! Rate limits that the sidecars of a service share: how many requests each of them may let through.
//!
//! There is a pool for each limit, in memory: after a restart it begins with what has flowed in since. Called by
//! `serve::quotas`, which knows who may ask for what.

mod pool;

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use weft_proxy_api::policy::RateLimit;

pub use pool::{Demand, Lease};
use pool::{Pool, Rate};

/// How long a sidecar may use what it was given. It asks again many times before.
pub const LEASE: Duration = Duration::from_secs(5);

pub struct Quotas {
    started: Instant,
    /// By the limit's name.
    pools: Mutex<BTreeMap<String, Pool>>,
}

impl Quotas {
    pub fn new(started: Instant) -> Self {
        Self { started, pools: Mutex::default() }
    }

    /// What `holder` gets of the limit, in answer to a report.
    pub fn report(&self, limit: &RateLimit, holder: u64, demand: Demand, now: Instant) -> Lease {
        let rate = Rate { requests: limit.requests, per: limit.per, burst: limit.burst };
        let mut pools = self.lock();
        if !pools.contains_key(&limit.name) {
            pools.retain(|_, pool| !pool.is_as_new(now));
        }
        let pool = pools.entry(limit.name.clone()).or_insert_with(|| Pool::new(rate, self.started, now));
        pool.set_rate(rate, now);
        pool.report(holder, demand, now)
    }

    /// The holder has no part in the limit any more; what it holds it may still use up.
    pub fn leave(&self, limit: &str, holder: u64) {
        if let Some(pool) = self.lock().get_mut(limit) {
            pool.leave(holder);
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Pool>> {
        // Every step leaves the pools whole, so that a panic elsewhere is no reason to stop.
        self.pools.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
