use proptest::prelude::*;

use super::*;

fn rate(requests: u32, per: Duration, burst: u32) -> Rate {
    Rate { requests, per, burst }
}

/// What a bucket says to requests at these times, in milliseconds: what is left, or how long to wait.
fn told(rate: Rate, at: &[u64]) -> Vec<Result<u32, u64>> {
    let start = Instant::now();
    let mut bucket = Bucket::full(start);
    let mut take = |ms: &u64| {
        let taken = bucket.take(rate, start + Duration::from_millis(*ms));
        taken.map(|left| left.requests).map_err(|wait| u64::try_from(wait.as_millis()).unwrap())
    };
    at.iter().map(&mut take).collect()
}

#[test]
fn a_burst_at_once_and_then_as_it_flows_in() {
    let second = Duration::from_secs(1);
    assert_eq!(
        told(rate(10, second, 3), &[0, 0, 0, 0, 50, 100, 100]),
        [Ok(2), Ok(1), Ok(0), Err(100), Err(50), Ok(0), Err(100)]
    );
    assert_eq!(told(rate(10, second, 3), &[0, 0, 0, 250, 10_000]), [Ok(2), Ok(1), Ok(0), Ok(1), Ok(2)]);
    assert_eq!(
        told(rate(1, Duration::from_secs(3600), 1), &[0, 0, 3_599_999, 3_600_000]),
        [Ok(0), Err(3_600_000), Err(1), Ok(0)]
    );
    // The clock of another worker is behind.
    assert_eq!(told(rate(10, second, 1), &[100, 0, 150, 200]), [Ok(0), Err(100), Err(50), Ok(0)]);
}

#[test]
fn a_third_does_not_get_lost() {
    // One flows in every 333.333… ms.
    let start = Instant::now();
    let rate = rate(3, Duration::from_secs(1), 2);
    let mut bucket = Bucket::full(start);
    let through = (0..=30_000).filter(|ms| bucket.take(rate, start + Duration::from_millis(*ms)).is_ok()).count();
    assert_eq!(through, 2 + 90);
}

#[test]
fn the_greatest_numbers_are_no_trouble() {
    let rate = rate(u32::MAX, Duration::from_secs(3600), u32::MAX).share(u32::MAX);
    assert_eq!(rate.burst, 1);
    let mut bucket = Bucket::full(Instant::now());
    assert!(bucket.take(rate, Instant::now()).is_ok());
    assert!(bucket.take(rate, bucket.at).unwrap_err() <= Duration::from_secs(3600));
}

#[test]
fn a_share_is_of_rate_and_burst() {
    let whole = rate(10, Duration::from_secs(1), 7);
    assert_eq!((whole.share(0), whole.share(1)), (whole, whole));
    assert_eq!(whole.share(3), rate(10, Duration::from_secs(3), 2));
    assert_eq!(whole.share(20), rate(10, Duration::from_secs(20), 1));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// In any time: what can be there at once, and what flows in meanwhile.
    #[test]
    fn no_window_lets_more_through(
        requests in 1..200u32,
        per_ms in 1..5_000u64,
        burst in 1..50u32,
        steps in prop::collection::vec((0..400u64, 1..20usize), 1..40),
    ) {
        let rate = rate(requests, Duration::from_millis(per_ms), burst);
        let start = Instant::now();
        let (mut now, mut bucket, mut through) = (start, Bucket::full(start), Vec::new());
        for (ms, times) in steps {
            now += Duration::from_millis(ms);
            through.extend((0..times).filter(|_| bucket.take(rate, now).is_ok()).map(|_| now));
        }
        for (first, from) in through.iter().enumerate() {
            for (last, to) in through.iter().enumerate().skip(first) {
                let flowed = u128::from(requests) * to.duration_since(*from).as_nanos() / rate.per.as_nanos();
                let count = u128::try_from(last - first + 1).unwrap();
                prop_assert!(count <= u128::from(burst) + flowed, "{count} > {burst} + {flowed}");
            }
        }
    }

    /// Who waits as long as it was told is let through, and not a nanosecond earlier.
    #[test]
    fn who_waits_is_let_through(requests in 1..200u32, per_ms in 1..5_000u64, burst in 1..50u32, ms in 0..5_000u64) {
        let rate = rate(requests, Duration::from_millis(per_ms), burst);
        let start = Instant::now();
        let mut bucket = Bucket::full(start);
        let now = start + Duration::from_millis(ms);
        let wait = loop {
            if let Err(wait) = bucket.take(rate, now) {
                break wait;
            }
        };
        prop_assert!(!wait.is_zero());
        prop_assert!(bucket.clone().take(rate, now + wait - Duration::from_nanos(1)).is_err());
        prop_assert!(bucket.take(rate, now + wait).is_ok());
    }
}
