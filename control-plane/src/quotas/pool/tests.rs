//! The pool, alone and among sidecars that come, go, are late and are not heard of again.

use proptest::prelude::*;

use super::*;

fn rate(requests: u32, per_ms: u64, burst: u32) -> Rate {
    Rate { requests, per: Duration::from_millis(per_ms), burst }
}

fn demand(let_through: u64, refused: u64) -> Demand {
    Demand { let_through, refused }
}

/// A pool that has been filling for an hour.
fn full(rate: Rate) -> (Pool, Instant) {
    let start = Instant::now();
    let now = start + Duration::from_secs(3600);
    (Pool::new(rate, start, now), now)
}

const MS: Duration = Duration::from_millis(1);

#[test]
fn a_pool_begins_with_what_has_flowed_in() {
    let rate = rate(10, 1000, 20);
    let start = Instant::now();
    let first = |ms: u32| {
        let now = start + MS * ms;
        Pool::new(rate, start, now).report(1, demand(0, 100), now).requests
    };
    assert_eq!([0, 99, 100, 1000, 60_000].map(first), [0, 0, 1, 10, 20]);
}

#[test]
fn sidecars_that_nobody_asks_share_half_of_the_burst() {
    let (mut pool, now) = full(rate(100, 1000, 120));
    assert_eq!(pool.report(1, demand(0, 0), now), Lease { requests: 60, sharers: 1 });
    assert_eq!(pool.report(2, demand(0, 0), now), Lease { requests: 30, sharers: 2 });
    assert_eq!(pool.report(3, demand(0, 0), now), Lease { requests: 20, sharers: 3 });
    // The next report takes back what is too much, and one who is asked for much gets what is free.
    assert_eq!(pool.report(2, demand(0, 0), now), Lease { requests: 20, sharers: 3 });
    assert_eq!(pool.report(1, demand(5, 1000), now).requests, 55 + 10);
    pool.leave(2);
    assert_eq!(pool.report(3, demand(0, 0), now).sharers, 2);
}

#[test]
fn demand_is_met_from_the_smallest_on() {
    let (mut pool, mut now) = full(rate(1000, 1000, 1000));
    let mut reports = |demands: [u64; 3]| {
        now += MS * 1000;
        let mut one = |id: u64, asked| pool.report(id, demand(0, asked), now).requests;
        [one(1, demands[0]), one(2, demands[1]), one(3, demands[2])]
    };
    // Idle shares are 166 each. With what came before, and counts less and less, twice a second's demand is wanted.
    let uneven = [10, 150, 9000];
    assert_eq!([uneven; 16].map(&mut reports)[15], [166, 300, 1000 - 166 - 300]);
    assert_eq!([[9000; 3]; 16].map(&mut reports)[15], [333; 3]);
}

#[test]
fn what_a_lost_sidecar_held_flows_in_again() {
    let (mut pool, now) = full(rate(10, 1000, 20));
    assert_eq!(pool.report(1, demand(0, 100), now).requests, 20);
    pool.leave(1);
    let lease = |pool: &mut Pool, after: u32| pool.report(2, demand(0, 100), now + MS * after).requests;
    assert_eq!(lease(&mut pool, 4999), 0, "it may still be used");
    assert_eq!(lease(&mut pool, 5000), 0);
    assert_eq!(lease(&mut pool, 6000), 10);
}

#[test]
fn another_rate_keeps_what_is_free() {
    let (mut pool, now) = full(rate(10, 1000, 20));
    pool.set_rate(rate(1, 60_000, 30), now);
    assert_eq!(pool.report(1, demand(0, 100), now).requests, 20);
    pool.set_rate(rate(1, 1000, 5), now);
    assert_eq!(pool.report(1, demand(20, 100), now + MS * 3000).requests, 0, "more was held than there may be now");
    assert_eq!(pool.report(1, demand(0, 100), now + MS * 6000).requests, 3);
}

#[test]
fn what_was_let_through_without_a_lease_is_owed() {
    let (mut pool, now) = full(rate(10, 1000, 20));
    pool.report(1, demand(0, 0), now);
    assert_eq!(pool.report(1, demand(25, 10), now).requests, 0);
    assert_eq!(pool.report(1, demand(0, 10), now + MS * 600).requests, 1);
    assert_eq!(pool.report(1, demand(u64::MAX, u64::MAX), now + MS * 600).requests, 0);
    assert_eq!(pool.report(1, demand(0, 10), now + MS * 2700).requests, 1, "no more than the burst");
}

/// A sidecar, as `policy::rate_limit::Shared` is one while it has leases.
#[derive(Clone, Default)]
struct Sidecar {
    /// Of its stream, if there is one.
    stream: Option<u64>,
    is_known: bool,
    lease: Option<(u64, Instant)>,
    since_report: Demand,
    on_its_way: Option<Message>,
}

#[derive(Clone, Copy)]
enum Message {
    Report(Demand, Instant),
    Answer(Lease, Instant),
}

struct World {
    rate: Rate,
    pool: Pool,
    now: Instant,
    streams: u64,
    sidecars: Vec<Sidecar>,
    /// Streams that have ended, which the pool does not know yet.
    ended: Vec<u64>,
    let_through: Vec<Instant>,
    restarts: Vec<Instant>,
}

#[derive(Clone, Debug)]
enum Step {
    Pass(u64),
    Ask(usize, u64),
    /// Sends a report, or moves what is on its way.
    Move(usize),
    Break(usize),
    HearOfBreaks,
    Restart,
}

impl World {
    fn new(rate: Rate, sidecars: usize) -> Self {
        let (pool, now) = full(rate);
        let sidecars = vec![Sidecar::default(); sidecars];
        Self { rate, pool, now, streams: 0, sidecars, ended: Vec::new(), let_through: Vec::new(), restarts: Vec::new() }
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Pass(ms) => self.now += Duration::from_millis(*ms),
            Step::Ask(index, times) => (0..*times).for_each(|_| self.ask(*index)),
            Step::Move(index) => self.proceed(*index),
            Step::Break(index) => self.end_stream(*index),
            Step::HearOfBreaks => self.ended.drain(..).for_each(|stream| self.pool.leave(stream)),
            Step::Restart => {
                (0..self.sidecars.len()).for_each(|index| self.end_stream(index));
                self.ended.clear();
                self.pool = Pool::new(self.rate, self.now, self.now);
                self.restarts.push(self.now);
            }
        }
    }

    fn ask(&mut self, index: usize) {
        let (sidecar, now) = (&mut self.sidecars[index], self.now);
        match &mut sidecar.lease {
            Some((left, until)) if *left > 0 && now < *until => {
                *left -= 1;
                sidecar.since_report.let_through += 1;
                self.let_through.push(now);
            }
            _ => sidecar.since_report.refused += 1,
        }
    }

    fn proceed(&mut self, index: usize) {
        let (sidecar, now) = (&mut self.sidecars[index], self.now);
        let stream = *sidecar.stream.get_or_insert_with(|| {
            self.streams += 1;
            self.streams
        });
        sidecar.on_its_way = match sidecar.on_its_way.take() {
            None => {
                let demand = std::mem::take(&mut sidecar.since_report);
                let demand = if sidecar.is_known { demand } else { Demand::default() };
                sidecar.is_known = true;
                Some(Message::Report(demand, now))
            }
            Some(Message::Report(demand, sent)) => Some(Message::Answer(self.pool.report(stream, demand, now), sent)),
            Some(Message::Answer(lease, sent)) => {
                let left = u64::from(lease.requests).saturating_sub(sidecar.since_report.let_through);
                sidecar.lease = Some((left, sent + LEASE));
                None
            }
        };
    }

    fn end_stream(&mut self, index: usize) {
        let sidecar = &mut self.sidecars[index];
        self.ended.extend(sidecar.stream.take());
        (sidecar.is_known, sidecar.on_its_way) = (false, None);
    }

    /// A window that has let more through than the limit allows.
    fn excess(&self) -> Option<String> {
        let Rate { requests, per, burst } = self.rate;
        let windows = self.let_through.iter().enumerate().flat_map(|(first, from)| {
            let rest = self.let_through.iter().enumerate().skip(first);
            // What a control plane before had handed out can still be used beside what the one now hands out.
            let lately = self.restarts.iter().filter(|restart| (**restart..**restart + LEASE).contains(from));
            let bursts = u128::from(burst) * (1 + lately.count() as u128);
            rest.map(move |(last, to)| (last - first + 1, to.duration_since(*from), bursts))
        });
        let allowed = |time: Duration, bursts| bursts + u128::from(requests) * time.as_nanos() / per.as_nanos();
        let mut too_many =
            windows.filter(|(count, time, more)| u128::try_from(*count).unwrap() > allowed(*time, *more));
        too_many.next().map(|(count, time, more)| format!("{count} in {time:?}, not {}", allowed(time, more)))
    }
}

fn step() -> impl Strategy<Value = Step> {
    let sidecar = || 0..4usize;
    prop_oneof![
        4 => (0..800u64).prop_map(Step::Pass),
        6 => (sidecar(), 1..15u64).prop_map(|(index, times)| Step::Ask(index, times)),
        12 => sidecar().prop_map(Step::Move),
        1 => sidecar().prop_map(Step::Break),
        1 => Just(Step::HearOfBreaks),
        1 => prop::bool::weighted(0.2).prop_map(|restart| if restart { Step::Restart } else { Step::Pass(6000) }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Whatever happens to sidecars, streams and the control plane.
    #[test]
    fn together_they_let_no_more_through_than_the_limit_allows(
        requests in 1..40u32,
        per_ms in 500..10_000u64,
        burst in 1..40u32,
        steps in prop::collection::vec(step(), 1..250),
    ) {
        let mut world = World::new(rate(requests, per_ms, burst), 4);
        steps.iter().for_each(|step| world.take(step));
        prop_assert_eq!(world.excess(), None);
    }
}

/// What is let through in ten seconds after the first two, when each sidecar is asked so often in a second.
fn steadily(rate: Rate, asked: &[u64]) -> Vec<u64> {
    let mut world = World::new(rate, asked.len());
    let mut counts = vec![0; asked.len()];
    for turn in 0..240 {
        world.now += MS * 50;
        for (index, per_second) in asked.iter().enumerate() {
            // As evenly as it goes in twentieths of a second.
            let times = per_second * (turn + 1) / 20 - per_second * turn / 20;
            for _ in 0..times {
                let before = world.let_through.len();
                world.ask(index);
                counts[index] += u64::from(turn >= 40 && world.let_through.len() > before);
            }
            (0..3).for_each(|_| world.proceed(index));
        }
    }
    assert_eq!(world.excess(), None);
    counts
}

#[test]
fn what_flows_in_is_let_through_wherever_it_is_asked_for() {
    let most = |rate: Rate| u64::from(rate.requests) * 10_000 / u64::try_from(rate.per.as_millis()).unwrap();
    for (rate, asked) in [
        (rate(100, 1000, 100), &[500][..]),
        (rate(100, 1000, 100), &[500, 0, 0, 0]),
        (rate(100, 1000, 10), &[500, 500, 500]),
        (rate(100, 1000, 100), &[90, 0, 900, 3]),
        (rate(100, 1000, 10), &[80; 40]),
        (rate(1000, 60_000, 10), &[80, 40, 0, 0, 1]),
        (rate(20, 1000, 2), &[100, 0, 0, 0, 0, 0]),
    ] {
        let counts = steadily(rate, asked);
        let sum: u64 = counts.iter().sum();
        assert!(sum * 10 >= most(rate) * 9, "{sum} of {}: {rate:?} {asked:?} {counts:?}", most(rate));
    }
    // Where there is enough for all, all is let through.
    assert_eq!(steadily(rate(100, 1000, 100), &[20, 40, 0, 20]), [200, 400, 0, 200]);
    let fair = steadily(rate(100, 1000, 100), &[10, 900, 900]);
    assert!(fair[0] == 100 && fair[1].abs_diff(fair[2]) < 100, "{fair:?}");
}
