//! The sidecar's side of the control plane: identity, configuration, and what it reports about itself.
//!
//! All of it runs beside the data path and is never waited for by a request that knows its destination. While the
//! control plane is away the last configuration serves on; with a state folder, also across a restart of the sidecar.

pub mod certify;
pub mod channel;
pub mod quota;
pub mod report;
pub mod state;
pub mod stream;

use std::time::Duration;

/// Waits between attempts to reach the control plane: doubling, from 100 ms to 10 s, with jitter, so that a mesh does
/// not come back all at once.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
}

impl Backoff {
    pub fn next(&mut self, jitter: f64) -> Duration {
        const FIRST: Duration = Duration::from_millis(100);
        const LONGEST: Duration = Duration::from_secs(10);
        let wait = FIRST.saturating_mul(1 << self.failures.min(10)).min(LONGEST);
        self.failures += 1;
        wait.mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0)
    }

    pub fn reset(&mut self) {
        self.failures = 0;
    }

    pub async fn wait(&mut self) {
        tokio::time::sleep(self.next(rand::random())).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_limit_and_start_anew() {
        let mut backoff = Backoff::default();
        let waits: Vec<u128> = (0..9).map(|_| backoff.next(1.0).as_millis()).collect();
        assert_eq!(waits, [100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]);
        assert_eq!(backoff.next(0.0).as_millis(), 5_000);
        backoff.reset();
        assert_eq!(backoff.next(1.0).as_millis(), 100);
    }
}
