//! Counts of requests, failures and slow answers within a sliding window of time, in ten buckets, without allocation.

use std::time::{Duration, Instant};

const BUCKETS: usize = 10;

#[derive(Clone, Copy, Debug, Default)]
struct Count {
    total: u32,
    failed: u32,
    slow: u32,
}

/// The oldest bucket is dropped as a whole, so that the window is between 90 % and 100 % of its length.
#[derive(Debug)]
pub(super) struct Window {
    buckets: [Count; BUCKETS],
    sum: Count,
    current: usize,
    /// When the current bucket began; `None` before the first request.
    began: Option<Instant>,
    width: Duration,
}

impl Window {
    pub(super) fn new(length: Duration) -> Self {
        let width = (length / BUCKETS as u32).max(Duration::from_millis(1));
        Self { buckets: Default::default(), sum: Count::default(), current: 0, began: None, width }
    }

    pub(super) fn clear(&mut self) {
        self.buckets = Default::default();
        self.sum = Count::default();
        self.began = None;
    }

    pub(super) fn record(&mut self, failed: bool, slow: bool, now: Instant) {
        self.advance(now);
        let add = |count: &mut Count| {
            count.total = count.total.saturating_add(1);
            count.failed = count.failed.saturating_add(u32::from(failed));
            count.slow = count.slow.saturating_add(u32::from(slow));
        };
        add(&mut self.sum);
        if let Some(bucket) = self.buckets.get_mut(self.current) {
            add(bucket);
        }
    }

    pub(super) fn total(&self) -> u32 {
        self.sum.total
    }

    pub(super) fn failed(&self) -> u32 {
        self.sum.failed
    }

    pub(super) fn slow(&self) -> u32 {
        self.sum.slow
    }

    /// A time before the current bucket (another thread read its clock earlier) counts into the current one.
    fn advance(&mut self, now: Instant) {
        let Some(began) = self.began else {
            self.began = Some(now);
            return;
        };
        let elapsed = now.saturating_duration_since(began);
        if elapsed < self.width {
            return;
        }
        let steps = elapsed.as_nanos() / self.width.as_nanos();
        if steps >= BUCKETS as u128 {
            self.clear();
            self.began = Some(now);
            return;
        }
        for _ in 0..steps {
            self.current = (self.current + 1) % BUCKETS;
            if let Some(bucket) = self.buckets.get_mut(self.current) {
                self.sum.total = self.sum.total.saturating_sub(bucket.total);
                self.sum.failed = self.sum.failed.saturating_sub(bucket.failed);
                self.sum.slow = self.sum.slow.saturating_sub(bucket.slow);
                *bucket = Count::default();
            }
        }
        self.began = Some(began + self.width * u32::try_from(steps).unwrap_or(BUCKETS as u32));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_older_than_the_window_is_forgotten() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut window = Window::new(Duration::from_secs(10));
        for _ in 0..3 {
            window.record(true, true, at(0));
        }
        window.record(false, false, at(9_999));
        assert_eq!((window.failed(), window.total()), (3, 4));
        window.record(false, false, at(10_000));
        assert_eq!((window.failed(), window.total()), (0, 2));
    }

    #[test]
    fn buckets_pass_one_by_one() {
        let start = Instant::now();
        let mut window = Window::new(Duration::from_secs(10));
        for second in 0..10 {
            window.record(second % 2 == 0, second % 5 == 0, start + Duration::from_secs(second));
        }
        assert_eq!((window.failed(), window.slow(), window.total()), (5, 2, 10));
        for second in 10..20 {
            window.record(false, false, start + Duration::from_secs(second));
            assert_eq!(window.total(), 10, "at {second} s");
        }
        assert_eq!((window.failed(), window.slow()), (0, 0));
    }

    #[test]
    fn a_clock_that_steps_back_counts_into_the_current_bucket() {
        let start = Instant::now();
        let mut window = Window::new(Duration::from_secs(10));
        window.record(true, false, start + Duration::from_secs(5));
        window.record(true, false, start);
        assert_eq!(window.total(), 2);
    }
}
