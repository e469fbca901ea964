//! How many retries a backend may get, by the requests that it gets: when it fails altogether, retries do not multiply
//! its load.
//!
//! In any ten whole seconds the retries are at most `percent` of the requests of the ten seconds up to the last of them,
//! and `min_per_second` for each second more. Counted are requests, not attempts, as they begin; what was sent again
//! because it had reached no application is no retry here, since it adds nothing to what the backend gets.
//!
//! One for each backend and sidecar: all workers count into it. A request costs one addition; a retry takes a lock.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use weft_proxy_api::policy::RetryBudget as Limits;

const WINDOW: u32 = 10;
/// Slots of one second each, more than the window has.
const SLOTS: usize = 16;

#[derive(Debug)]
pub struct RetryBudget {
    since: Instant,
    /// Each is a second, and below it how many requests began in it.
    requests: [AtomicU64; SLOTS],
    retries: Mutex<[u64; SLOTS]>,
}

impl RetryBudget {
    pub fn new(now: Instant) -> Self {
        Self { since: now, requests: Default::default(), retries: Mutex::default() }
    }

    /// Counts a request that begins.
    pub fn request(&self, now: Instant) {
        let second = self.second(now);
        let Some(slot) = self.requests.get(slot_of(second)) else { return };
        let mut seen = slot.load(Ordering::Relaxed);
        while second_of(seen) != second {
            if second_of(seen) > second {
                return;
            }
            match slot.compare_exchange_weak(seen, first_in(second), Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return,
                Err(other) => seen = other,
            }
        }
        slot.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether there may be another retry now, which is counted then.
    pub fn take(&self, limits: Limits, now: Instant) -> bool {
        let second = self.second(now);
        let requests: u64 = self.requests.iter().map(|slot| within(slot.load(Ordering::Relaxed), second)).sum();
        let allowed =
            requests.saturating_mul(limits.percent.into()) / 100 + u64::from(limits.min_per_second) * u64::from(WINDOW);
        let mut retries = self.retries.lock().unwrap_or_else(PoisonError::into_inner);
        let made: u64 = retries.iter().map(|slot| within(*slot, second)).sum();
        let Some(slot) = retries.get_mut(slot_of(second)).filter(|_| made < allowed) else { return false };
        *slot = if second_of(*slot) == second { *slot + 1 } else { first_in(second) };
        true
    }

    /// Seconds since it was made; one second is one slot. 136 years fit.
    fn second(&self, now: Instant) -> u32 {
        u32::try_from(now.saturating_duration_since(self.since).as_secs()).unwrap_or(u32::MAX)
    }
}

fn slot_of(second: u32) -> usize {
    second as usize % SLOTS
}

fn first_in(second: u32) -> u64 {
    u64::from(second) << 32 | 1
}

fn second_of(slot: u64) -> u32 {
    (slot >> 32) as u32
}

/// The slot's count, if it belongs to the window that ends with this second.
fn within(slot: u64, second: u32) -> u64 {
    let is_within = second.checked_sub(second_of(slot)).is_some_and(|age| age < WINDOW);
    if is_within { slot & u64::from(u32::MAX) } else { 0 }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    const LIMITS: Limits = Limits { percent: 20, min_per_second: 3 };

    #[test]
    fn there_is_a_floor_and_a_share() {
        let now = Instant::now();
        let budget = RetryBudget::new(now);
        let taken = |now| (0..1000).filter(|_| budget.take(LIMITS, now)).count();
        assert_eq!(taken(now), 30);
        (0..100).for_each(|_| budget.request(now));
        assert_eq!(taken(now), 20);
        assert_eq!(taken(now + Duration::from_secs(9)), 0);
        // Then they are forgotten, the requests as well.
        assert_eq!(taken(now + Duration::from_secs(10)), 30);
        assert!(!budget.take(Limits { percent: 100, min_per_second: 0 }, now + Duration::from_secs(60)));
    }

    #[test]
    fn all_threads_count_into_it() {
        let now = Instant::now();
        let budget = RetryBudget::new(now);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..1000).for_each(|_| budget.request(now)));
            }
        });
        let taken = std::thread::scope(|scope| {
            let taking = [(); 4].map(|()| scope.spawn(|| (0..1000).filter(|_| budget.take(LIMITS, now)).count()));
            taking.into_iter().map(|taking| taking.join().unwrap()).sum::<usize>()
        });
        assert_eq!(taken, 830);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

        #[test]
        fn no_window_has_more(
            steps in prop::collection::vec((0_u64..2500, 0_u32..40, 0_u32..40), 1..60),
            percent in 0_u32..150,
            min_per_second in 0_u32..5,
        ) {
            let limits = Limits { percent, min_per_second };
            let start = Instant::now();
            let budget = RetryBudget::new(start);
            let (mut at, mut requests, mut retries) = (0, Vec::new(), Vec::new());
            for (pause, asked, failed) in steps {
                at += pause;
                let now = start + Duration::from_millis(at);
                for _ in 0..asked {
                    budget.request(now);
                    requests.push(at / 1000);
                }
                for _ in 0..failed {
                    if budget.take(limits, now) {
                        retries.push(at / 1000);
                    }
                }
            }
            for last in retries.iter().copied() {
                let within = |seconds: &[u64]| {
                    seconds.iter().filter(|second| (last.saturating_sub(9)..=last).contains(second)).count() as u64
                };
                let allowed = within(&requests) * u64::from(percent) / 100 + u64::from(min_per_second) * 10;
                prop_assert!(within(&retries) <= allowed, "{} in the ten seconds to {last}", within(&retries));
            }
        }
    }
}
