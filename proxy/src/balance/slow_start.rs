//! Slow start: how much of its weight an endpoint has while it warms up.
//!
//! From a tenth at the beginning up to the whole at the end, in proportion to the time that has passed: caches fill,
//! code is compiled, connections are opened, and none of that is pressed into the first second. It begins for an
//! endpoint that comes to others that are there already, for one that is reported healthy again, and for one whose
//! circuit has closed again. The endpoints of the first update are as new as each other, and share as usual.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use super::load::nanos;

/// The part of its weight with which an endpoint begins: enough to learn from, and never nothing.
const FLOOR: f64 = 0.1;

/// The part of its weight that an endpoint has `elapsed` after its beginning, from [`FLOOR`] to 1.
pub(super) fn factor(elapsed: Duration, slow_start: Duration) -> f64 {
    match elapsed >= slow_start {
        true => 1.0,
        false => FLOOR + (1.0 - FLOOR) * elapsed.as_secs_f64() / slow_start.as_secs_f64(),
    }
}

/// When any endpoint of a balancer began last: after that and the time of a slow start, all are warm.
#[derive(Debug, Default)]
pub(super) struct Latest(AtomicU64);

impl Latest {
    pub(super) fn is_warming(&self, now: Instant, slow_start: Duration) -> bool {
        since(&self.0, now).is_some_and(|elapsed| elapsed < slow_start)
    }
}

/// When one endpoint began.
#[derive(Debug)]
pub(super) struct Start {
    /// Nanoseconds of the process's clock; 0: it was warm from the beginning.
    at: AtomicU64,
    latest: Arc<Latest>,
}

impl Start {
    pub(super) fn warm(latest: &Arc<Latest>) -> Self {
        Self { at: AtomicU64::new(0), latest: latest.clone() }
    }

    pub(super) fn begin(&self, now: Instant) {
        let now = nanos(now).max(1);
        self.at.store(now, Ordering::Relaxed);
        self.latest.0.fetch_max(now, Ordering::Relaxed);
    }

    pub(super) fn factor(&self, now: Instant, slow_start: Duration) -> f64 {
        since(&self.at, now).map_or(1.0, |elapsed| factor(elapsed, slow_start))
    }
}

fn since(at: &AtomicU64, now: Instant) -> Option<Duration> {
    let at = at.load(Ordering::Relaxed);
    (at > 0).then(|| Duration::from_nanos(nanos(now).saturating_sub(at)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn it_rises_from_a_tenth_to_the_whole() {
        let ten = Duration::from_secs(10);
        for (seconds, expected) in [(0, 0.1), (1, 0.19), (5, 0.55), (10, 1.0), (11, 1.0)] {
            assert!((factor(Duration::from_secs(seconds), ten) - expected).abs() < 1e-9, "{seconds}");
        }
        assert_eq!(factor(Duration::ZERO, Duration::ZERO), 1.0);
    }

    #[test]
    fn who_has_not_begun_is_warm_and_the_latest_beginning_is_known() {
        let (latest, now, second) = (Arc::new(Latest::default()), Instant::now(), Duration::from_secs(1));
        let (first, other) = (Start::warm(&latest), Start::warm(&latest));
        assert_eq!((first.factor(now, second), latest.is_warming(now, second)), (1.0, false));
        first.begin(now);
        other.begin(now + second / 2);
        assert!((first.factor(now + second / 2, second) - 0.55).abs() < 1e-6);
        assert!(latest.is_warming(now + second, second), "the other one is");
        assert!(!latest.is_warming(now + second * 3 / 2, second));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn it_never_falls_and_is_never_nothing(earlier in 0..100_000_u64, later in 0..100_000_u64, of in 0..100_000_u64) {
            let at = |millis: u64| factor(Duration::from_millis(millis), Duration::from_millis(of));
            let (earlier, later) = (earlier.min(later), earlier.max(later));
            prop_assert!(at(earlier) <= at(later) && at(earlier) >= FLOOR && at(later) <= 1.0);
        }
    }
}
