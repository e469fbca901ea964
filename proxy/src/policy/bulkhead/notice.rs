//! One line a second for what may happen ten thousand times in it.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

const PAUSE: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub struct Notice(Mutex<Counted>);

#[derive(Debug, Default)]
struct Counted {
    last: Option<Instant>,
    since: u64,
}

impl Notice {
    /// Counts one. When a line is due, how many there were since the last one, this one included.
    pub fn take(&self, now: Instant) -> Option<u64> {
        let mut counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counted.since += 1;
        if counted.last.is_some_and(|last| now.saturating_duration_since(last) < PAUSE) {
            return None;
        }
        counted.last = Some(now);
        Some(std::mem::take(&mut counted.since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_told_at_once_and_the_others_once_a_second() {
        let (notice, start) = (Notice::default(), Instant::now());
        let told: Vec<_> = (0..25).map(|tenth| notice.take(start + Duration::from_millis(100) * tenth)).collect();
        let lines: Vec<_> = told.iter().enumerate().filter_map(|(tenth, told)| Some((tenth, (*told)?))).collect();
        assert_eq!(lines, [(0, 1), (10, 10), (20, 10)]);
    }
}
