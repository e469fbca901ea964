//! Where keys are, and which of them move.

use xxhash_rust::xxh3::xxh3_64;

use super::*;

const HASHING: [Algorithm; 2] = [RING, MAGLEV];
const KEYS: usize = 20_000;

fn key(number: usize) -> Affinity {
    Affinity { session: None, key: Some(xxh3_64(format!("user-{number}").as_bytes())) }
}

impl Bench {
    /// The endpoint of each key, by its number.
    fn owners(&mut self, keys: usize) -> Vec<usize> {
        let owner = |number| self.pick_for(None, key(number)).endpoint().id[1..].parse().unwrap();
        (0..keys).map(owner).collect()
    }

    fn holds(&self, indices: &[usize]) {
        let endpoints: Vec<_> = indices.iter().map(|index| endpoint(*index, 1)).collect();
        self.balancer.update(&endpoints, self.now);
    }
}

fn count(owners: &[usize], index: usize) -> usize {
    owners.iter().filter(|owner| **owner == index).count()
}

#[test]
fn keys_are_shared_by_weight() {
    // A ring's shares vary with its points: about 7 % at 200 of them. Maglev's vary with chance alone.
    for (kind, tolerance) in [(RING, 0.25), (MAGLEV, 0.05)] {
        for weights in [&[1; 2][..], &[1; 10], &[100; 10], &[1, 3], &[1, 2, 7]] {
            let owners = Bench::new(&kind, 50, weights).owners(KEYS);
            let total: u32 = weights.iter().sum();
            for (index, weight) in weights.iter().enumerate() {
                let expected = KEYS as f64 * f64::from(*weight) / f64::from(total);
                let keys = count(&owners, index) as f64;
                assert!(
                    (keys / expected - 1.0).abs() < tolerance,
                    "{kind:?} {weights:?}[{index}]: {keys} of {expected}"
                );
            }
        }
    }
}

#[test]
fn every_sidecar_finds_the_same_endpoint() {
    for kind in HASHING {
        let mut bench = Bench::new(&kind, 50, &[1, 2, 3, 4, 5]);
        let reversed: Vec<_> = (0..5).rev().map(|index| endpoint(index, index as u32 + 1)).collect();
        let mut other = Bench::of(&backend(kind.clone(), 50), "", &reversed);
        other.rng = StdRng::seed_from_u64(8);
        assert!(bench.owners(2000) == other.owners(2000), "{kind:?}");
    }
}

#[test]
fn who_comes_or_goes_moves_its_own_keys_and_hardly_any_other() {
    for (kind, others) in [(RING, 0.0), (MAGLEV, 0.03)] {
        let mut bench = Bench::new(&kind, 50, &[1; 10]);
        let ten = bench.owners(KEYS);
        bench.holds(&[0, 1, 2, 3, 5, 6, 7, 8, 9]);
        let nine = bench.owners(KEYS);
        let moved = |stays: usize| ten.iter().zip(&nine).filter(|(from, to)| **from != stays && from != to).count();
        let (own, beside) = (count(&ten, 4), moved(4));
        assert!(own as f64 / KEYS as f64 <= 0.1 * 1.25, "{kind:?}: {own} keys were its own");
        assert!(beside as f64 / KEYS as f64 <= others, "{kind:?}: {beside} other keys moved");
        assert_eq!(count(&nine, 4), 0);
        bench.holds(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
        assert!(bench.owners(KEYS) == ten, "{kind:?}: it comes back, and so do its keys");
    }
}

#[test]
fn only_the_keys_of_an_endpoint_that_is_out_move_and_they_come_back() {
    for kind in HASHING {
        let mut bench = Bench::new(&kind, 50, &[1; 10]);
        let before = bench.owners(KEYS);
        bench.eject(4);
        let without = bench.owners(KEYS);
        for (from, to) in before.iter().zip(&without) {
            assert!(if *from == 4 { *to != 4 } else { from == to }, "{kind:?}: from {from} to {to}");
        }
        let heirs: std::collections::HashSet<_> = before.iter().zip(&without).filter(|(from, _)| **from == 4).collect();
        assert!(heirs.len() >= 5, "{kind:?}: one neighbour alone would be overloaded: {heirs:?}");
        bench.now += 5 * SECOND;
        bench.shares(100);
        assert!(bench.owners(KEYS) == before, "{kind:?}");

        let sick: Vec<_> = (0..10).map(|i| api::Endpoint { healthy: i != 4, ..endpoint(i, 1) }).collect();
        bench.balancer.update(&sick, bench.now);
        assert!(bench.owners(KEYS) == without, "{kind:?}: reported unhealthy is as good as ejected");
    }
}

#[test]
fn the_keys_of_a_half_open_endpoint_probe_it() {
    for kind in HASHING {
        let mut bench = Bench::new(&kind, 50, &[1; 3]);
        let number = bench.owners(100).iter().position(|owner| *owner == 1).unwrap();
        bench.eject(1);
        bench.now += 5 * SECOND;
        let held: Vec<Picked> = (0..5).map(|_| bench.pick_for(None, key(number))).collect();
        let probes = held.iter().filter(|picked| picked.endpoint().id == "w1").count();
        assert_eq!(probes, 2, "{kind:?}");
    }
}

#[test]
fn a_retry_goes_to_the_next_endpoint_always_the_same() {
    for kind in HASHING {
        let mut bench = Bench::new(&kind, 50, &[1; 5]);
        for number in 0..100 {
            let first = bench.pick_for(None, key(number)).endpoint().clone();
            let next = bench.pick_for(Some(&first), key(number)).endpoint().clone();
            assert!(!next.is(&first), "{kind:?}");
            assert!(bench.pick_for(Some(&first), key(number)).endpoint().is(&next), "{kind:?}");
        }
    }
}

#[test]
fn a_newcomer_takes_keys_one_by_one_and_only_for_itself() {
    for kind in HASHING {
        let load_balancer = LoadBalancer { slow_start: Some(10 * SECOND), ..kind.clone().into() };
        let mut bench = Bench::of(&backend(load_balancer, 50), "", &[0, 1, 2].map(|index| endpoint(index, 1)));
        let before = bench.owners(2000);
        bench.holds(&[0, 1, 2, 3]);
        let mut last = bench.owners(2000);
        assert!(count(&last, 3) > 0 && count(&last, 3) < 150, "{kind:?}: {} of 2000 at once", count(&last, 3));
        for _ in 0..10 {
            bench.now += SECOND;
            let next = bench.owners(2000);
            for ((was, from), to) in before.iter().zip(&last).zip(&next) {
                assert!(*from != 3 || *to == 3, "{kind:?}: what it has it keeps");
                assert!(kind != RING || *to == 3 || was == to, "{kind:?}: who does not move to it stays");
            }
            assert!(count(&last, 3) < count(&next, 3), "{kind:?}");
            last = next;
        }
        assert!(count(&last, 3) > 350, "{kind:?}: {} of 2000 in the end", count(&last, 3));
    }
}

#[test]
fn a_table_is_made_anew_only_for_other_endpoints() {
    for kind in HASHING {
        let bench = Bench::new(&kind, 50, &[1; 3]);
        let table = || bench.balancer.set.load().table.clone().unwrap();
        let before = table();
        let endpoints = [0, 1, 2].map(|index| api::Endpoint { healthy: index > 0, ..endpoint(index, 1) });
        bench.balancer.update(&endpoints, bench.now);
        bench.balancer.reconfigure(&backend(kind.clone(), 10));
        assert!(Arc::ptr_eq(&before, &table()), "{kind:?}");
        bench.holds(&[0, 1]);
        assert!(!Arc::ptr_eq(&before, &table()), "{kind:?}");
        bench.balancer.reconfigure(&backend(Algorithm::Random, 10));
        assert!(bench.balancer.set.load().table.is_none(), "{kind:?}");
    }
}

/// This must never change: callers of different versions must agree.
#[test]
fn the_owners_are_the_same_on_every_sidecar() {
    assert_eq!(Bench::new(&RING, 50, &[1, 2, 3]).owners(12), [1, 1, 1, 1, 0, 0, 2, 2, 2, 2, 2, 2]);
    assert_eq!(Bench::new(&MAGLEV, 50, &[1, 2, 3]).owners(12), [0, 0, 2, 1, 2, 2, 2, 1, 1, 2, 0, 1]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    /// Whichever circuits are open: keys of closed ones stay, the others are at closed ones or at spared ones.
    #[test]
    fn keys_whose_endpoint_can_be_used_never_move(
        weights in prop::collection::vec(1..9_u32, 2..9),
        open in prop::collection::vec(any::<bool>(), 9),
        percent in 1..=100_u32,
        kind in prop::sample::select(&HASHING[..]),
    ) {
        let mut bench = Bench::new(&kind, percent, &weights);
        let before = bench.owners(200);
        (0..weights.len()).filter(|index| open[*index]).for_each(|index| bench.eject(index));
        let open_count = open[..weights.len()].iter().filter(|open| **open).count();
        let limit = (weights.len() * percent as usize / 100).min(weights.len() - 1);
        for (from, to) in before.iter().zip(bench.owners(200)) {
            prop_assert!(open[*from] || *from == to, "{} to {}", from, to);
            prop_assert!(!open[to] || open_count > limit, "{} is open, and need not be spared", to);
        }
    }
}
