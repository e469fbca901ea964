//! Randomness from one seed. Load, endpoints and sidecars draw from sources of their own, so that runs with the same
//! seed and different policies have the same requests at the same times.

use std::time::Duration;

use rand::{Rng, SeedableRng, rngs::SmallRng};

#[derive(Debug)]
pub struct Random {
    pub load: SmallRng,
    pub endpoints: SmallRng,
    pub sidecars: SmallRng,
}

impl Random {
    pub fn new(seed: u64) -> Self {
        let mut sources = SmallRng::seed_from_u64(seed);
        let mut source = || SmallRng::from_rng(&mut sources);
        Self { load: source(), endpoints: source(), sidecars: source() }
    }
}

/// A time with this mean, distributed exponentially.
pub fn exponential(mean: Duration, rng: &mut impl Rng) -> Duration {
    let uniform: f64 = rng.random();
    mean.mul_f64(-(1.0 - uniform).ln())
}
