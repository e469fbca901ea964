//! Shares within a confidence of 99.9 %, and what moves when weights do.

use http::{HeaderName, HeaderValue, header};
use proptest::prelude::*;
use rand::{RngCore, SeedableRng, rngs::StdRng};
use xxhash_rust::xxh3::xxh3_64;

use super::*;

const USERS: usize = 20_000;

fn sticky(weights: &[u32]) -> Split {
    let names: Vec<String> = (1..=weights.len()).map(|index| format!("shop/orders-v{index}:80")).collect();
    let backends = names.iter().map(String::as_str).zip(weights.iter().copied());
    Split::of(backends, Some(Sticky::Header(HeaderName::from_static("x-user"))))
}

fn user(split: &Split, user: usize) -> Option<usize> {
    let mut headers = HeaderMap::new();
    headers.insert("x-user", format!("user-{user}").parse().unwrap());
    // What is random must not matter.
    split.pick(&headers, user as u64)
}

fn fits(hits: usize, count: usize, p: f64) -> bool {
    (hits as f64 / count as f64 - p).abs() <= 3.29 * (p * (1.0 - p) / count as f64).sqrt()
}

#[test]
fn random_shares_are_the_weights() {
    let split = Split::of([("a", 90), ("b", 10), ("c", 0)], None);
    let mut rng = StdRng::seed_from_u64(3);
    let mut hits = [0; 3];
    for _ in 0..100_000 {
        hits[split.pick(&HeaderMap::new(), rng.next_u64()).unwrap()] += 1;
    }
    assert!(fits(hits[0], 100_000, 0.9) && hits[2] == 0, "{hits:?}");
    assert_eq!(split.pick(&HeaderMap::new(), 0), Some(0));
    assert_eq!(split.pick(&HeaderMap::new(), u64::MAX), Some(1));
}

#[test]
fn weights_that_sum_to_zero_pick_nothing() {
    assert_eq!(Split::of([("a", 0)], None).pick(&HeaderMap::new(), 1), None);
    assert_eq!(user(&sticky(&[0, 0]), 1), None);
    assert_eq!(Split::of([], None).pick(&HeaderMap::new(), 1), None);
}

#[test]
fn sticky_shares_are_the_weights() {
    for weights in [&[90, 10][..], &[1, 1, 1], &[5, 0, 3, 2]] {
        let split = sticky(weights);
        let total: u32 = weights.iter().sum();
        for (index, weight) in weights.iter().enumerate() {
            let hits = (0..USERS).filter(|name| user(&split, *name) == Some(index)).count();
            assert!(fits(hits, USERS, f64::from(*weight) / f64::from(total)), "{weights:?}[{index}]: {hits}");
        }
    }
}

#[test]
fn a_growing_canary_takes_the_moved_share_and_moves_nobody_else() {
    let (before, after) = (sticky(&[90, 10]), sticky(&[80, 20]));
    let mut moved = 0;
    for name in 0..USERS {
        match (user(&before, name), user(&after, name)) {
            (Some(0), Some(1)) => moved += 1,
            (from, to) => assert_eq!(from, to, "user {name}"),
        }
    }
    assert!(fits(moved, USERS, 0.1), "{moved} of {USERS} moved");
}

#[test]
fn a_request_without_the_key_falls_back_to_chance() {
    let split = sticky(&[1, 1]);
    for value in [None, Some(""), Some("  ")] {
        let mut headers = HeaderMap::new();
        if let Some(value) = value {
            headers.insert("x-user", HeaderValue::from_static(value));
        }
        assert_eq!((split.pick(&headers, 0), split.pick(&headers, u64::MAX)), (Some(0), Some(1)));
    }
}

#[test]
fn the_cookie_is_found_among_others() {
    let split = Split::of([("a", 1), ("b", 1)], Some(Sticky::Cookie("user".into())));
    let pick = |lines: &[&'static str], random| {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(header::COOKIE, HeaderValue::from_static(line));
        }
        split.pick(&headers, random)
    };
    let anna = pick(&["user=anna"], 0);
    assert_eq!(pick(&["user=anna"], u64::MAX), anna, "chance does not matter");
    assert_eq!(pick(&["x=1; user=anna; y=2"], u64::MAX), anna);
    assert_eq!(pick(&["x=1", "user = anna"], u64::MAX), anna);
    assert_ne!(pick(&["superuser=anna; user2=anna"], 0), pick(&["superuser=anna; user2=anna"], u64::MAX));
}

#[test]
fn a_backend_that_is_named_twice_gets_both_shares() {
    let split = Split::of([("a", 3), ("a", 1)], Some(Sticky::Header(HeaderName::from_static("x-user"))));
    let second = (0..USERS).filter(|name| user(&split, *name) == Some(1)).count();
    assert!(fits(second, USERS, 0.25), "{second}");
}

#[test]
fn the_hash_is_the_same_on_every_sidecar() {
    let picked: Vec<usize> = (0..12).filter_map(|name| user(&sticky(&[1, 1, 1]), name)).collect();
    assert_eq!(picked, PICKED, "changing this moves every user of a running mesh");
}

/// Of the users 0 to 11 with three equal weights.
const PICKED: [usize; 12] = [0, 2, 1, 2, 1, 0, 0, 0, 1, 2, 2, 2];

#[test]
fn a_session_names_its_backend_unless_that_is_to_get_nothing() {
    let tags = |weights: &[u32]| sticky(weights).tags().collect::<Vec<_>>();
    let known = tags(&[90, 10]);
    assert_eq!(known, tags(&[1, 1]), "whatever the weights are");
    assert_ne!(known[0], known[1]);
    let split = sticky(&[0, 5]);
    assert_eq!(known.iter().map(|tag| split.tagged(*tag)).collect::<Vec<_>>(), [None, Some(1)]);
    assert_eq!(split.tagged(1), None);
}

/// The version is picked first, then the endpoint, by the same key. Were the two draws one, the users of a version would
/// meet only some of its endpoints.
#[test]
fn a_key_picks_the_version_and_independently_of_that_a_place() {
    let split = sticky(&[90, 10]);
    let canary: Vec<usize> = (0..USERS).filter(|name| user(&split, *name) == Some(1)).collect();
    let lower_half = canary.iter().filter(|name| xxh3_64(format!("user-{name}").as_bytes()) < u64::MAX / 2).count();
    assert!(fits(lower_half, canary.len(), 0.5), "{lower_half} of {}", canary.len());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whichever one weight changes: who moves, moves to the backend that grew or away from the one that shrank.
    #[test]
    fn only_the_backend_whose_weight_changed_gains_or_loses(
        weights in prop::collection::vec(0..100_u32, 2..6), which in any::<prop::sample::Index>(), weight in 0..100_u32,
    ) {
        let which = which.index(weights.len());
        let mut changed = weights.clone();
        changed[which] = weight;
        let (before, after) = (sticky(&weights), sticky(&changed));
        for name in 0..200 {
            let (from, to) = (user(&before, name), user(&after, name));
            if from != to && from.is_some() && to.is_some() {
                let moved_right = if weight > weights[which] { to == Some(which) } else { from == Some(which) };
                prop_assert!(moved_right, "user {name} from {from:?} to {to:?}");
            }
        }
    }

    /// No more move than the share that changed: what the backend gained or lost of the whole.
    #[test]
    fn as_many_move_as_the_share_that_changed(
        weights in prop::collection::vec(1..100_u32, 2..6), which in any::<prop::sample::Index>(), weight in 1..100_u32,
    ) {
        const SOME: usize = 2000;
        let which = which.index(weights.len());
        let mut changed = weights.clone();
        changed[which] = weight;
        let share = |weights: &[u32]| f64::from(weights[which]) / f64::from(weights.iter().sum::<u32>());
        let (before, after) = (sticky(&weights), sticky(&changed));
        let moved = (0..SOME).filter(|name| user(&before, *name) != user(&after, *name)).count();
        let expected = (share(&weights) - share(&changed)).abs();
        // Six standard deviations, since there are hundreds of cases.
        let tolerance = 6.0 * (expected * (1.0 - expected) / SOME as f64).sqrt() + 1.0 / SOME as f64;
        prop_assert!((moved as f64 / SOME as f64 - expected).abs() <= tolerance, "{} of {} for {}", moved, SOME, expected);
    }

    /// A backend that comes or goes takes or leaves its own users alone.
    #[test]
    fn a_backend_more_moves_users_only_to_itself(weights in prop::collection::vec(1..100_u32, 2..6)) {
        let (without, with) = (sticky(&weights[..weights.len() - 1]), sticky(&weights));
        for name in 0..200 {
            let (from, to) = (user(&without, name), user(&with, name));
            prop_assert!(from == to || to == Some(weights.len() - 1), "user {} from {:?} to {:?}", name, from, to);
        }
    }

    #[test]
    fn a_weight_of_zero_is_never_picked(weights in prop::collection::vec(0..3_u32, 1..6), random: u64, name: usize) {
        let split = sticky(&weights);
        for picked in [user(&split, name), split.pick(&HeaderMap::new(), random)] {
            prop_assert_eq!(picked.is_none(), weights.iter().all(|weight| *weight == 0));
            prop_assert!(picked.is_none_or(|picked| weights[picked] > 0));
        }
    }
}
