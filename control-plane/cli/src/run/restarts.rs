//! How often a sidecar that dies is started again: at once at first, then later and later, then no more.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

const WINDOW: Duration = Duration::from_secs(60);
const MOST: usize = 5;
const FIRST_WAIT: Duration = Duration::from_millis(100);

#[derive(Debug, Default)]
pub struct Restarts {
    recent: VecDeque<Instant>,
}

impl Restarts {
    /// How long to wait before the next start; `None` when it has died too often to go on.
    pub fn next(&mut self, now: Instant) -> Option<Duration> {
        while self.recent.front().is_some_and(|then| now.saturating_duration_since(*then) >= WINDOW) {
            self.recent.pop_front();
        }
        if self.recent.len() == MOST {
            return None;
        }
        let wait = FIRST_WAIT * (1 << self.recent.len());
        self.recent.push_back(now);
        Some(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_end() {
        let (mut restarts, now) = (Restarts::default(), Instant::now());
        let waits: Vec<_> = (0..5).map(|_| restarts.next(now).unwrap().as_millis()).collect();
        assert_eq!(waits, [100, 200, 400, 800, 1600]);
        assert_eq!(restarts.next(now), None);
    }

    #[test]
    fn a_minute_later_the_count_starts_anew() {
        let (mut restarts, now) = (Restarts::default(), Instant::now());
        (0..5).for_each(|_| _ = restarts.next(now));
        assert_eq!(restarts.next(now + WINDOW - Duration::from_millis(1)), None);
        assert_eq!(restarts.next(now + WINDOW), Some(FIRST_WAIT));
    }
}
