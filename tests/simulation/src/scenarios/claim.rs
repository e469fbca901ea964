//! What a scenario is held to: a bound on one measure of one variant, for every seed.

use std::fmt;

use super::{Figures, Measure};

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Claim {
    /// The name of the variant.
    pub variant: &'static str,
    pub measure: Measure,
    bound: Bound,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

pub fn at_least(variant: &'static str, measure: Measure, value: f64) -> Claim {
    Claim { variant, measure, bound: Bound::AtLeast(value) }
}

pub fn at_most(variant: &'static str, measure: Measure, value: f64) -> Claim {
    Claim { variant, measure, bound: Bound::AtMost(value) }
}

impl Claim {
    pub fn holds(&self, figures: &Figures) -> bool {
        let value = figures.get(self.measure);
        match self.bound {
            Bound::AtLeast(bound) => value >= bound,
            Bound::AtMost(bound) => value <= bound,
        }
    }
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sign, bound) = match self.bound {
            Bound::AtLeast(bound) => ('≥', bound),
            Bound::AtMost(bound) => ('≤', bound),
        };
        write!(f, "{}: {} {sign} {bound}", self.variant, self.measure.heading())
    }
}
