//! Every transition, with a clock that only moves when a test moves it, and the invariants under random operations.

use http::StatusCode;
use proptest::prelude::*;
use weft_proxy_api::policy::SlowCall;

use super::*;
use crate::policy::Cause;

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
        self.request_taking(Duration::ZERO, outcome)
    }

    fn request_taking(&self, latency: Duration, outcome: Outcome) -> Option<Transition> {
        let permit = self.breaker.admit(self.now).expect("an admitted request");
        self.breaker.finish(permit, outcome, latency, self.now, 0.0)
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
        slow_call: None,
        dry_run: false,
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
        let transition = bench.breaker.finish(permit, FAILURE, Duration::ZERO, bench.now, jitter).unwrap();
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
    let closed = Status { state: State::Closed, cause: String::new(), since: None, times_opened: 0, dry_run: false };
    assert_eq!(status, closed);
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

/// `config`, in which four of five answers that take longer than a second open the circuit.
fn slow_calls() -> Config {
    Config { slow_call: Some(SlowCall { longer_than: SECOND, rate_percent: 80 }), ..config() }
}

#[test]
fn closed_to_open_at_the_rate_of_slow_answers() {
    let slow = SECOND + Duration::from_millis(1);
    for (latencies, opens) in [
        (&[slow, slow, slow, slow, SECOND][..], true),
        (&[slow, slow, slow, SECOND, SECOND], false),
        (&[slow; 9], false),
        (&[SECOND; 100], false),
    ] {
        let bench = Bench::new(slow_calls());
        let rounds = if latencies.len() == 5 { 2 } else { 1 };
        let transitions: Vec<_> = std::iter::repeat_n(latencies, rounds)
            .flatten()
            .filter_map(|latency| bench.request_taking(*latency, Outcome::Success))
            .collect();
        assert_eq!(transitions.len(), usize::from(opens), "{latencies:?}");
        for transition in transitions {
            assert_eq!(transition.to_string(), "open: 8 of 10 requests in 10s took longer than 1s");
        }
    }
}

#[test]
fn a_slow_failure_counts_as_both_and_a_slow_success_ends_a_row() {
    let bench = Bench::new(Config { minimum_requests: 2, ..slow_calls() });
    let transition = (0..2).find_map(|_| bench.request_taking(2 * SECOND, FAILURE)).unwrap();
    assert!(matches!(transition.cause, Reason::FailureRate { failed: 2, of: 2, .. }), "failures come first");

    let bench = Bench::new(Config { failure_rate_percent: 100, ..slow_calls() });
    for _ in 0..9 {
        assert_eq!(bench.request_taking(2 * SECOND, FAILURE), None);
    }
    let transition = bench.request_taking(2 * SECOND, Outcome::Success).unwrap();
    assert!(matches!(transition.cause, Reason::SlowCallRate { slow: 10, of: 10, .. }), "{transition}");

    let bench = Bench::new(Config { consecutive_failures: Some(2), ..slow_calls() });
    for outcome in [FAILURE, Outcome::Success, FAILURE] {
        assert_eq!(bench.request_taking(2 * SECOND, outcome), None);
    }
}

#[test]
fn a_cancelled_request_is_never_slow() {
    let bench = Bench::new(slow_calls());
    for _ in 0..100 {
        assert_eq!(bench.request_taking(60 * SECOND, Outcome::Cancelled), None);
    }
    assert_eq!(bench.request_taking(2 * SECOND, Outcome::Success), None, "the first of the window");
}

#[test]
fn a_slow_probe_is_a_failed_one() {
    let mut bench = Bench::new(slow_calls());
    bench.open();
    bench.wait(5 * SECOND);
    bench.request_taking(SECOND, Outcome::Success);
    let transition = bench.request_taking(1500 * SECOND / 1000, Outcome::Success).unwrap();
    assert_eq!(transition.to, State::Open { until: bench.now + 10 * SECOND });
    assert_eq!(transition.to_string(), "open: a probe took 1.500s, longer than 1s");
}

#[test]
fn latency_is_the_time_to_the_head() {
    let mut bench = Bench::new(Config { minimum_requests: 1, ..slow_calls() });
    let mut streaming = bench.breaker.guard(bench.now).unwrap();
    streaming.head_arrived(bench.now + SECOND);
    bench.wait(60 * SECOND);
    assert_eq!(streaming.finish(Outcome::Success, bench.now, 0.0), None, "the body may take its time");
    let silent = bench.breaker.guard(bench.now).unwrap();
    bench.wait(2 * SECOND);
    assert!(silent.finish(Outcome::Failure(Cause::Timeout), bench.now, 0.0).is_some());
}

fn dry_run() -> Config {
    Config { dry_run: true, ..in_a_row(3) }
}

#[test]
fn a_dry_run_admits_everything_and_says_what_it_would_have_done() {
    let mut bench = Bench::new(dry_run());
    let transition = bench.open();
    assert_eq!(
        transition.to_string(),
        "open (dry run, every request passes): 3 failures in a row, last: connect refused"
    );
    assert_eq!((transition.label(), bench.breaker.is_closed()), ("dry-run-open", true));
    assert_eq!(bench.breaker.availability(bench.now), Availability::Closed);
    for outcome in [FAILURE, Outcome::Success, Outcome::Cancelled] {
        let guard = bench.breaker.guard(bench.now).unwrap();
        assert!(guard.is_uncounted());
        assert_eq!(guard.finish(outcome, bench.now, 0.0), None);
    }
    let status = bench.breaker.status(bench.now);
    assert_eq!((status.dry_run, status.times_opened), (true, 1));
    assert!(matches!(status.state, State::Open { .. }), "{status:?}");

    bench.wait(5 * SECOND);
    let probes: Vec<_> = (0..4).map(|_| bench.breaker.guard(bench.now).unwrap()).collect();
    assert_eq!(probes.iter().map(Guard::is_uncounted).collect::<Vec<_>>(), [false, false, true, true]);
    assert!(bench.breaker.is_probing());
    let transitions: Vec<_> = probes.into_iter().rev().map(|probe| probe.finish(FAILURE, bench.now, 0.0)).collect();
    assert_eq!(transitions.iter().flatten().count(), 1, "the outcome of a probe counts, of others not");
}

#[test]
fn a_dry_run_may_become_earnest_and_earnest_a_dry_run() {
    let mut bench = Bench::new(dry_run());
    bench.open();
    let uncounted = bench.breaker.guard(bench.now).unwrap();
    bench.breaker.reconfigure(in_a_row(3));
    assert_eq!(bench.retry_after(), 5 * SECOND);
    assert!(!bench.breaker.is_closed());
    drop(uncounted);
    bench.breaker.reconfigure(dry_run());
    assert!(bench.breaker.is_closed() && bench.breaker.guard(bench.now).is_ok());
    bench.wait(5 * SECOND);
    for _ in 0..3 {
        bench.request(Outcome::Success);
    }
    assert_eq!((bench.state(), bench.breaker.is_probing()), (State::Closed, false));
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
    /// `head`: how long before now the response's head arrived.
    Finish {
        which: usize,
        outcome: Outcome,
        head: Option<Duration>,
        jitter: f64,
    },
    Drop {
        which: usize,
    },
    Wait(Duration),
    Reconfigure(Config),
}

fn op() -> impl Strategy<Value = Op> {
    let outcome = prop_oneof![Just(Outcome::Success), Just(FAILURE), Just(Outcome::Cancelled)];
    prop_oneof![
        6 => Just(Op::Admit),
        5 => (any::<usize>(), outcome, prop::option::of(0..8_000_u64), -1.0..2.0_f64).prop_map(
            |(which, outcome, head, jitter)| Op::Finish { which, outcome, head: head.map(Duration::from_millis), jitter }
        ),
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
        slow in prop::option::of((1..10_000_u64, 1..=100_u32)),
    ) -> Config {
        let slow_call = slow.map(|(ms, rate_percent)| SlowCall { longer_than: Duration::from_millis(ms), rate_percent });
        Config {
            failure_rate_percent, minimum_requests, window: Duration::from_millis(window), consecutive_failures,
            open_initial: Duration::from_millis(open), open_max: Duration::from_millis(open + more),
            half_open_probes, half_open_successes, slow_call, dry_run: false,
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
                Op::Finish { which, outcome, head, jitter } if !held.is_empty() => {
                    let (generation, mut guard) = held.swap_remove(which % held.len());
                    if let Some(before) = head {
                        guard.head_arrived(bench.now.checked_sub(before).unwrap_or(bench.now));
                    }
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

    /// A dry run makes the transitions that the same circuit makes in earnest, and admits everything.
    #[test]
    fn a_dry_run_goes_the_way_of_the_real_one(config in any_config(), ops in prop::collection::vec(op(), 1..200)) {
        let earnest = Bench::new(config.clone());
        let mut dry = Bench::new(Config { dry_run: true, ..config });
        dry.now = earnest.now;
        let mut now = dry.now;
        let mut held: Vec<(Option<Guard>, Guard)> = Vec::new();
        for op in ops {
            match op {
                Op::Admit => {
                    let pretended = dry.breaker.guard(now);
                    let pretended = pretended.expect("a dry run admits everything");
                    let real = earnest.breaker.guard(now).ok();
                    prop_assert_eq!(real.is_none(), pretended.is_uncounted());
                    held.push((real, pretended));
                }
                Op::Finish { which, outcome, jitter, .. } if !held.is_empty() => {
                    let (real, pretended) = held.swap_remove(which % held.len());
                    let real = real.and_then(|guard| guard.finish(outcome, now, jitter));
                    let pretended = pretended.finish(outcome, now, jitter);
                    prop_assert_eq!(real.map(|t| (t.from, t.to, t.cause)), pretended.map(|t| (t.from, t.to, t.cause)));
                }
                Op::Drop { which } if !held.is_empty() => drop(held.swap_remove(which % held.len())),
                Op::Finish { .. } | Op::Drop { .. } | Op::Reconfigure(_) => {}
                Op::Wait(time) => now += time,
            }
            prop_assert!(dry.breaker.is_closed());
        }
    }
}
