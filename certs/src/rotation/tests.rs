use std::cell::Cell;
use std::sync::Mutex;

use proptest::prelude::*;
use tokio::time::Instant;

use super::*;
use crate::ca::Ca;
use crate::testing::{ca, id, now};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const SECOND: Duration = Duration::from_secs(1);

/// Wall-clock time that runs with tokio's paused clock.
fn paused_clock() -> Clock {
    let (start, began) = (now(), Instant::now());
    Clock::from_fn(move || start + began.elapsed())
}

fn start(ca: &Ca, clock: &Clock, lifetime: Duration) -> Arc<Identity> {
    let id = id("example.org", "shop", "orders");
    let svid = ca.issue(&id, lifetime, clock.now()).unwrap();
    Identity::new(svid, ca.trust_bundle())
}

/// Whether the SVID is valid, at each hundredth of `time`.
async fn valid_throughout(identity: &Identity, clock: &Clock, time: Duration) -> bool {
    for _ in 0..100 {
        tokio::time::sleep(time / 100).await;
        if !identity.svid().is_valid_at(clock.now()) {
            return false;
        }
    }
    true
}

#[tokio::test(start_paused = true)]
async fn an_svid_is_renewed_in_time_whether_it_lives_seconds_or_a_day() {
    for lifetime in [SECOND * 5, SECOND * 60, DAY] {
        let (ca, clock) = (Arc::new(ca("example.org")), paused_clock());
        let identity = start(&ca, &clock, lifetime);
        let renewals = Arc::new(Mutex::new(Vec::new()));
        let renew = {
            let (ca, clock, renewals) = (ca.clone(), clock.clone(), renewals.clone());
            let id = identity.svid().id().clone();
            async move || {
                renewals.lock().unwrap().push(clock.now());
                ca.issue(&id, lifetime, clock.now())
            }
        };
        // On a spawned task, as the callers have it: the future must be `Send`.
        let task = tokio::spawn(keep_fresh(identity.clone(), clock.clone(), || 0.5, renew));

        assert!(valid_throughout(&identity, &clock, lifetime * 10).await);

        task.abort();
        let renewals = renewals.lock().unwrap().len();
        assert!((13..=20).contains(&renewals), "{lifetime:?}: {renewals}");
    }
}

#[tokio::test(start_paused = true)]
async fn renewal_happens_at_two_thirds_of_life() {
    let (ca, clock) = (ca("example.org"), paused_clock());
    let identity = start(&ca, &clock, DAY);
    let svid = identity.svid();
    let due = renew_at(svid.not_before(), svid.not_after(), 0.5);
    let asked_at = Cell::new(None);
    let renew = async || {
        asked_at.set(asked_at.get().or(Some(clock.now())));
        ca.issue(svid.id(), DAY, clock.now())
    };
    let running = keep_fresh(identity.clone(), clock.clone(), || 0.5, renew);
    let _ = tokio::time::timeout(DAY * 7 / 10, running).await;

    let late = asked_at.get().unwrap().duration_since(due).unwrap();
    assert!(late < SECOND, "{late:?}");
    assert!(identity.not_after() > svid.not_after());
}

#[tokio::test(start_paused = true)]
async fn a_failing_renewal_is_retried_until_it_succeeds_in_time() {
    let (ca, clock) = (ca("example.org"), paused_clock());
    let identity = start(&ca, &clock, DAY);
    let id = identity.svid().id().clone();
    let attempts = Cell::new(0);
    let renew = async || {
        attempts.set(attempts.get() + 1);
        match attempts.get() {
            ..=20 => Err("the control plane is away".to_owned()),
            _ => ca.issue(&id, DAY, clock.now()).map_err(|e| e.to_string()),
        }
    };
    let running = keep_fresh(identity.clone(), clock.clone(), || 0.0, renew);
    tokio::select! {
        _ = running => unreachable!("it never ends"),
        valid = valid_throughout(&identity, &clock, DAY) => assert!(valid),
    }
    assert_eq!(attempts.get(), 21);
}

#[tokio::test(start_paused = true)]
async fn a_hanging_renewal_is_given_up_and_retried() {
    let (ca, clock) = (ca("example.org"), paused_clock());
    let identity = start(&ca, &clock, SECOND * 60);
    let id = identity.svid().id().clone();
    let attempts = Cell::new(0);
    let renew = async || {
        attempts.set(attempts.get() + 1);
        if attempts.get() == 1 {
            std::future::pending::<()>().await;
        }
        ca.issue(&id, SECOND * 60, clock.now())
    };
    let running = keep_fresh(identity.clone(), clock.clone(), || 0.5, renew);
    tokio::select! {
        _ = running => unreachable!("it never ends"),
        valid = valid_throughout(&identity, &clock, SECOND * 60) => assert!(valid),
    }
    assert!(attempts.get() >= 2);
}

#[tokio::test(start_paused = true)]
async fn an_svid_of_someone_else_or_of_another_time_is_not_taken() {
    let (ca, clock) = (ca("example.org"), paused_clock());
    let identity = start(&ca, &clock, DAY);
    let first = identity.svid();
    let attempts = Cell::new(0);
    let renew = async || {
        attempts.set(attempts.get() + 1);
        match attempts.get() % 2 {
            0 => ca.issue(&id("example.org", "shop", "admin"), DAY, clock.now()),
            _ => ca.issue(first.id(), SECOND, clock.now() - DAY),
        }
    };
    let running = keep_fresh(identity.clone(), clock.clone(), || 0.5, renew);
    let _ = tokio::time::timeout(DAY, running).await;
    assert!(attempts.get() > 2);
    assert_eq!(identity.svid().chain(), first.chain());
}

#[tokio::test(start_paused = true)]
async fn after_expiry_it_goes_on_trying_without_a_storm() {
    let (ca, clock) = (ca("example.org"), paused_clock());
    let identity = start(&ca, &clock, SECOND * 5);
    let id = identity.svid().id().clone();
    let (attempts, healthy) = (Cell::new(0), Cell::new(false));
    let renew = async || {
        attempts.set(attempts.get() + 1);
        match healthy.get() {
            true => ca.issue(&id, SECOND * 5, clock.now()).map_err(|e| e.to_string()),
            false => Err("refused".to_owned()),
        }
    };
    let mut running = Box::pin(keep_fresh(identity.clone(), clock.clone(), || 0.5, renew));

    let _ = tokio::time::timeout(SECOND * 1000, &mut running).await;
    assert!(!identity.svid().is_valid_at(clock.now()));
    // At most one in five seconds, and the few quick ones at the start.
    assert!((100..220).contains(&attempts.get()), "{}", attempts.get());

    healthy.set(true);
    let _ = tokio::time::timeout(SECOND * 12, &mut running).await;
    assert!(identity.svid().is_valid_at(clock.now()));
}

#[tokio::test(start_paused = true)]
async fn a_clock_far_ahead_does_not_make_a_busy_loop() {
    let (ca, clock) = (ca("example.org"), paused_clock());
    let identity = start(&ca, &clock, DAY);
    let id = identity.svid().id().clone();
    let attempts = Cell::new(0);
    // The CA's clock is behind: each new SVID is already past two thirds of its life.
    let renew = async || {
        attempts.set(attempts.get() + 1);
        ca.issue(&id, DAY, clock.now() - DAY * 8 / 10)
    };
    let running = keep_fresh(identity, clock.clone(), || 0.0, renew);
    let _ = tokio::time::timeout(DAY, running).await;
    // From 0.57 of the day until its end, once a minute.
    assert!((500..700).contains(&attempts.get()), "{}", attempts.get());
}

proptest! {
    #[test]
    fn renewal_is_within_a_tenth_of_two_thirds(life in 1_u64..100_000_000, jitter in 0.0..=1.0) {
        let begin = SystemTime::UNIX_EPOCH + DAY;
        let at = renew_at(begin, begin + Duration::from_secs(life), jitter);
        let share = at.duration_since(begin).unwrap().as_secs_f64() / life as f64;
        prop_assert!((0.566..=0.767).contains(&share), "{share}");
    }

    #[test]
    fn retries_leave_time_for_more(attempt in 0_u32..1000, remaining in 0_u64..200_000, jitter in 0.0..=1.0) {
        let remaining = Duration::from_secs(remaining);
        let wait = retry_after(attempt, remaining, jitter);
        prop_assert!(wait >= FIRST_RETRY / 2 && wait <= LONGEST_RETRY);
        prop_assert!(remaining.is_zero() || wait <= (remaining / 8).max(FIRST_RETRY));
    }
}

#[test]
fn retries_double_up_to_their_ceiling() {
    let waits: Vec<_> = (1..=9).map(|n| retry_after(n, DAY, 0.0).as_millis()).collect();
    assert_eq!(waits, [500, 1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000]);
    assert_eq!(retry_after(3, DAY, 1.0), SECOND);
    assert_eq!(retry_after(50, Duration::ZERO, 0.0), EXPIRED_RETRY);
    assert_eq!(retry_after(50, SECOND * 16, 0.0), SECOND * 2);
}

#[test]
fn times_that_make_no_sense_renew_at_once() {
    let begin = SystemTime::UNIX_EPOCH + DAY;
    assert_eq!(renew_at(begin, begin - SECOND, 0.5), begin);
}
