//! Endpoints to draw from, with what drawing by weight needs worked out beforehand.

use std::{
    ops::Deref,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use rand::Rng;

use super::Endpoint;

#[derive(Debug)]
pub(super) struct Pool {
    endpoints: Arc<[Arc<Endpoint>]>,
    weights: Weights,
}

#[derive(Debug)]
enum Weights {
    Equal,
    /// `ends[i]` is the sum of the weights up to and with endpoint `i`.
    Unequal {
        ends: Box<[u64]>,
        total: u64,
        mean: f64,
        stride: u64,
    },
}

impl Pool {
    pub(super) fn new(endpoints: Arc<[Arc<Endpoint>]>) -> Self {
        Self { weights: Weights::of(&endpoints), endpoints }
    }

    /// Those of the endpoints for which `keep` holds.
    pub(super) fn only(&self, keep: impl Fn(&Endpoint) -> bool) -> Self {
        Self::new(self.iter().filter(|endpoint| keep(endpoint)).cloned().collect())
    }

    pub(super) fn share_endpoints(&self) -> Arc<[Arc<Endpoint>]> {
        Arc::clone(&self.endpoints)
    }

    /// How many circuits are closed.
    pub(super) fn closed(&self) -> usize {
        self.iter().filter(|endpoint| endpoint.breaker.is_closed()).count()
    }

    pub(super) fn is_even(&self) -> bool {
        matches!(self.weights, Weights::Equal)
    }

    /// The weight of an endpoint relative to the mean.
    pub(super) fn share(&self, endpoint: &Endpoint) -> f64 {
        match &self.weights {
            Weights::Equal => 1.0,
            Weights::Unequal { mean, .. } => f64::from(endpoint.weight) / mean,
        }
    }

    /// Two endpoints by weight. With equal weights they are different ones, if there are two; with unequal weights
    /// they may be the same, since otherwise a light endpoint among few would be compared, and so be picked, more
    /// often than its weight says. The pool must not be empty.
    pub(super) fn draw_two(&self, rng: &mut impl Rng) -> (usize, usize) {
        match &self.weights {
            Weights::Equal => two_of(self.len(), rng),
            Weights::Unequal { .. } => (self.draw_one(rng), self.draw_one(rng)),
        }
    }

    /// One endpoint by weight. The pool must not be empty.
    pub(super) fn draw_one(&self, rng: &mut impl Rng) -> usize {
        match &self.weights {
            Weights::Equal => rng.random_range(0..self.len()),
            Weights::Unequal { ends, total, .. } => position(ends, rng.random_range(0..*total)),
        }
    }

    /// The endpoint whose turn it is. With unequal weights the turns of one endpoint are spread, not in a row: the
    /// place moves by a stride near the golden section, which has no divisor in common with the sum of the weights.
    pub(super) fn next_in_turn(&self, turn: &AtomicU64) -> usize {
        let turn = turn.fetch_add(1, Ordering::Relaxed);
        match &self.weights {
            Weights::Equal => (turn % (self.len().max(1) as u64)) as usize,
            Weights::Unequal { ends, total, stride, .. } => {
                let place = u128::from(turn) * u128::from(*stride) % u128::from(*total);
                position(ends, place as u64)
            }
        }
    }
}

impl Deref for Pool {
    type Target = [Arc<Endpoint>];

    fn deref(&self) -> &[Arc<Endpoint>] {
        &self.endpoints
    }
}

impl Weights {
    fn of(endpoints: &[Arc<Endpoint>]) -> Self {
        let Some(first) = endpoints.first() else { return Self::Equal };
        if endpoints.iter().all(|endpoint| endpoint.weight == first.weight) {
            return Self::Equal;
        }
        let mut total = 0;
        let ends: Box<[u64]> = endpoints
            .iter()
            .map(|endpoint| {
                total += u64::from(endpoint.weight);
                total
            })
            .collect();
        let mean = total as f64 / endpoints.len() as f64;
        Self::Unequal { ends, total, mean, stride: stride(total) }
    }
}

/// Two different numbers below `len`, or twice 0 if `len` is 1.
pub(super) fn two_of(len: usize, rng: &mut impl Rng) -> (usize, usize) {
    if len < 2 {
        return (0, 0);
    }
    let first = rng.random_range(0..len);
    let second = rng.random_range(0..len - 1);
    (first, if second >= first { second + 1 } else { second })
}

/// One of these weights' places, by weights that are good for this moment only.
pub(super) fn one_by_weight(weights: impl Iterator<Item = f64> + Clone, rng: &mut impl Rng) -> usize {
    let mut place = rng.random::<f64>() * weights.clone().sum::<f64>();
    let mut last = 0;
    for (index, weight) in weights.enumerate() {
        if place < weight {
            return index;
        }
        place -= weight;
        last = index;
    }
    last
}

fn position(ends: &[u64], place: u64) -> usize {
    ends.partition_point(|end| *end <= place)
}

fn stride(total: u64) -> u64 {
    let golden = (total as f64 * 0.618_033_988_749_895) as u64;
    (golden.max(1)..).find(|candidate| gcd(*candidate, total) == 1).unwrap_or(1)
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}
