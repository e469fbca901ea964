//! What `docs/resilience.md` says of the simulation, in text and pictures.

mod document;
mod pictures;
mod table;

pub use document::{check, write};
pub use table::section;

use crate::scenarios::{Figures, Measure, Scenario, Seeded, sweep};
use weft_tests::figure::Spread;

/// A scenario and what it gave, seed by seed.
#[derive(Debug)]
pub struct Result {
    pub scenario: Scenario,
    pub seeds: Vec<Seeded>,
}

/// A claim that does not hold.
#[derive(Debug)]
pub struct Broken {
    pub seed: u64,
    pub says: String,
}

impl Result {
    /// With the seeds from 0 on.
    pub fn of(scenario: Scenario, seeds: u64) -> Self {
        let seeds = sweep(&scenario, 0..seeds);
        Self { scenario, seeds }
    }

    fn spread(&self, variant: usize, measure: Measure) -> Spread {
        let values = self.figures(variant).map(|figures| figures.get(measure)).collect();
        Spread::of(values).expect("at least one seed")
    }

    fn figures(&self, variant: usize) -> impl Iterator<Item = &Figures> {
        self.seeds.iter().map(move |seeded| &seeded.variants[variant])
    }

    /// Every claim that a seed breaks.
    pub fn broken(&self) -> Vec<Broken> {
        let mut broken = Vec::new();
        for claim in &self.scenario.claims {
            let variant = self.scenario.variant(claim.variant);
            for Seeded { seed, variants } in &self.seeds {
                if !claim.holds(&variants[variant]) {
                    let value = variants[variant].get(claim.measure);
                    broken.push(Broken { seed: *seed, says: format!("{claim}; it is {value:.2}") });
                }
            }
        }
        broken
    }
}
