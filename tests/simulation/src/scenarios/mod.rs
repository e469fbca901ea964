//! What goes wrong, which policies meet it, and what must hold for every seed.

use std::{ops::Range, time::Duration};

use crate::model::{Backend, Policies, Setup};

pub use claim::{Claim, at_least, at_most};
pub use measure::{Figures, Measure};
pub use sweep::{Seeded, sweep};

mod bad_endpoint;
mod claim;
mod crash;
mod dead_backend;
mod measure;
mod partition;
mod retry_storm;
mod slow_endpoint;
mod sweep;

#[derive(Debug)]
pub struct Scenario {
    /// Also the name of its picture's file.
    pub name: &'static str,
    pub title: &'static str,
    /// What goes wrong, for who reads the document.
    pub story: &'static str,
    pub focus: Focus,
    pub variants: Vec<Variant>,
    pub columns: &'static [Measure],
    pub picture: Picture,
    pub claims: Vec<Claim>,
    /// What the figures say, and what the policies cost.
    pub findings: &'static [&'static str],
}

/// What is drawn of a scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Picture {
    /// For each second, with a line for each variant.
    Goodput,
    /// With a bar for each variant.
    Bars(Measure),
}

/// Where the measures look.
#[derive(Clone, Debug)]
pub struct Focus {
    pub clients: Range<usize>,
    pub backend: usize,
    /// The backend that must not suffer; the picture shows its goodput, where there is one.
    pub neighbour: Option<usize>,
    /// The endpoints with the fault.
    pub marked: Range<usize>,
    /// While something is wrong.
    pub fault: Range<Duration>,
    /// The part of that time that is measured.
    pub during: Range<Duration>,
    /// When all should be well again.
    pub after: Range<Duration>,
}

/// The same mesh and the same fault with other policies.
#[derive(Clone, Debug)]
pub struct Variant {
    pub name: &'static str,
    pub setup: Setup,
}

pub fn all() -> Vec<Scenario> {
    vec![
        retry_storm::storm(),
        retry_storm::floor(),
        slow_endpoint::scenario(),
        dead_backend::scenario(),
        partition::scenario(),
        bad_endpoint::scenario(),
        crash::scenario(),
    ]
}

impl Scenario {
    /// The number of a variant.
    pub fn variant(&self, name: &str) -> usize {
        self.variants.iter().position(|variant| variant.name == name).expect("a claim names a variant")
    }

    /// Without the variants of which nothing is claimed.
    pub fn claimed(mut self) -> Self {
        self.variants.retain(|variant| self.claims.iter().any(|claim| claim.variant == variant.name));
        self
    }

    /// The figures of each variant with this seed.
    pub fn figures(&self, seed: u64) -> Vec<Figures> {
        self.variants.iter().map(|variant| Figures::of(&crate::model::run(&variant.setup, seed), &self.focus)).collect()
    }
}

const CLIENTS: usize = 200;
/// Of the backend that a scenario is about.
const CALLERS: usize = CLIENTS / 2;

const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// Half of the clients call the first of five backends, whose endpoints are half busy with that; the other half call the
/// other four.
fn backends() -> Vec<Backend> {
    let backend =
        |callers, rate| Backend { workers: 2, service_time: Duration::from_millis(20), queue: 100, callers, rate };
    let share = (CLIENTS - CALLERS) / 4;
    let others = (0..4).map(|index| CALLERS + index * share).map(|first| backend(first..first + share, 0.5));
    std::iter::once(backend(0..CALLERS, 5.0)).chain(others).collect()
}

impl Setup {
    /// The mesh without faults.
    fn of(policies: Policies, length: Duration) -> Self {
        let patience = seconds(1);
        Self { clients: CLIENTS, backends: backends(), faults: Vec::new(), policies, slots: None, patience, length }
    }
}
