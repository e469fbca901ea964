//! Waiting for a condition, with a deadline.

use std::{fmt::Display, time::Duration};

use tokio::time::{Instant, sleep};

/// Much longer than anything takes, so that a slow machine does not fail a test that would pass.
pub const PATIENCE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(15);

/// Asks until the answer is `Ok`, and returns what is in it. Panics with the last `Err` after [`PATIENCE`].
pub async fn eventually<T, E: Display>(what: &str, check: impl AsyncFnMut() -> Result<T, E>) -> T {
    within(PATIENCE, what, check).await
}

/// As [`eventually`], with a deadline of its own.
pub async fn within<T, E: Display>(limit: Duration, what: &str, mut check: impl AsyncFnMut() -> Result<T, E>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        match check().await {
            Ok(found) => return found,
            Err(reason) if Instant::now() > deadline => panic!("not within {limit:?}: {what}; at last: {reason}"),
            Err(_) => sleep(POLL).await,
        }
    }
}
