//! Shares, ejection and state across updates, with fixed seeds and a clock that only moves when a test moves it.

use std::{collections::HashMap, time::Duration};

use proptest::prelude::*;
use rand::{SeedableRng, rngs::StdRng};

use weft_proxy_api::{
    ServicePort,
    policy::{Algorithm, HashKey, LoadBalancer},
};

use super::*;
use crate::policy::{Cause, Outcome, circuit_breaker::State};

const FAILURE: Outcome = Outcome::Failure(Cause::ConnectRefused);
const SECOND: Duration = Duration::from_secs(1);
const RING: Algorithm = Algorithm::RingHash(HashKey::Source);
const MAGLEV: Algorithm = Algorithm::Maglev(HashKey::Source);
/// Those that hash draw at random here, since no request has a key.
const KINDS: [Algorithm; 6] =
    [Algorithm::PeakEwma, Algorithm::LeastRequest, Algorithm::RoundRobin, Algorithm::Random, RING, MAGLEV];

mod hashing;
mod panic;
mod slow_start;
mod zones;

fn endpoint(index: usize, weight: u32) -> weft_proxy_api::Endpoint {
    weft_proxy_api::Endpoint {
        id: format!("w{index}"),
        address: ([10, 0, 0, 1], 8000 + index as u16).into(),
        identity: None,
        weight,
        zone: String::new(),
        healthy: true,
    }
}

fn backend(load_balancer: impl Into<LoadBalancer>, max_ejected_percent: u32) -> api::Backend {
    let (load_balancer, endpoint_circuit_breaker) = (load_balancer.into(), breaker());
    let name = ServicePort::new("shop", "orders", 80);
    api::Backend { load_balancer, max_ejected_percent, endpoint_circuit_breaker, ..api::Backend::new(name) }
}

fn breaker() -> BreakerConfig {
    BreakerConfig {
        consecutive_failures: Some(1),
        open_initial: 5 * SECOND,
        half_open_probes: 2,
        half_open_successes: 2,
        ..BreakerConfig::endpoint_default()
    }
}

struct Bench {
    balancer: Balancer,
    rng: StdRng,
    now: Instant,
}

impl Bench {
    fn new(kind: &Algorithm, max_ejected_percent: u32, weights: &[u32]) -> Self {
        let endpoints: Vec<_> = weights.iter().enumerate().map(|(index, weight)| endpoint(index, *weight)).collect();
        Self::of(&backend(kind.clone(), max_ejected_percent), "", &endpoints)
    }

    fn of(settings: &api::Backend, zone: &str, endpoints: &[api::Endpoint]) -> Self {
        let balancer = Balancer::new(settings, zone.into(), Counter::default());
        let now = Instant::now();
        balancer.update(endpoints, now);
        Self { balancer, rng: StdRng::seed_from_u64(7), now }
    }

    fn pick(&mut self, avoid: Option<&Endpoint>) -> Picked {
        self.pick_for(avoid, Affinity::default())
    }

    fn pick_for(&mut self, avoid: Option<&Endpoint>, affinity: Affinity) -> Picked {
        self.balancer.pick(self.now, &mut self.rng, avoid, affinity).expect("an endpoint")
    }

    /// Picks `count` endpoints one after the other, each of which answers in 1 ms.
    fn shares(&mut self, count: usize) -> HashMap<String, usize> {
        let mut shares = HashMap::new();
        for _ in 0..count {
            let picked = self.pick(None);
            *shares.entry(picked.endpoint().id.clone()).or_insert(0) += 1;
            picked.finish(Outcome::Success, self.now + Duration::from_millis(1), 0.0);
        }
        shares
    }

    fn endpoint(&self, index: usize) -> Arc<Endpoint> {
        self.balancer.endpoints()[index].clone()
    }

    /// Opens the circuit of an endpoint.
    fn eject(&self, index: usize) {
        let permit = self.endpoint(index).breaker.admit(self.now).expect("a closed circuit");
        self.endpoint(index).breaker.finish(permit, FAILURE, Duration::ZERO, self.now, 0.0).expect("an open circuit");
    }
}

/// Whether `hits` of `count` fit the share `p`, at a confidence of 99.9 %.
fn fits(hits: usize, count: usize, p: f64) -> bool {
    let deviation = (p * (1.0 - p) / count as f64).sqrt();
    (hits as f64 / count as f64 - p).abs() <= 3.29 * deviation
}

#[test]
fn no_endpoints_is_an_error() {
    for kind in &KINDS {
        let mut bench = Bench::new(kind, 50, &[]);
        for affinity in [Affinity::default(), Affinity { session: Some(1), key: Some(1) }] {
            let picked = bench.balancer.pick(bench.now, &mut bench.rng, None, affinity);
            assert_eq!(picked.err(), Some(PickError::NoEndpoints), "{kind:?}");
        }
    }
}

#[test]
fn a_dry_run_ejects_nobody() {
    let mut bench = Bench::new(&Algorithm::RoundRobin, 50, &[1, 1]);
    bench.eject(0);
    assert_eq!(bench.shares(10).get("w0"), None);
    let dry_run = BreakerConfig { dry_run: true, ..BreakerConfig::endpoint_default() };
    let settings = api::Backend { endpoint_circuit_breaker: dry_run, ..backend(Algorithm::RoundRobin, 50) };
    bench.balancer.reconfigure(&settings);
    assert_eq!(bench.shares(10)["w0"], 5);
    let uncounted = (0..2).map(|_| bench.pick(None)).find(|picked| picked.endpoint().id == "w0").unwrap();
    assert!(uncounted.is_uncounted());
}

#[test]
fn one_endpoint_is_picked_by_every_balancer() {
    for kind in &KINDS {
        assert_eq!(Bench::new(kind, 50, &[3]).shares(10)["w0"], 10, "{kind:?}");
    }
}

#[test]
fn idle_endpoints_get_their_weights_share() {
    const COUNT: usize = 20_000;
    for kind in &KINDS {
        for weights in [&[1, 1][..], &[1, 1, 1, 1, 1], &[1, 3], &[1, 2, 7]] {
            let shares = Bench::new(kind, 50, weights).shares(COUNT);
            let total: u32 = weights.iter().sum();
            for (index, weight) in weights.iter().enumerate() {
                let p = f64::from(*weight) / f64::from(total);
                let hits = shares.get(&format!("w{index}")).copied().unwrap_or(0);
                assert!(fits(hits, COUNT, p), "{kind:?} {weights:?}: {hits} of {COUNT} for {p}");
            }
        }
    }
}

#[test]
fn round_robin_spreads_the_turns_of_one_endpoint() {
    let mut bench = Bench::new(&Algorithm::RoundRobin, 50, &[1, 3]);
    let ids: Vec<String> = (0..8).map(|_| bench.pick(None).endpoint().id.clone()).collect();
    assert_eq!(ids.iter().filter(|id| *id == "w0").count(), 2, "{ids:?}");
    assert!(!ids.windows(4).any(|four| four.iter().all(|id| id == "w1")), "{ids:?}");
}

#[test]
fn requests_in_flight_draw_the_next_one_elsewhere() {
    for kind in &[Algorithm::PeakEwma, Algorithm::LeastRequest] {
        let mut bench = Bench::new(kind, 50, &[1, 1]);
        bench.shares(100);
        let held: Vec<Picked> = (0..10).map(|_| bench.pick(None)).collect();
        assert_eq!(bench.endpoint(0).in_flight(), 5, "{kind:?}");
        assert_eq!(bench.endpoint(1).in_flight(), 5, "{kind:?}");
        drop(held);
        assert_eq!(bench.endpoint(0).in_flight() + bench.endpoint(1).in_flight(), 0);
    }
}

#[test]
fn peak_ewma_leaves_the_slow_endpoint_and_comes_back() {
    let mut bench = Bench::new(&Algorithm::PeakEwma, 50, &[1, 1]);
    bench.shares(20);
    let slow = loop {
        let picked = bench.pick(None);
        if picked.endpoint().id == "w0" {
            break picked;
        }
    };
    slow.finish(Outcome::Success, bench.now + SECOND, 0.0);
    bench.now += SECOND;
    assert_eq!(bench.shares(1000).get("w0"), None, "one answer of 1 s is enough");
    let mut back = false;
    for _ in 0..120 {
        bench.now += SECOND;
        back |= bench.shares(1).contains_key("w0");
    }
    assert!(back, "silence decays its average, so that it is tried again");
}

#[test]
fn ejected_endpoints_are_not_picked_until_their_wait_is_over() {
    for kind in &KINDS {
        let mut bench = Bench::new(kind, 50, &[1, 1, 1, 1]);
        bench.eject(0);
        bench.eject(2);
        let shares = bench.shares(2000);
        assert_eq!((shares.get("w0"), shares.get("w2")), (None, None), "{kind:?}");
        assert!(fits(shares["w1"], 2000, 0.5), "{kind:?}: {shares:?}");
        bench.now += 5 * SECOND;
        bench.shares(100);
        assert!(bench.balancer.endpoints().iter().all(|e| e.breaker.is_closed()), "{kind:?}: probes closed them");
    }
}

#[test]
fn a_half_open_endpoint_gets_its_probes_and_no_more() {
    for kind in &KINDS {
        let mut bench = Bench::new(kind, 50, &[1, 1]);
        bench.eject(0);
        bench.now += 5 * SECOND;
        let held: Vec<Picked> = (0..50).map(|_| bench.pick(None)).collect();
        let probes = held.iter().filter(|picked| picked.endpoint().id == "w0").count();
        assert_eq!(probes, 2, "{kind:?}");
        assert_eq!(held.iter().filter(|picked| picked.transition().is_some()).count(), 1);
    }
}

#[test]
fn beyond_the_limit_the_least_wait_is_spared() {
    for kind in &KINDS {
        let mut bench = Bench::new(kind, 50, &[1, 1, 1, 1]);
        for index in [2, 0, 3] {
            bench.eject(index);
            bench.now += SECOND;
        }
        let shares = bench.shares(2000);
        assert!(shares.contains_key("w1") && shares.contains_key("w2"), "{kind:?}: {shares:?}");
        assert_eq!(shares.len(), 2, "{kind:?}: {shares:?}");
    }
}

#[test]
fn the_last_endpoint_is_used_whatever_its_circuit_says() {
    let mut bench = Bench::new(&Algorithm::PeakEwma, 100, &[1]);
    bench.eject(0);
    assert!(bench.pick(None).finish(FAILURE, bench.now, 0.0).is_none(), "its circuit does not learn from that");
    let State::Open { until } = bench.endpoint(0).breaker.state(bench.now) else { panic!("still open") };
    assert_eq!(until, bench.now + 5 * SECOND);
}

#[test]
fn a_retry_avoids_where_it_failed_and_does_not_probe() {
    for kind in &KINDS {
        let mut bench = Bench::new(kind, 50, &[1, 1, 1]);
        let failed = bench.endpoint(1);
        bench.eject(0);
        bench.now += 5 * SECOND;
        for _ in 0..50 {
            assert_eq!(bench.pick(Some(&failed)).endpoint().id, "w2", "{kind:?}");
        }
        let mut alone = Bench::new(kind, 50, &[1]);
        let only = alone.endpoint(0);
        assert_eq!(alone.pick(Some(&only)).endpoint().id, "w0", "{kind:?}: there is no other");
    }
}

#[test]
fn an_update_keeps_the_state_of_who_stays() {
    let bench = Bench::new(&Algorithm::PeakEwma, 50, &[1, 1, 1]);
    bench.eject(0);
    bench.eject(1);
    let moved = weft_proxy_api::Endpoint { address: ([10, 9, 9, 9], 1).into(), ..endpoint(1, 1) };
    bench.balancer.update(&[moved, endpoint(0, 5), endpoint(3, 1)], bench.now);
    let endpoints = bench.balancer.endpoints();
    let closed: Vec<(&str, u32, bool)> =
        endpoints.iter().map(|e| (e.id.as_str(), e.weight, e.breaker.is_closed())).collect();
    assert_eq!(closed, [("w1", 1, true), ("w0", 5, false), ("w3", 1, true)], "another address is another endpoint");
}

#[test]
fn a_request_in_flight_is_counted_across_an_update() {
    let mut bench = Bench::new(&Algorithm::LeastRequest, 50, &[1]);
    let picked = bench.pick(None);
    bench.balancer.update(&[endpoint(0, 9)], bench.now);
    assert_eq!(bench.endpoint(0).in_flight(), 1);
    drop(picked);
    assert_eq!(bench.endpoint(0).in_flight(), 0);
}

#[test]
fn unhealthy_endpoints_are_left_out_unless_all_are() {
    let bench = Bench::new(&Algorithm::PeakEwma, 50, &[]);
    let sick = weft_proxy_api::Endpoint { healthy: false, ..endpoint(0, 1) };
    bench.balancer.update(&[sick.clone(), endpoint(1, 1)], bench.now);
    let ids = |bench: &Bench| bench.balancer.endpoints().iter().map(|e| e.id.clone()).collect::<Vec<_>>();
    assert_eq!(ids(&bench), ["w1"]);
    bench.balancer.update(std::slice::from_ref(&sick), bench.now);
    assert_eq!(ids(&bench), ["w0"]);
}

#[test]
fn a_reconfiguration_keeps_endpoints_and_reaches_their_circuits() {
    let bench = Bench::new(&Algorithm::PeakEwma, 50, &[1, 1]);
    bench.eject(0);
    let strict = BreakerConfig { consecutive_failures: Some(2), ..breaker() };
    bench
        .balancer
        .reconfigure(&api::Backend { endpoint_circuit_breaker: strict, ..backend(Algorithm::RoundRobin, 10) });
    assert!(!bench.endpoint(0).breaker.is_closed());
    let permit = bench.endpoint(1).breaker.admit(bench.now).unwrap();
    assert_eq!(
        bench.endpoint(1).breaker.finish(permit, FAILURE, Duration::ZERO, bench.now, 0.0),
        None,
        "one failure is too few now"
    );
}

#[test]
fn the_outcome_is_counted_once_and_the_body_stays_in_flight() {
    let mut bench = Bench::new(&Algorithm::LeastRequest, 50, &[1]);
    let mut picked = bench.pick(None);
    picked.head_arrived(bench.now + Duration::from_millis(5));
    assert!(picked.record(FAILURE, bench.now + SECOND, 0.0).is_some());
    assert!(picked.record(FAILURE, bench.now + SECOND, 0.0).is_none());
    assert_eq!(bench.endpoint(0).in_flight(), 1);
    drop(picked);
    assert_eq!(bench.endpoint(0).in_flight(), 0);
}

#[test]
fn a_session_stays_where_it_is_while_that_can_be_used() {
    for kind in &KINDS {
        let mut bench = Bench::new(kind, 50, &[1, 1, 1, 1]);
        let home = bench.endpoint(2);
        let affinity = Affinity { session: Some(home.tag), key: Some(1) };
        for _ in 0..50 {
            assert_eq!(bench.pick_for(None, affinity).endpoint().id, "w2", "{kind:?}");
            assert_ne!(bench.pick_for(Some(&home), affinity).endpoint().id, "w2", "{kind:?}: it failed there");
        }
        bench.eject(2);
        for _ in 0..50 {
            assert_ne!(bench.pick_for(None, affinity).endpoint().id, "w2", "{kind:?}: its circuit is open");
        }
        let endpoints = [0, 1, 3].map(|index| endpoint(index, 1));
        bench.balancer.update(&endpoints, bench.now);
        bench.pick_for(None, affinity).finish(Outcome::Success, bench.now, 0.0);
        let sick = weft_proxy_api::Endpoint { healthy: false, ..endpoint(2, 1) };
        bench.balancer.update(&[endpoint(0, 1), sick], bench.now);
        assert_eq!(bench.pick_for(None, affinity).endpoint().id, "w0", "{kind:?}: it is reported unhealthy");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// However many circuits are open: somebody is always picked, no more than the limits are left out, and of those
    /// that are open only the ones that are spared, which waited longest, are picked.
    #[test]
    fn ejection_keeps_to_its_limits(
        weights in prop::collection::vec(1..5_u32, 1..12),
        open in prop::collection::vec(any::<bool>(), 12),
        percent in 1..=100_u32,
        min_available in 1..6_u32,
        kind in prop::sample::select(&KINDS[..]),
    ) {
        let endpoints: Vec<_> = weights.iter().enumerate().map(|(index, weight)| endpoint(index, *weight)).collect();
        let mut bench = Bench::of(&api::Backend { min_available, ..backend(kind, percent) }, "", &endpoints);
        let count = weights.len();
        for index in (0..count).filter(|index| open[*index]) {
            bench.eject(index);
            bench.now += Duration::from_millis(10);
        }
        let picked: std::collections::HashSet<String> =
            (0..count * 200).map(|_| bench.pick(None).endpoint().id.clone()).collect();
        let limit = (count * percent as usize / 100).min(count.saturating_sub(min_available as usize));
        let open: Vec<usize> = (0..count).filter(|index| open[*index]).collect();
        let (spared, ejected) = open.split_at(open.len().saturating_sub(limit));
        prop_assert!(ejected.len() <= limit && count - ejected.len() >= count.min(min_available as usize));
        for index in 0..count {
            let (id, is_open) = (format!("w{index}"), open.contains(&index));
            prop_assert!(is_open || picked.contains(&id), "{} is closed and was never picked", id);
            prop_assert!(!ejected.contains(&index) || !picked.contains(&id), "{} is ejected and was picked", id);
        }
        prop_assert!(spared.len() == open.len().saturating_sub(limit) && !picked.is_empty());
    }
}
