//! How many requests at a time a backend takes before they only wait for each other: a limit that follows latency.
//!
//! A gradient, as in Netflix's concurrency-limits (`Gradient2Limit`) and Envoy's adaptive concurrency: the latency of a
//! window of requests is compared with the latency that the backend has when nothing queues, the baseline. Where it is
//! worse by more than the tolerance, the limit shrinks by the ratio of both, to half at most; each time the root of the
//! limit is added, as room for a queue, so that the limit grows until queueing is seen. A limit that is not made use of
//! does not grow.
//!
//! The baseline grows old: what was measured while requests queued is too high, and a backend may become slower for good.
//! So it is measured anew once a minute with half of the requests that are under way, as BBR does with packets
//! (draft-ietf-ccwg-bbr, "ProbeRTT"). Envoy goes down to the minimum for that, which refuses much more.
//!
//! Reads no clock. Called by `bulkhead` for each answer.

use std::time::{Duration, Instant};

/// A window ends after this time, and this many answers.
const WINDOW: Duration = Duration::from_millis(250);
const SAMPLES: u32 = 25;
/// How long a baseline is believed.
const HORIZON: Duration = Duration::from_secs(60);
/// Latency may be so many times the baseline before it is taken for queueing.
const TOLERANCE: f64 = 1.5;
/// The limit does not shrink by more than this at a time, whatever one window looks like.
const STEEPEST: f64 = 0.5;
/// The part that a window with a lower latency has in the baseline.
const LOWERING: f64 = 0.1;
/// Where the limit starts, between its bounds: what a backend can take is found out from below.
const INITIAL: u32 = 20;

#[derive(Debug)]
pub struct Gradient {
    min: f64,
    max: f64,
    limit: f64,
    /// Seconds, and when that was measured; `None` before the first window.
    baseline: Option<(f64, Instant)>,
    phase: Phase,
    window: Window,
}

#[derive(Debug)]
enum Phase {
    Following,
    /// With fewer requests, so that nothing queues. The first window sees the queue empty itself.
    Measuring {
        since: Instant,
        settled: bool,
        /// The limit to go on from.
        resume: f64,
    },
}

#[derive(Debug, Default)]
struct Window {
    began: Option<Instant>,
    sum: Duration,
    count: u32,
    /// The most requests that were under way.
    peak: u32,
}

impl Gradient {
    /// A limit from `min` to `max`.
    pub fn new(min: u32, max: u32) -> Self {
        let mut gradient = Self {
            min: 1.0,
            max: 1.0,
            limit: f64::from(INITIAL),
            baseline: None,
            phase: Phase::Following,
            window: Window::default(),
        };
        gradient.reconfigure(min, max);
        gradient
    }

    /// Takes other bounds, and keeps what was learned.
    pub fn reconfigure(&mut self, min: u32, max: u32) {
        self.max = f64::from(max.max(1));
        self.min = f64::from(min.max(1)).min(self.max);
        self.limit = self.bounded(self.limit);
    }

    /// At least 1.
    pub fn limit(&self) -> u32 {
        self.limit as u32
    }

    /// An answer came after `latency`, while `under_way` requests were under way, itself among them. Returns the limit
    /// when it is another one now.
    pub fn observe(&mut self, latency: Duration, under_way: u32, now: Instant) -> Option<u32> {
        if let Phase::Measuring { since, .. } = self.phase
            && now.checked_sub(latency).is_none_or(|began| began < since)
        {
            return None;
        }
        let (sample, peak) = self.window.add(latency, under_way, now)?;
        let before = self.limit();
        let next = self.next(sample, peak, now);
        self.limit = self.bounded(next);
        (self.limit() != before).then_some(self.limit())
    }

    fn next(&mut self, sample: f64, peak: u32, now: Instant) -> f64 {
        match &mut self.phase {
            Phase::Measuring { settled: settled @ false, .. } => {
                *settled = true;
                self.limit
            }
            Phase::Measuring { resume, .. } => {
                let resume = *resume;
                self.baseline = Some((sample, now));
                self.phase = Phase::Following;
                resume
            }
            Phase::Following => self.follow(sample, peak, now),
        }
    }

    fn follow(&mut self, sample: f64, peak: u32, now: Instant) -> f64 {
        let peak = f64::from(peak);
        let (mut baseline, mut measured) = self.baseline.unwrap_or((sample, now));
        if now.saturating_duration_since(measured) >= HORIZON {
            if peak > self.min {
                self.phase = Phase::Measuring { since: now, settled: false, resume: self.limit };
                return peak / 2.0;
            }
            (baseline, measured) = (sample, now);
        }
        baseline += (sample - baseline).min(0.0) * LOWERING;
        self.baseline = Some((baseline, measured));
        let gradient = (TOLERANCE * baseline / sample).clamp(STEEPEST, 1.0);
        let next = self.limit * gradient + self.limit.sqrt();
        let is_used = peak * 2.0 >= self.limit;
        if is_used { next } else { next.min(self.limit) }
    }

    fn bounded(&self, limit: f64) -> f64 {
        limit.clamp(self.min, self.max)
    }
}

impl Window {
    /// The mean latency in seconds and the peak, when the window is complete.
    fn add(&mut self, latency: Duration, under_way: u32, now: Instant) -> Option<(f64, u32)> {
        let began = *self.began.get_or_insert(now);
        self.sum = self.sum.saturating_add(latency);
        self.count += 1;
        self.peak = self.peak.max(under_way);
        if self.count < SAMPLES || now.saturating_duration_since(began) < WINDOW {
            return None;
        }
        let Self { sum, count, peak, .. } = std::mem::take(self);
        Some(((sum.as_secs_f64() / f64::from(count)).max(1e-6), peak))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A backend that works on `capacity` requests at a time, each for `base`; more only wait. Its callers always use
    /// the whole limit.
    struct Backend {
        gradient: Gradient,
        base: Duration,
        capacity: u32,
        now: Instant,
    }

    impl Backend {
        fn new(min: u32, max: u32, capacity: u32) -> Self {
            let base = Duration::from_millis(10);
            Self { gradient: Gradient::new(min, max), base, capacity, now: Instant::now() }
        }

        /// Serves for so long, and tells the lowest and the highest limit of the time.
        fn serve(&mut self, time: Duration) -> (u32, u32) {
            let (end, mut bounds) = (self.now + time, (u32::MAX, 0));
            while self.now < end {
                let limit = self.gradient.limit();
                bounds = (bounds.0.min(limit), bounds.1.max(limit));
                let latency = self.base.mul_f64(f64::from(limit.max(self.capacity)) / f64::from(self.capacity));
                self.now += Duration::from_millis(10);
                self.gradient.observe(latency, limit, self.now);
            }
            bounds
        }
    }

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn grows_while_nothing_queues_and_stays_near_what_the_backend_can_take() {
        let mut wide = Backend::new(4, 200, 1000);
        assert_eq!(wide.gradient.limit(), INITIAL);
        wide.serve(MINUTE / 2);
        assert_eq!(wide.gradient.limit(), 200);

        let mut narrow = Backend::new(4, 1000, 50);
        narrow.serve(MINUTE / 2);
        for _ in 0..10 {
            let (_, highest) = narrow.serve(MINUTE);
            assert!((50..=100).contains(&narrow.gradient.limit()), "{:?}", narrow.gradient);
            assert!(highest <= 100, "the baseline does not drift: {highest}");
        }
    }

    #[test]
    fn shrinks_when_latency_doubles_and_recovers_when_it_is_over() {
        let mut backend = Backend::new(4, 200, 1000);
        backend.serve(MINUTE / 2);
        backend.base *= 2;
        backend.serve(MINUTE / 6);
        assert!(backend.gradient.limit() < 40, "{:?}", backend.gradient);
        backend.base /= 2;
        backend.serve(MINUTE / 2);
        assert_eq!(backend.gradient.limit(), 200);
    }

    #[test]
    fn a_backend_that_became_slower_for_good_is_measured_anew() {
        let mut backend = Backend::new(4, 200, 1000);
        backend.serve(MINUTE / 2);
        backend.base *= 4;
        let (lowest, _) = backend.serve(MINUTE / 3);
        assert!(lowest < 20, "{lowest}");
        backend.serve(MINUTE * 2);
        assert_eq!(backend.gradient.limit(), 200, "{:?}", backend.gradient);
    }

    #[test]
    fn measuring_takes_half_of_what_is_under_way_and_gives_it_back() {
        let mut backend = Backend::new(4, 100, 1000);
        backend.serve(MINUTE / 2);
        let (lowest, highest) = backend.serve(MINUTE);
        assert_eq!((lowest, highest, backend.gradient.limit()), (50, 100, 100));
    }

    #[test]
    fn a_limit_that_is_not_used_does_not_grow() {
        let (mut gradient, mut now) = (Gradient::new(1, 1000), Instant::now());
        for _ in 0..10_000 {
            now += Duration::from_millis(5);
            assert_eq!(gradient.observe(Duration::from_millis(10), 9, now), None);
        }
        assert_eq!(gradient.limit(), INITIAL);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn never_leaves_its_bounds(
            min in 0..50_u32,
            max in 0..500_u32,
            answers in prop::collection::vec((0..2_000_000_u64, 0..1000_u32, 0..100_u64), 1..600),
            other in prop::option::of((0..50_u32, 0..500_u32)),
        ) {
            let (mut gradient, mut now) = (Gradient::new(min, max), Instant::now());
            let (mut min, mut max) = (min, max);
            let half = answers.len() / 2;
            for (index, (latency, under_way, pause)) in answers.into_iter().enumerate() {
                if let Some(bounds) = other.filter(|_| index == half) {
                    (min, max) = bounds;
                    gradient.reconfigure(min, max);
                }
                now += Duration::from_millis(pause);
                let before = gradient.limit();
                let changed = gradient.observe(Duration::from_micros(latency), under_way, now);
                prop_assert_eq!(changed.unwrap_or(before), gradient.limit());
                let max = max.max(1);
                prop_assert!((min.clamp(1, max)..=max).contains(&gradient.limit()), "{}", gradient.limit());
            }
        }
    }
}
