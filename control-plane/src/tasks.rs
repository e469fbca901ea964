//! The tasks of the control plane, so that it can stop in order: who is told to stop, and who is waited for.
//!
//! Made by `app`; everything that spawns a task that outlives its call spawns it here.

use std::time::Duration;

use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// How long requests in flight may take when the control plane stops.
const DRAIN: Duration = Duration::from_secs(5);

/// Cheap to clone; all clones are one.
#[derive(Clone, Default)]
pub struct Tasks {
    stop: CancellationToken,
    tracker: TaskTracker,
}

impl Tasks {
    /// Runs the task until it ends or the control plane stops, whichever is first.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        self.tracker.spawn(async move {
            tokio::select! {
                () = task => {}
                () = stop.cancelled() => {}
            }
        });
    }

    /// Runs a task that ends by itself, soon after the others.
    pub fn spawn_to_end(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tracker.spawn(task);
    }

    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// Ends when the control plane is to stop.
    pub async fn stopped(&self) {
        self.stop.cancelled().await;
    }

    /// Ends when the control plane has stopped, and requests in flight have had their time.
    pub async fn drained(&self) {
        self.stop.cancelled().await;
        tokio::time::sleep(DRAIN).await;
    }

    /// Waits until every task has ended; not for ever, so that a stuck one cannot keep the process.
    pub async fn ended(&self) {
        self.tracker.close();
        if tokio::time::timeout(DRAIN * 2, self.tracker.wait()).await.is_err() {
            tracing::warn!(left = self.tracker.len(), "some tasks did not end in time");
        }
    }
}
