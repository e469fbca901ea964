//! The one shutdown primitive: who works holds a place, who stops asks everybody to finish and waits.
//!
//! A drain has three steps: `announce` has every answer say that its connection will take no other request, so that
//! callers leave by themselves; `begin` tells every connection to finish what it has and take nothing new; `finished`
//! waits until the last one has gone. Inbound and outbound are drained apart, since an application's last outbound calls
//! must still work when nothing comes in any more.

use std::time::Duration;

use tokio_util::{
    sync::{CancellationToken, WaitForCancellationFuture},
    task::{TaskTracker, task_tracker::TaskTrackerToken},
};

#[derive(Clone, Debug, Default)]
pub struct Drain {
    announced: CancellationToken,
    begun: CancellationToken,
    places: TaskTracker,
}

/// Held by a connection; dropping it says that it has finished.
pub type Place = TaskTrackerToken;

impl Drain {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn place(&self) -> Place {
        self.places.token()
    }

    /// Callers are to leave by themselves; whoever comes is still served.
    pub fn announce(&self) {
        self.announced.cancel();
    }

    pub fn is_announced(&self) -> bool {
        self.announced.is_cancelled()
    }

    pub fn begin(&self) {
        self.announced.cancel();
        self.begun.cancel();
        self.places.close();
    }

    /// Resolves when the drain has begun.
    pub fn begun(&self) -> WaitForCancellationFuture<'_> {
        self.begun.cancelled()
    }

    /// Begins, and waits until everybody has finished, at most `limit`. Returns how many had not.
    pub async fn finished(&self, limit: Duration) -> usize {
        self.begin();
        let _ = tokio::time::timeout(limit, self.places.wait()).await;
        self.places.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn waits_for_those_who_work_and_counts_who_did_not_finish() {
        let drain = Drain::new();
        let quick = drain.place();
        let _stuck = drain.place();
        drop(quick);
        assert_eq!(drain.finished(Duration::from_secs(30)).await, 1);
        assert!(drain.is_announced());
    }

    #[tokio::test(start_paused = true)]
    async fn ends_as_soon_as_nobody_works() {
        let drain = Drain::new();
        let place = drain.place();
        let begun = drain.clone();
        tokio::spawn(async move {
            begun.begun().await;
            drop(place);
        });
        let started = tokio::time::Instant::now();
        assert_eq!(drain.finished(Duration::from_secs(30)).await, 0);
        assert!(started.elapsed() < Duration::from_secs(1));
    }
}
