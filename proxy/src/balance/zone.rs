//! Zones: whether a request stays in the caller's own zone.
//!
//! It does while enough of the endpoints there can be used. When fewer can, the part that they cannot take spills over
//! to the other zones, in proportion to what is missing. A caller that knows no zone of its own, or that nobody shares
//! a zone with, prefers none. An endpoint without a zone is in another one.

use rand::Rng;

use super::pool::Pool;

#[derive(Debug)]
pub(super) struct Zones {
    pub(super) near: Pool,
    pub(super) far: Pool,
    /// How many endpoints the own zone has, with those that are reported unhealthy.
    near_total: usize,
}

impl Zones {
    /// `None`: there is nothing to prefer.
    pub(super) fn new(everyone: &Pool, usable: &Pool) -> Option<Self> {
        let near_total = everyone.iter().filter(|endpoint| endpoint.near).count();
        let (near, far) = (usable.only(|endpoint| endpoint.near), usable.only(|endpoint| !endpoint.near));
        (near_total > 0 && !far.is_empty()).then_some(Self { near, far, near_total })
    }

    /// Whether the next request stays. Nothing spills over to where nobody can take it.
    pub(super) fn stays(&self, min_healthy_percent: u32, rng: &mut impl Rng) -> bool {
        let usable = self.near.closed();
        let share = near_share(usable, self.near_total, min_healthy_percent);
        share >= 1.0 || rng.random::<f64>() < share || (usable > 0 && self.far.closed() == 0)
    }
}

/// The part of the requests that stays in the own zone, of whose `total` endpoints `usable` can be used.
fn near_share(usable: usize, total: usize, min_healthy_percent: u32) -> f64 {
    let enough = total as f64 * f64::from(min_healthy_percent) / 100.0;
    if enough > 0.0 { (usable as f64 / enough).min(1.0) } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_spills_over() {
        let table = [
            // usable, of, at least, stays
            (10, 10, 70, 1.0),
            (7, 10, 70, 1.0),
            (6, 10, 70, 6.0 / 7.0),
            (35, 100, 70, 0.5),
            (1, 10, 70, 1.0 / 7.0),
            (0, 10, 70, 0.0),
            (9, 10, 100, 0.9),
            (1, 2, 50, 1.0),
            (1, 100, 1, 1.0),
            (0, 1, 1, 0.0),
        ];
        for (usable, total, min, expected) in table {
            let share = near_share(usable, total, min);
            assert!((share - expected).abs() < 1e-9, "{usable} of {total}, at least {min} %: {share}");
        }
    }
}
