//! Who stays in the own zone, and what spills over.

use super::*;

const COUNT: usize = 5000;

/// Ten endpoints in zone `a` and ten in zone `b`, called from `zone`.
fn bench(kind: &Algorithm, zone: &str) -> Bench {
    let load_balancer = LoadBalancer { zone_min_healthy_percent: Some(70), ..kind.clone().into() };
    Bench::of(&backend(load_balancer, 100), zone, &endpoints(|_| true))
}

fn endpoints(healthy: impl Fn(usize) -> bool) -> Vec<api::Endpoint> {
    let zone = |index: usize| if index < 10 { "a" } else { "b" }.to_owned();
    (0..20).map(|index| api::Endpoint { zone: zone(index), healthy: healthy(index), ..endpoint(index, 1) }).collect()
}

impl Bench {
    fn in_a(&mut self, count: usize) -> usize {
        let shares = self.shares(count);
        shares.iter().filter(|(id, _)| id[1..].parse::<usize>().unwrap() < 10).map(|(_, hits)| hits).sum()
    }
}

#[test]
fn what_the_own_zone_cannot_take_spills_over() {
    for kind in &KINDS {
        for (out, stays) in [(0, 1.0), (3, 1.0), (4, 6.0 / 7.0), (7, 3.0 / 7.0), (10, 0.0)] {
            let mut bench = bench(kind, "a");
            (0..out).for_each(|index| bench.eject(index));
            let hits = bench.in_a(COUNT);
            assert!(fits(hits, COUNT, stays), "{kind:?}, {out} of 10 ejected: {hits} of {COUNT} stayed");
            let healthy = endpoints(|index| index >= out);
            let mut reported = Bench::of(&backend(bench.balancer.set.load().settings.clone(), 100), "a", &healthy);
            let hits = reported.in_a(COUNT);
            assert!(fits(hits, COUNT, stays), "{kind:?}, {out} of 10 unhealthy: {hits} of {COUNT} stayed");
        }
    }
}

#[test]
fn nothing_spills_over_to_where_nobody_can_take_it() {
    let mut bench = bench(&Algorithm::PeakEwma, "a");
    (5..20).for_each(|index| bench.eject(index));
    assert_eq!(bench.in_a(1000), 1000);
}

#[test]
fn without_a_zone_of_ones_own_or_with_nobody_in_it_none_is_preferred() {
    for zone in ["", "c"] {
        let hits = bench(&Algorithm::Random, zone).in_a(COUNT);
        assert!(fits(hits, COUNT, 0.5), "{zone:?}: {hits}");
    }
    let unknown: Vec<_> = (0..20).map(|index| endpoint(index, 1)).collect();
    let mut bench = bench(&Algorithm::Random, "a");
    bench.balancer.update(&unknown, bench.now);
    let hits = bench.in_a(COUNT);
    assert!(fits(hits, COUNT, 0.5), "no endpoint has a zone: {hits}");
}

#[test]
fn a_retry_leaves_the_zone_only_for_want_of_others() {
    let mut bench = bench(&Algorithm::PeakEwma, "a");
    let failed = bench.endpoint(3);
    for _ in 0..100 {
        let picked = bench.pick(Some(&failed)).endpoint().id.clone();
        assert!(picked != "w3" && picked.len() == 2, "{picked}");
    }
    let alone: Vec<_> = endpoints(|_| true).into_iter().skip(9).collect();
    bench.balancer.update(&alone, bench.now);
    let (failed, picked) = (bench.endpoint(0), bench.pick(None).endpoint().id.clone());
    assert_eq!((failed.id.as_str(), picked.as_str()), ("w9", "w9"));
    assert_ne!(bench.pick(Some(&failed)).endpoint().id, "w9");
}

#[test]
fn a_key_and_a_session_know_no_zones() {
    for kind in [RING, MAGLEV] {
        let mut bench = bench(&kind, "a");
        let far = bench.endpoint(15);
        let picked = bench.pick_for(None, Affinity { session: Some(far.tag), key: None });
        assert!(picked.endpoint().is(&far));
        let mut other = self::bench(&kind, "b");
        for key in 0..200_u64 {
            let affinity = Affinity { session: None, key: Some(key.wrapping_mul(0x9e37_79b9_7f4a_7c15)) };
            let (here, there) = (bench.pick_for(None, affinity), other.pick_for(None, affinity));
            assert!(here.endpoint().is(there.endpoint()), "{kind:?}");
        }
    }
}
