//! When so few endpoints can be used that all are.

use super::*;

fn bench(kind: &Algorithm, unhealthy: usize) -> (Bench, Counter) {
    let load_balancer = LoadBalancer { panic_percent: Some(50), ..kind.clone().into() };
    let endpoints: Vec<_> =
        (0..10).map(|index| api::Endpoint { healthy: index >= unhealthy, ..endpoint(index, 1) }).collect();
    let (panics, now) = (Counter::default(), Instant::now());
    let balancer = Balancer::new(&backend(load_balancer, 100), "".into(), panics.clone());
    balancer.update(&endpoints, now);
    (Bench { balancer, rng: StdRng::seed_from_u64(7), now }, panics)
}

#[test]
fn below_the_threshold_all_are_used_and_it_is_counted_once() {
    for kind in &KINDS {
        let (mut bench, panics) = bench(kind, 0);
        (0..5).for_each(|index| bench.eject(index));
        assert_eq!((bench.shares(1000).len(), panics.get()), (5, 0), "{kind:?}: half of them is enough");
        bench.eject(5);
        assert_eq!((bench.shares(1000).len(), panics.get()), (10, 1), "{kind:?}");
        assert!(!bench.endpoint(0).breaker.is_closed(), "its circuit does not learn from that");
        let [recovered] = [0].map(|index| endpoint(index + 10, 1));
        let endpoints: Vec<_> = (0..10).map(|index| endpoint(index, 1)).chain([recovered]).collect();
        bench.balancer.update(&endpoints[5..], bench.now);
        assert_eq!((bench.shares(1000).len(), panics.get()), (5, 1), "{kind:?}: 5 of 6 can be used");
    }
}

#[test]
fn those_that_are_reported_unhealthy_count_and_are_used() {
    for kind in &KINDS {
        assert_eq!(bench(kind, 5).0.shares(1000).len(), 5, "{kind:?}");
        assert_eq!(bench(kind, 6).0.shares(1000).len(), 10, "{kind:?}");
        assert_eq!(bench(kind, 10).0.shares(1000).len(), 10, "{kind:?}: the report is doubted");
        let (mut bench, _) = bench(kind, 3);
        bench.eject(3);
        bench.eject(4);
        assert_eq!(bench.shares(1000).len(), 5, "{kind:?}");
        bench.eject(5);
        assert_eq!(bench.shares(1000).len(), 10, "{kind:?}: both together");
    }
}

#[test]
fn a_key_goes_where_it_belongs() {
    for kind in [RING, MAGLEV] {
        let (mut bench, _) = bench(&kind, 0);
        let key = |number: u64| Affinity { session: None, key: Some(number.wrapping_mul(0x9e37_79b9_7f4a_7c15)) };
        let owners = |bench: &mut Bench| {
            (0..200).map(|number| bench.pick_for(None, key(number)).endpoint().id.clone()).collect::<Vec<_>>()
        };
        let before = owners(&mut bench);
        (0..6).for_each(|index| bench.eject(index));
        assert_eq!(owners(&mut bench), before, "{kind:?}");
    }
}
