//! Whether a measured split is one that its weights make likely.

/// Two-sided 99.999 % of the normal distribution, which the binomial is close to at the sizes used here.
const Z: f64 = 4.4172;

/// The counts, of `n` tries with chance `p` each, that are seen in 99.999 % of all runs.
pub fn interval(n: usize, p: f64) -> (f64, f64) {
    let n = n as f64;
    let mean = n * p;
    // A half is the continuity correction.
    let reach = Z * (n * p * (1.0 - p)).sqrt() + 0.5;
    ((mean - reach).max(0.0), (mean + reach).min(n))
}

pub fn is_likely(hits: usize, n: usize, p: f64) -> bool {
    let (low, high) = interval(n, p);
    (low..=high).contains(&(hits as f64))
}

/// `10.2 %`
pub fn percent(hits: usize, n: usize) -> String {
    match n {
        0 => "- %".to_owned(),
        n => format!("{:.1} %", hits as f64 * 100.0 / n as f64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_is_that_of_the_binomial_distribution() {
        // 1000 tries at 10 %: the mean is 100, the standard deviation 9.49.
        let (low, high) = interval(1000, 0.1);
        assert!((low - 57.6).abs() < 0.1 && (high - 142.4).abs() < 0.1, "{low} {high}");
        assert!(is_likely(100, 1000, 0.1) && is_likely(58, 1000, 0.1) && is_likely(142, 1000, 0.1));
        assert!(!is_likely(57, 1000, 0.1) && !is_likely(143, 1000, 0.1));
    }

    #[test]
    fn certainty_allows_nothing_else() {
        assert!(is_likely(0, 500, 0.0) && !is_likely(1, 500, 0.0));
        assert!(is_likely(500, 500, 1.0) && !is_likely(499, 500, 1.0));
    }

    #[test]
    fn shares_are_shown_in_percent() {
        assert_eq!(percent(102, 1000), "10.2 %");
        assert_eq!(percent(0, 0), "- %");
    }
}
