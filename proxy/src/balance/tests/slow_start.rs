//! The share of an endpoint that warms up.

use super::*;

const COUNT: usize = 4000;
const SLOW_START: Duration = Duration::from_secs(10);

fn bench(kind: &Algorithm, endpoints: usize) -> Bench {
    let load_balancer = LoadBalancer { slow_start: Some(SLOW_START), ..kind.clone().into() };
    let endpoints: Vec<_> = (0..endpoints).map(|index| endpoint(index, 1)).collect();
    Bench::of(&backend(load_balancer, 100), "", &endpoints)
}

impl Bench {
    fn hits(&mut self, id: &str) -> usize {
        self.shares(COUNT).get(id).copied().unwrap_or(0)
    }
}

#[test]
fn the_share_of_a_newcomer_grows_and_is_never_nothing() {
    for kind in &KINDS {
        let mut bench = bench(kind, 3);
        assert!(fits(bench.hits("w2"), COUNT, 1.0 / 3.0), "{kind:?}: the first endpoints share as usual");
        let endpoints: Vec<_> = (0..4).map(|index| endpoint(index, 1)).collect();
        bench.balancer.update(&endpoints, bench.now);
        let mut before = 0;
        for step in 0..=5 {
            let hits = bench.hits("w3");
            let weight = 0.1 + 0.9 * f64::from(step) / 5.0;
            assert!(fits(hits, COUNT, weight / (3.0 + weight)), "{kind:?}: {hits} of {COUNT} after {} s", 2 * step);
            assert!(hits > before, "{kind:?}: {hits} after {before}");
            before = hits;
            bench.now += SLOW_START / 5;
        }
        assert!(fits(bench.hits("w3"), COUNT, 0.25), "{kind:?}");
    }
}

#[test]
fn who_has_recovered_begins_again() {
    for kind in &KINDS {
        let mut bench = bench(kind, 2);
        bench.eject(0);
        bench.now += 5 * SECOND;
        while !bench.endpoint(0).breaker.is_closed() {
            bench.shares(1);
        }
        let hits = bench.hits("w0");
        assert!(fits(hits, COUNT, 0.1 / 1.1), "{kind:?}: {hits} after its circuit closed");
        bench.now += SLOW_START;

        let report = |bench: &Bench, healthy| {
            let sick = api::Endpoint { healthy, ..endpoint(0, 1) };
            bench.balancer.update(&[sick, endpoint(1, 1)], bench.now);
        };
        report(&bench, false);
        assert_eq!(bench.hits("w0"), 0, "{kind:?}");
        report(&bench, true);
        let hits = bench.hits("w0");
        assert!(fits(hits, COUNT, 0.1 / 1.1), "{kind:?}: {hits} after it was reported healthy");
    }
}

#[test]
fn who_is_all_new_shares_as_usual_and_requests_in_flight_weigh_more_on_a_newcomer() {
    let mut bench = bench(&Algorithm::LeastRequest, 2);
    bench.balancer.update(&[endpoint(5, 1), endpoint(6, 1)], bench.now);
    assert!(fits(bench.hits("w5"), COUNT, 0.5), "others in the place of all");
    bench.now += SLOW_START;
    bench.balancer.update(&[endpoint(5, 1), endpoint(6, 1), endpoint(7, 1)], bench.now);
    let held: Vec<Picked> = (0..105).map(|_| bench.pick(None)).collect();
    let newcomer = held.iter().filter(|picked| picked.endpoint().id == "w7").count();
    assert!((1..=10).contains(&newcomer), "{newcomer} of 105 are in flight at the newcomer");
}
