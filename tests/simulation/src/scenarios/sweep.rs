//! A scenario with many seeds, on all processors.

use std::{
    ops::Range,
    sync::{Mutex, PoisonError},
    thread,
};

use super::{Figures, Scenario};

/// The figures of each variant with one seed.
#[derive(Clone, Debug)]
pub struct Seeded {
    pub seed: u64,
    pub variants: Vec<Figures>,
}

/// In the order of the seeds.
pub fn sweep(scenario: &Scenario, seeds: Range<u64>) -> Vec<Seeded> {
    let left = Mutex::new(seeds);
    let work = || {
        let next = || left.lock().unwrap_or_else(PoisonError::into_inner).next();
        std::iter::from_fn(next).map(|seed| Seeded { seed, variants: scenario.figures(seed) }).collect::<Vec<_>>()
    };
    let mut all: Vec<Seeded> = thread::scope(|scope| {
        let count = thread::available_parallelism().map_or(1, usize::from);
        let threads: Vec<_> = (0..count).map(|_| scope.spawn(work)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    all.sort_unstable_by_key(|seeded| seeded.seed);
    all
}
