//! How far chance alone may lead.

use std::ops::RangeInclusive;

/// So rare that no run of the tests may be expected to see it.
const OUTSIDE: f64 = 1e-6;

/// How often something of probability `p` happens in `n` tries: at most one of two million experiments ends below, and
/// as few above.
pub fn binomial_interval(n: u64, p: f64) -> RangeInclusive<u64> {
    let (mut below, mut low, mut probability) = (0.0, None, (1.0 - p).powf(n as f64));
    assert!(probability > 0.0, "too many tries for this way of counting");
    for k in 0..=n {
        below += probability;
        if low.is_none() && below > OUTSIDE / 2.0 {
            low = Some(k);
        }
        if below >= 1.0 - OUTSIDE / 2.0 {
            return low.unwrap_or(k)..=k;
        }
        probability *= (n - k) as f64 / (k + 1) as f64 * p / (1.0 - p);
    }
    low.unwrap_or(n)..=n
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_is_that_of_the_distribution() {
        assert_eq!(binomial_interval(10, 0.5), 0..=10);
        assert_eq!(binomial_interval(100, 0.5), 26..=74);
        assert_eq!(binomial_interval(1000, 0.1), 57..=149);
    }
}
