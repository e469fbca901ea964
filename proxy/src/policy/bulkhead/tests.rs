//! Who is admitted, who waits and who is refused; and that no place is lost, whichever way a request ends.

use std::pin::pin;

use tokio::time::Instant as Clock;

use super::*;

fn requests(max_requests: u32, max_waiting: u32, max_wait: Option<Duration>) -> Config {
    Config { max_requests: Some(max_requests), max_waiting, max_wait, ..Config::default() }
}

fn bulkhead(config: &Config) -> Bulkhead {
    Bulkhead::new(config, None, Gauges::default).unwrap()
}

fn now() -> Instant {
    Clock::now().into_std()
}

#[test]
fn without_a_limit_of_requests_there_is_nothing() {
    let none = |config: &Config| Bulkhead::new(config, None, || panic!("no metrics either")).is_none();
    assert!(none(&Config::default()));
    assert!(none(&Config { max_waiting: 10, max_connections: Some(1), adaptive_min: Some(1), ..Config::default() }));
}

#[tokio::test]
async fn some_wait_and_others_are_refused_at_once() {
    let bulkhead = bulkhead(&requests(2, 1, None));
    let (one, _two) = (bulkhead.try_enter().unwrap(), bulkhead.try_enter().unwrap());
    assert!(bulkhead.try_enter().is_none());
    let mut waits = pin!(bulkhead.enter(now(), None));
    assert!(poll(waits.as_mut()).is_none());
    let full = bulkhead.enter(now(), None).await.unwrap_err();
    assert_eq!(full, Full { limit: 2, why: Why::Waiting(1) });
    assert_eq!(full.to_string(), "2 requests are under way, as many as there may be, and 1 wait already");
    drop(one);
    let _third = waits.await.unwrap();
    assert!(bulkhead.try_enter().is_none());
}

#[tokio::test]
async fn without_a_queue_nobody_waits() {
    let bulkhead = bulkhead(&requests(1, 0, None));
    let _one = bulkhead.try_enter().unwrap();
    let full = bulkhead.enter(now(), None).await.unwrap_err();
    assert_eq!(full.to_string(), "1 requests are under way, as many as there may be, and none may wait");
}

#[tokio::test(start_paused = true)]
async fn a_wait_ends_at_its_limit_or_at_that_of_the_request() {
    const SECOND: Duration = Duration::from_secs(1);
    for (max_wait, own, waited) in [
        (Some(SECOND), None, SECOND),
        (Some(SECOND), Some(3 * SECOND), SECOND),
        (Some(3 * SECOND), Some(SECOND), SECOND),
        (None, Some(2 * SECOND), 2 * SECOND),
    ] {
        let bulkhead = bulkhead(&requests(1, 1, max_wait));
        let _one = bulkhead.try_enter().unwrap();
        let began = Clock::now();
        let full = bulkhead.enter(now(), own.map(|own| now() + own)).await.unwrap_err();
        assert_eq!(full.why, Why::Waited(waited));
        assert_eq!(began.elapsed().as_secs(), waited.as_secs());
        assert!(full.to_string().ends_with(&format!("and none of them has ended within {waited:.3?}")), "{full}");
        assert_eq!(bulkhead.requests.waiting.load(Ordering::Relaxed), 0, "its seat is free again");
    }
}

#[tokio::test]
async fn who_goes_away_frees_its_seat() {
    let bulkhead = bulkhead(&requests(1, 1, None));
    let one = bulkhead.try_enter().unwrap();
    for _ in 0..3 {
        let mut waits = Box::pin(bulkhead.enter(now(), None));
        assert!(poll(waits.as_mut()).is_none(), "it waits");
    }
    drop(one);
    assert!(bulkhead.try_enter().is_some());
}

#[tokio::test]
async fn other_limits_apply_to_what_is_under_way() {
    let before = bulkhead(&requests(2, 0, None));
    let held = [before.try_enter().unwrap(), before.try_enter().unwrap()];
    let after = Bulkhead::new(&requests(1, 1, None), Some(&before), || panic!("the metrics stay")).unwrap();
    let mut waits = pin!(after.enter(now(), None));
    assert!(poll(waits.as_mut()).is_none());
    let [one, two] = held;
    drop(one);
    assert!(poll(waits.as_mut()).is_none(), "one is under way, and one may be");
    drop(two);
    let third = waits.await.unwrap();
    let wider = Bulkhead::new(&requests(3, 0, None), Some(&after), || panic!("the metrics stay")).unwrap();
    let more: Vec<_> = std::iter::from_fn(|| wider.try_enter()).take(10).collect();
    assert_eq!(more.len(), 2);
    drop((third, more));
    assert_eq!(
        std::iter::from_fn(|| before.try_enter()).take(10).collect::<Vec<_>>().len(),
        3,
        "also for who came before"
    );
}

#[test]
fn an_adaptive_limit_learns_from_answers_alone() {
    let adaptive = Config { adaptive_min: Some(2), ..requests(100, 0, None) };
    let bulkhead = bulkhead(&adaptive);
    let start = Instant::now();
    let observe = |outcome, ms: u64, seconds: std::ops::Range<u32>| {
        let held: Vec<_> = std::iter::from_fn(|| bulkhead.try_enter()).collect();
        for tick in seconds.start * 100..seconds.end * 100 {
            bulkhead.observe(outcome, Duration::from_millis(ms), start + Duration::from_millis(10) * tick);
        }
        drop(held);
        bulkhead.requests.limit.limit()
    };
    let first = bulkhead.requests.limit.limit();
    assert!((2..=100).contains(&first));
    observe(Outcome::Success, 10, 0..2);
    let used = bulkhead.requests.limit.limit();
    assert!(used > first);
    assert_eq!(observe(Outcome::Cancelled, 1000, 2..5), used);
    assert_eq!(observe(Outcome::Failure(Cause::ConnectRefused), 0, 5..8), used);
    assert!(observe(Outcome::Failure(Cause::Timeout), 1000, 8..12) < used);
    let fixed = Bulkhead::new(&requests(100, 0, None), Some(&bulkhead), || panic!("the metrics stay")).unwrap();
    assert_eq!(fixed.requests.limit.limit(), 100);
}

const MOST: u32 = 8;
const WAITING: u32 = 4;

/// One worker: requests end, are given up while they wait and while they are under way, and the limits change.
async fn work(bulkhead: Arc<Bulkhead>, seen: Arc<Seen>) {
    for turn in 0..2_000_u32 {
        let (entering, seen) = (bulkhead.clone(), seen.clone());
        let task = tokio::spawn(async move {
            let entered = match entering.try_enter() {
                Some(place) => Ok(place),
                None => entering.enter(Instant::now(), None).await,
            };
            let Ok(_place) = entered else { return };
            let _here = Here::enter(&seen);
            for _ in 0..turn % 7 {
                tokio::task::yield_now().await;
            }
        });
        if turn % 3 == 0 {
            tokio::task::yield_now().await;
            task.abort();
        }
        if turn % 50 == 0 {
            drop(Bulkhead::new(&requests(turn / 50 % MOST + 1, WAITING, None), Some(&bulkhead), || {
                panic!("no metrics")
            }));
        }
        assert!(bulkhead.requests.waiting.load(Ordering::Relaxed) <= WAITING);
    }
    while bulkhead.requests.limit.taken() > 0 || bulkhead.requests.waiting.load(Ordering::Relaxed) > 0 {
        tokio::task::yield_now().await;
    }
}

#[test]
fn no_place_is_lost_under_stress() {
    let bulkhead = Arc::new(bulkhead(&requests(MOST, WAITING, Some(Duration::from_millis(2)))));
    let seen = Arc::new(Seen::default());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let worker = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
                worker.block_on(work(bulkhead.clone(), seen.clone()));
            });
        }
    });
    let [under_way, most, all] = [&seen.under_way, &seen.most, &seen.all].map(|count| count.load(Ordering::SeqCst));
    assert!(under_way == 0 && (2..=MOST).contains(&most) && all > 500, "{under_way} of {all}, {most} at a time");
    drop(Bulkhead::new(&requests(MOST, WAITING, None), Some(&bulkhead), || panic!("no metrics")));
    assert_eq!(std::iter::from_fn(|| bulkhead.try_enter()).take(100).collect::<Vec<_>>().len(), MOST as usize);
}

#[derive(Default)]
struct Seen {
    under_way: AtomicU32,
    most: AtomicU32,
    all: AtomicU32,
}

struct Here<'a>(&'a Seen);

impl<'a> Here<'a> {
    fn enter(seen: &'a Seen) -> Self {
        let under_way = seen.under_way.fetch_add(1, Ordering::SeqCst) + 1;
        seen.most.fetch_max(under_way, Ordering::SeqCst);
        seen.all.fetch_add(1, Ordering::SeqCst);
        Self(seen)
    }
}

impl Drop for Here<'_> {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::SeqCst);
    }
}

/// What the future is ready with now.
fn poll<F: Future>(future: std::pin::Pin<&mut F>) -> Option<F::Output> {
    match future.poll(&mut std::task::Context::from_waker(std::task::Waker::noop())) {
        std::task::Poll::Ready(output) => Some(output),
        std::task::Poll::Pending => None,
    }
}
