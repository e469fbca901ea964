//! How loaded an endpoint is, as seen from here: requests in flight, and a moving average of latency that is
//! sensitive to peaks. A slower answer counts at once, faster ones win it back over ten seconds; silence decays the
//! average too, so that an endpoint that was slow once is tried again.
//!
//! All in atomics. Two answers at the same instant may each see the other's average half written (value and time are
//! two words); the average is then a little off for one decay, which costs less than a lock on each request.

use std::{
    sync::{
        LazyLock,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

const DECAY_SECONDS: f64 = 10.0;
/// A failure counts as an answer that took twice as long as usual and at least this long: a failing endpoint often
/// answers fastest of all, and must not draw the traffic for that.
const FAILURE_FLOOR: f64 = 0.020;
/// Repeated failures double the average up to here.
const FAILURE_CEILING: f64 = 60.0;
/// The cost of an endpoint that was never measured and is being tried right now: more than any measured one, so that
/// a newcomer gets one request at a time until it has answered.
const UNMEASURED: f64 = 1e12;

static ORIGIN: LazyLock<Instant> = LazyLock::new(Instant::now);

#[derive(Debug)]
pub(super) struct Load {
    in_flight: AtomicU32,
    /// Seconds, as the bits of an `f64`; 0 before the first answer.
    average: AtomicU64,
    /// When `average` was written, in nanoseconds since `ORIGIN`.
    written: AtomicU64,
}

impl Load {
    pub(super) fn new() -> Self {
        LazyLock::force(&ORIGIN);
        Self { in_flight: AtomicU32::new(0), average: AtomicU64::new(0), written: AtomicU64::new(0) }
    }

    pub(super) fn begin(&self) {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn end(&self) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    pub(super) fn latency(&self, now: Instant) -> Option<f64> {
        let average = f64::from_bits(self.average.load(Ordering::Relaxed));
        (average > 0.0).then(|| average * self.remaining(now))
    }

    /// What one more request would cost here. `share` is the endpoint's weight relative to the mean: the heavier, the
    /// less does a request in flight weigh.
    pub(super) fn cost(&self, now: Instant, share: f64) -> f64 {
        let in_flight = f64::from(self.in_flight());
        match self.latency(now) {
            Some(latency) => latency * (1.0 + in_flight / share),
            None if in_flight == 0.0 => 0.0,
            None => UNMEASURED * in_flight / share,
        }
    }

    /// An answer came.
    pub(super) fn observe(&self, latency: Duration, now: Instant) {
        let sample = latency.as_secs_f64().max(f64::MIN_POSITIVE);
        let next = match self.latency_at_write(now) {
            Some((average, remaining)) if sample < average => sample + (average - sample) * remaining,
            Some(_) | None => sample,
        };
        self.write(next, now);
    }

    /// The request failed after `latency`.
    pub(super) fn observe_failure(&self, latency: Duration, now: Instant) {
        let usual = self.latency(now).unwrap_or(0.0).max(latency.as_secs_f64());
        self.write((usual * 2.0).clamp(FAILURE_FLOOR, FAILURE_CEILING), now);
    }

    /// The caller gave up after `latency`: the answer would have taken at least that long.
    pub(super) fn observe_at_least(&self, latency: Duration, now: Instant) {
        if self.latency(now).is_none_or(|average| latency.as_secs_f64() > average) {
            self.observe(latency, now);
        }
    }

    fn latency_at_write(&self, now: Instant) -> Option<(f64, f64)> {
        let average = f64::from_bits(self.average.load(Ordering::Relaxed));
        (average > 0.0).then(|| (average, self.remaining(now)))
    }

    /// The part of the average that is left after the time since it was written.
    fn remaining(&self, now: Instant) -> f64 {
        let since = nanos(now).saturating_sub(self.written.load(Ordering::Relaxed));
        (-(since as f64) / (DECAY_SECONDS * 1e9)).exp()
    }

    fn write(&self, average: f64, now: Instant) {
        self.average.store(average.to_bits(), Ordering::Relaxed);
        self.written.store(nanos(now), Ordering::Relaxed);
    }
}

/// Nanoseconds since the first endpoint was made.
pub(super) fn nanos(now: Instant) -> u64 {
    u64::try_from(now.saturating_duration_since(*ORIGIN).as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_peak_counts_at_once_and_fades_in_ten_seconds() {
        let (load, start) = (Load::new(), Instant::now());
        assert_eq!(load.latency(start), None);
        load.observe(10 * MS, start);
        load.observe(100 * MS, start);
        assert!((load.latency(start).unwrap() - 0.100).abs() < 1e-9);
        let later = start + Duration::from_secs(10);
        load.observe(10 * MS, later);
        let expected = 0.010 + 0.090 * (-1.0_f64).exp();
        assert!((load.latency(later).unwrap() - expected).abs() < 1e-9);
        assert!(load.latency(later + Duration::from_secs(60)).unwrap() < 0.001, "silence decays");
    }

    #[test]
    fn failures_are_slow_however_fast_they_come() {
        let (load, start) = (Load::new(), Instant::now());
        load.observe_failure(Duration::ZERO, start);
        assert!((load.latency(start).unwrap() - FAILURE_FLOOR).abs() < 1e-9);
        load.observe_failure(Duration::ZERO, start);
        assert!((load.latency(start).unwrap() - 2.0 * FAILURE_FLOOR).abs() < 1e-9);
        for _ in 0..100 {
            load.observe_failure(Duration::ZERO, start);
        }
        assert!(load.latency(start).unwrap() <= FAILURE_CEILING);
    }

    #[test]
    fn giving_up_never_makes_an_endpoint_look_faster() {
        let (load, start) = (Load::new(), Instant::now());
        load.observe(100 * MS, start);
        load.observe_at_least(MS, start);
        assert!((load.latency(start).unwrap() - 0.100).abs() < 1e-9);
        load.observe_at_least(500 * MS, start);
        assert!((load.latency(start).unwrap() - 0.500).abs() < 1e-9);
    }

    #[test]
    fn an_unmeasured_endpoint_is_tried_by_one_request_at_a_time() {
        let (load, now) = (Load::new(), Instant::now());
        assert_eq!(load.cost(now, 1.0), 0.0);
        load.begin();
        assert!(load.cost(now, 1.0) > 3600.0);
        load.observe(MS, now);
        assert!(load.cost(now, 1.0) < 0.01);
        load.end();
        assert_eq!(load.in_flight(), 0);
    }
}
