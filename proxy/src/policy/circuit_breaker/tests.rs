//! Every transition, with a clock that only moves when a test moves it, and the invariants under random operations.

use http::StatusCode;
use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const FAILURE: Outcome = Outcome::Failure(Cause::ConnectRefused);

/// A circuit breaker and its clock.
struct Bench {
    breaker: Arc<CircuitBreaker>,
    now: Instant,
}

impl Bench {
    fn new(config: Config) -> Self {
        Self { breaker: Arc::new(CircuitBreaker::new(config)), now: Instant::now() }
    }

    fn request(&self, outcome: Outcome) -> Option<Transition> {
        let permit = self.breaker.admit(self.now).expect("an admitted request");
        self.breaker.finish(permit, outcome, self.now, 0.0)
    }

    fn state(&self) -> State {
        self.breaker.state(self.now)
    }

    /// Opens the circuit with as many failures as are needed.
    fn open(&self) -> Transition {
        (0..1000).find_map(|_| self.request(FAILURE)).expect("failures open a circuit")
    }

    fn retry_after(&self) -> Duration {
        self.breaker.admit(self.now).expect_err("an open circuit").retry_after
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
    }
}

/// 50 % of at least 10 requests in 10 s; open for 5 s to 20 s; 2 probes, 3 successes.
fn config() -> Config {
    Config {
        failure_rate_percent: 50,
        minimum_requests: 10,
        window: 10 * SECOND,
        consecutive_failures: None,
        open_initial: 5 * SECOND,
        open_max: 20 * SECOND,
        half_open_probes: 2,
        half_open_successes: 3,
    }
}

fn in_a_row(limit: u32) -> Config {
    Config { consecutive_failures: Some(limit), ..config() }
}

#[test]
fn closed_to_open_at_the_failure_rate() {
    let bench = Bench::new(config());
    for index in 0..9 {
        let outcome = if index % 2 == 0 { FAILURE } else { Outcome::Success };
        assert_eq!(bench.request(outcome), None);
    }
    let transition = bench.request(Outcome::Failure(Cause::Status(StatusCode::BAD_GATEWAY))).unwrap();
    assert_eq!((transition.from, transition.to), (State::Closed, State::Open { until: bench.now + 5 * SECOND }));
    assert_eq!(transition.to_string(), "open: 6 of 10 requests failed in 10s, last: status 502");
    assert_eq!(bench.retry_after(), 5 * SECOND);
}

#[test]
fn too_few_requests_or_too_few_failures_leave_it_closed() {
    let bench = Bench::new(config());
    for _ in 0..9 {
        assert_eq!(bench.request(FAILURE), None, "below the minimum of requests");
    }
    let bench = Bench::new(config());
    for _ in 0..100 {
        for outcome in [Outcome::Success, Outcome::Success, Outcome::Success, FAILURE, FAILURE] {
            assert_eq!(bench.request(outcome), None, "at 40 %");
        }
    }
}

#[test]
fn failures_that_left_the_window_do_not_count() {
    let mut bench = Bench::new(config());
    for _ in 0..9 {
        bench.request(FAILURE);
    }
    bench.wait(10 * SECOND);
    assert_eq!(bench.request(FAILURE), None);
    assert_eq!(bench.state(), State::Closed);
}

#[test]
fn closed_to_open_at_failures_in_a_row() {
    let bench = Bench::new(in_a_row(3));
    for outcome in [FAILURE, FAILURE, Outcome::Success, FAILURE, FAILURE] {
        assert_eq!(bench.request(outcome), None);
    }
    let transition = bench.request(FAILURE).unwrap();
    assert_eq!(transition.to_string(), "open: 3 failures in a row, last: connect refused");
}

#[test]
fn cancelled_requests_count_as_neither() {
    let bench = Bench::new(in_a_row(3));
    for outcome in [FAILURE, FAILURE, Outcome::Cancelled, Outcome::Cancelled] {
        assert_eq!(bench.request(outcome), None);
    }
    assert!(bench.request(FAILURE).is_some(), "a cancelled request does not end a row");

    let bench = Bench::new(config());
    for _ in 0..100 {
        bench.request(Outcome::Cancelled);
    }
    assert_eq!(bench.request(FAILURE), None, "nor is it a request of the window");
}

#[test]
fn open_to_half_open_when_the_wait_is_over() {
    let mut bench = Bench::new(config());
    bench.open();
    bench.wait(5 * SECOND - Duration::from_nanos(1));
    assert_eq!(bench.retry_after(), Duration::from_nanos(1));
    bench.wait(Duration::from_nanos(1));
    assert_eq!(bench.state(), State::HalfOpen);
    let probe = bench.breaker.guard(bench.now).unwrap();
    let transition = probe.transition().expect("the first probe reports the transition");
    assert_eq!(transition.to_string(), "half-open: the wait is over, probing");
    assert_eq!(bench.breaker.guard(bench.now).unwrap().transition(), None);
}

#[test]
fn half_open_admits_its_probes_and_no_more() {
    let mut bench = Bench::new(config());
    bench.open();
    bench.wait(5 * SECOND);
    let first = bench.breaker.guard(bench.now).unwrap();
    let _second = bench.breaker.guard(bench.now).unwrap();
    assert_eq!(bench.breaker.availability(bench.now), Availability::ProbesTaken);
    assert_eq!(bench.retry_after(), SECOND);
    drop(first);
    assert_eq!(bench.breaker.availability(bench.now), Availability::Probe, "a dropped probe is given back");
    assert!(bench.breaker.guard(bench.now).is_ok());
}

#[test]
fn half_open_to_closed_after_its_successes() {
    let mut bench = Bench::new(config());
    bench.open();
    bench.wait(5 * SECOND);
    assert_eq!(bench.request(Outcome::Success), None);
    assert_eq!(bench.request(Outcome::Cancelled), None);
    assert_eq!(bench.request(Outcome::Success), None);
    let transition = bench.request(Outcome::Success).unwrap();
    assert_eq!((transition.from, transition.to), (State::HalfOpen, State::Closed));
    assert_eq!(transition.to_string(), "closed: 3 probes succeeded");
    assert_eq!(bench.request(FAILURE), None, "the counts start anew");
}

#[test]
fn half_open_to_open_at_the_first_failure_with_the_wait_doubled_up_to_its_maximum() {
    let mut bench = Bench::new(config());
    bench.open();
    let mut wait = 5 * SECOND;
    for next in [10, 20, 20].map(|seconds| seconds * SECOND) {
        bench.wait(wait);
        bench.request(Outcome::Success);
        let transition = bench.request(FAILURE).unwrap();
        assert_eq!((transition.from, transition.to), (State::HalfOpen, State::Open { until: bench.now + next }));
        assert_eq!(transition.to_string(), "open: a probe failed: connect refused");
        wait = next;
    }
}

#[test]
fn closing_brings_the_wait_back_to_its_start() {
    let mut bench = Bench::new(config());
    bench.open();
    bench.wait(5 * SECOND);
    bench.request(FAILURE);
    bench.wait(10 * SECOND);
    for _ in 0..3 {
        bench.request(Outcome::Success);
    }
    assert_eq!(bench.state(), State::Closed);
    assert_eq!(bench.open().to, State::Open { until: bench.now + 5 * SECOND });
}

#[test]
fn jitter_makes_the_wait_up_to_a_fifth_longer() {
    for (jitter, millis) in [(0.0, 5_000), (0.5, 5_500), (1.0, 6_000), (7.0, 6_000), (-1.0, 5_000)] {
        let bench = Bench::new(in_a_row(1));
        let permit = bench.breaker.admit(bench.now).unwrap();
        let transition = bench.breaker.finish(permit, FAILURE, bench.now, jitter).unwrap();
        assert_eq!(transition.to, State::Open { until: bench.now + Duration::from_millis(millis) });
    }
}

#[test]
fn what_was_admitted_before_a_transition_does_not_count_after_it() {
    let mut bench = Bench::new(in_a_row(1));
    let early: Vec<_> = (0..5).map(|_| bench.breaker.guard(bench.now).unwrap()).collect();
    bench.open();
    bench.wait(5 * SECOND);
    let probe = bench.breaker.guard(bench.now).unwrap();
    for (guard, outcome) in early.into_iter().zip([FAILURE, Outcome::Success, Outcome::Success, Outcome::Success]) {
        assert_eq!(guard.finish(outcome, bench.now, 0.0), None);
    }
    assert_eq!(bench.state(), State::HalfOpen);
    let second = bench.breaker.guard(bench.now).unwrap();
    assert!(bench.breaker.guard(bench.now).is_err(), "and gives no probe back that it never had");
    drop((probe, second));
}

#[test]
fn status_tells_what_a_person_wants_to_know() {
    let mut bench = Bench::new(in_a_row(2));
    let status = bench.breaker.status(bench.now);
    assert_eq!(status, Status { state: State::Closed, cause: String::new(), since: None, times_opened: 0 });
    bench.open();
    let opened = bench.now;
    bench.wait(SECOND);
    let status = bench.breaker.status(bench.now);
    assert_eq!((status.since, status.times_opened), (Some(opened), 1));
    assert_eq!(status.cause, "2 failures in a row, last: connect refused");
    assert_eq!(status.state.name(), "open");
}

#[test]
fn other_limits_apply_to_the_state_as_it_is() {
    let mut bench = Bench::new(in_a_row(5));
    bench.request(FAILURE);
    bench.breaker.reconfigure(in_a_row(2));
    assert!(bench.request(FAILURE).is_some(), "the row was kept");
    bench.breaker.reconfigure(Config { half_open_successes: 1, ..config() });
    assert!(matches!(bench.state(), State::Open { .. }));
    bench.wait(5 * SECOND);
    assert_eq!(bench.request(Outcome::Success).unwrap().to, State::Closed);
}

#[test]
fn a_circuit_that_many_threads_use_keeps_its_count_of_probes() {
    let mut bench = Bench::new(Config { half_open_successes: u32::MAX, ..in_a_row(1) });
    bench.open();
    bench.wait(5 * SECOND);
    let (breaker, now) = (&bench.breaker, bench.now);
    let in_flight = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..10_000 {
                    let Ok(guard) = breaker.guard(now) else { continue };
                    assert!(in_flight.fetch_add(1, Ordering::SeqCst) < 2, "more probes than allowed");
                    in_flight.fetch_sub(1, Ordering::SeqCst);
                    guard.finish(Outcome::Success, now, 0.0);
                }
            });
        }
    });
    let both = (breaker.guard(now), breaker.guard(now));
    assert!(both.0.is_ok() && both.1.is_ok(), "no probe was lost");
}

#[derive(Clone, Debug)]
enum Op {
    Admit,
    Finish { which: usize, outcome: Outcome, jitter: f64 },
    Drop { which: usize },
    Wait(Duration),
    Reconfigure(Config),
}

fn op() -> impl Strategy<Value = Op> {
    let outcome = prop_oneof![Just(Outcome::Success), Just(FAILURE), Just(Outcome::Cancelled)];
    prop_oneof![
        6 => Just(Op::Admit),
        5 => (any::<usize>(), outcome, -1.0..2.0_f64)
            .prop_map(|(which, outcome, jitter)| Op::Finish { which, outcome, jitter }),
        1 => any::<usize>().prop_map(|which| Op::Drop { which }),
        2 => (0..8_000_u64).prop_map(|ms| Op::Wait(Duration::from_millis(ms))),
        1 => any_config().prop_map(Op::Reconfigure),
    ]
}

prop_compose! {
    fn any_config()(
        failure_rate_percent in 1..=100_u32,
        minimum_requests in 1..20_u32,
        window in 1..20_000_u64,
        consecutive_failures in proptest::option::of(1..6_u32),
        open in 1..10_000_u64,
        more in 0..60_000_u64,
        half_open_probes in 1..5_u32,
        half_open_successes in 1..5_u32,
    ) -> Config {
        Config {
            failure_rate_percent, minimum_requests, window: Duration::from_millis(window), consecutive_failures,
            open_initial: Duration::from_millis(open), open_max: Duration::from_millis(open + more),
            half_open_probes, half_open_successes,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever happens: no panic, at most the configured probes at a time, nothing is admitted before the wait is
    /// over, and once everything is given back the circuit can be closed again, so that no permit was lost.
    #[test]
    fn invariants_hold_under_any_operations(first in any_config(), ops in prop::collection::vec(op(), 1..200)) {
        let mut limits = first.clone();
        let mut bench = Bench::new(first);
        let mut held: Vec<(u64, Guard)> = Vec::new();
        // Of the current half-open period: its generation, and the most probes that were allowed in it.
        let mut most_probes = (0, 0);
        for op in ops {
            match op {
                Op::Admit => {
                    let before = bench.state();
                    let admitted = bench.breaker.guard(bench.now);
                    if let State::Open { .. } = before {
                        prop_assert!(admitted.is_err());
                    }
                    if let Ok(guard) = admitted {
                        let generation = guard.permit.as_ref().expect("a permit").generation;
                        held.push((generation, guard));
                        if before == State::HalfOpen {
                            if most_probes.0 != generation {
                                most_probes = (generation, 0);
                            }
                            most_probes.1 = limits.half_open_probes.max(most_probes.1);
                            let probes = held.iter().filter(|(of, _)| *of == generation).count();
                            prop_assert!(probes <= most_probes.1 as usize, "{probes} probes at a time");
                        }
                    }
                }
                Op::Finish { which, outcome, jitter } if !held.is_empty() => {
                    let (generation, guard) = held.swap_remove(which % held.len());
                    let current = bench.breaker.lock().generation();
                    let transition = guard.finish(outcome, bench.now, jitter);
                    prop_assert!(transition.is_none() || generation == current, "a late outcome changed the state");
                }
                Op::Drop { which } if !held.is_empty() => {
                    held.swap_remove(which % held.len());
                }
                Op::Finish { .. } | Op::Drop { .. } => {}
                Op::Wait(time) => bench.wait(time),
                Op::Reconfigure(config) => {
                    limits = config.clone();
                    bench.breaker.reconfigure(config);
                }
            }
        }
        held.clear();
        bench.wait(Duration::from_secs(3600));
        for _ in 0..limits.half_open_successes {
            let all: Vec<_> = (0..limits.half_open_probes).map(|_| bench.breaker.guard(bench.now)).collect();
            prop_assert!(all.iter().all(Result::is_ok), "a probe was lost");
            drop(all);
            bench.request(Outcome::Success);
        }
        prop_assert_eq!(bench.state(), State::Closed);
    }
}
