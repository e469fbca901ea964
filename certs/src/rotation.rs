//! When an SVID is renewed, and the loop that does it.
//!
//! Decides times only: at about two thirds of life, retried with backoff. How a renewal is made (key, CSR, the identity
//! service) is the caller's function. Called by the sidecar and by the control plane, for its own SVID.

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::identity::Identity;
use crate::svid::Svid;

/// The longest time between two looks at the wall clock. Timers stand still while a machine sleeps; the validity of a
/// certificate does not.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);
/// How long one attempt may take, within what is left of the SVID.
const ATTEMPT_LIMITS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
const FIRST_RETRY: Duration = Duration::from_millis(500);
const LONGEST_RETRY: Duration = Duration::from_secs(60);
/// Between attempts when the SVID has already expired: an outage of the control plane must not end in a storm.
const EXPIRED_RETRY: Duration = Duration::from_secs(10);

/// Where the wall-clock time comes from, so that tests can say what time it is.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> SystemTime + Send + Sync>);

impl Clock {
    pub fn system() -> Self {
        Self::from_fn(SystemTime::now)
    }

    pub fn from_fn(now: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    pub fn now(&self) -> SystemTime {
        (self.0)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

/// When to renew: at two thirds of life, plus or minus a tenth of life by `jitter` (from 0 to 1), so that workloads
/// that started together do not renew together.
pub fn renew_at(not_before: SystemTime, not_after: SystemTime, jitter: f64) -> SystemTime {
    let life = not_after.duration_since(not_before).unwrap_or_default();
    let share = 2.0 / 3.0 + (jitter.clamp(0.0, 1.0) - 0.5) / 5.0;
    not_before + life.mul_f64(share)
}

/// How long to wait after the failed attempt number `attempt` (from 1), with `remaining` until the SVID expires.
///
/// Doubles from half a second to at most a minute or an eighth of what remains, whichever is shorter, so that a few
/// attempts are always left; `jitter` (from 0 to 1) takes off up to half.
pub fn retry_after(attempt: u32, remaining: Duration, jitter: f64) -> Duration {
    let ceiling = if remaining.is_zero() { EXPIRED_RETRY } else { (remaining / 8).clamp(FIRST_RETRY, LONGEST_RETRY) };
    let doubled = FIRST_RETRY.saturating_mul(1 << attempt.saturating_sub(1).min(16));
    let share = 1.0 - jitter.clamp(0.0, 1.0) / 2.0;
    doubled.min(ceiling).mul_f64(share)
}

/// Keeps the identity's SVID fresh for as long as it is polled: renews it in time, and retries until that succeeds.
///
/// `renew` gets a new SVID for the same SPIFFE ID; one of another ID counts as a failure. A call that hangs is dropped
/// and retried. `jitter` gives numbers from 0 to 1. Never returns; end it by dropping the future.
pub async fn keep_fresh<R, E>(
    identity: Arc<Identity>,
    clock: Clock,
    mut jitter: impl FnMut() -> f64,
    mut renew: R,
) -> Infallible
where
    R: AsyncFnMut() -> Result<Svid, E>,
    E: fmt::Display,
{
    let mut failures = 0;
    loop {
        if failures == 0 {
            let current = identity.svid();
            let at = renew_at(current.not_before(), current.not_after(), jitter());
            sleep_until(&clock, at).await;
        }
        match attempt(&identity, &clock, &mut renew).await {
            Ok(svid) => {
                log_renewal(&svid, failures);
                let stale = renew_at(svid.not_before(), svid.not_after(), 0.0) <= clock.now();
                identity.set_svid(svid);
                failures = 0;
                if stale {
                    // Fresh but already due: a clock is wrong. Without a pause this would be a busy loop.
                    let remaining = remaining(&identity, &clock);
                    tokio::time::sleep(retry_after(u32::MAX, remaining, jitter())).await;
                }
            }
            Err(reason) => {
                failures += 1;
                let remaining = remaining(&identity, &clock);
                let wait = retry_after(failures, remaining, jitter());
                log_failure(&identity, &reason, failures, remaining, wait);
                tokio::time::sleep(wait).await;
            }
        }
    }
}

/// One renewal, bounded in time so that a hanging one cannot use up the life that is left.
async fn attempt<R, E>(identity: &Identity, clock: &Clock, renew: &mut R) -> Result<Svid, String>
where
    R: AsyncFnMut() -> Result<Svid, E>,
    E: fmt::Display,
{
    let (shortest, longest) = ATTEMPT_LIMITS;
    let limit = (remaining(identity, clock) / 2).clamp(shortest, longest);
    let svid = match tokio::time::timeout(limit, renew()).await {
        Ok(Ok(svid)) => svid,
        Ok(Err(error)) => return Err(error.to_string()),
        Err(_) => return Err(format!("no answer within {limit:?}")),
    };
    let own = identity.svid();
    if svid.id() != own.id() {
        return Err(format!("the new SVID is for {}", svid.id()));
    }
    if !svid.is_valid_at(clock.now()) {
        return Err("the new SVID is not valid at this time, compare the clocks".to_owned());
    }
    Ok(svid)
}

fn remaining(identity: &Identity, clock: &Clock) -> Duration {
    identity.not_after().duration_since(clock.now()).unwrap_or_default()
}

async fn sleep_until(clock: &Clock, time: SystemTime) {
    while let Ok(left) = time.duration_since(clock.now()) {
        if left.is_zero() {
            return;
        }
        tokio::time::sleep(left.min(LONGEST_SLEEP)).await;
    }
}

fn log_renewal(svid: &Svid, failures: u32) {
    let life = svid.not_after().duration_since(svid.not_before()).unwrap_or_default();
    tracing::info!(id = %svid.id(), ?life, after_failures = failures, "the SVID was renewed");
}

fn log_failure(identity: &Identity, reason: &str, attempt: u32, remaining: Duration, wait: Duration) {
    let id = identity.svid().id().clone();
    if remaining.is_zero() {
        tracing::error!(%id, reason, attempt, retry_in = ?wait,
            "the SVID has expired and could not be renewed, peers refuse new connections");
    } else {
        tracing::warn!(%id, reason, attempt, expires_in = ?remaining, retry_in = ?wait,
            "the SVID could not be renewed");
    }
}

#[cfg(test)]
mod tests;
