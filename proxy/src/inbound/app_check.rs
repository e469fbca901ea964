//! Whether the local application answers: a workload takes part in balancing only while it does.

use std::{net::SocketAddr, time::Duration};

use tokio::{net::TcpStream, sync::watch, time::timeout};

const CONNECT_LIMIT: Duration = Duration::from_secs(1);
/// Until the application answers for the first time, it is waited for closely: that time is part of every start.
const STARTING: Duration = Duration::from_millis(50);
const RUNNING: Duration = Duration::from_secs(2);
/// A single refused connect may be a full backlog; two in a row are an application that is gone.
const FAILURES: u32 = 2;

/// Checks for as long as it is polled, and says so whenever the answer changes.
pub async fn watch_app(app: SocketAddr, serving: watch::Sender<bool>) {
    let mut failures = 0;
    loop {
        let answers = matches!(timeout(CONNECT_LIMIT, TcpStream::connect(app)).await, Ok(Ok(_)));
        failures = if answers { 0 } else { failures + 1 };
        let now = answers || *serving.borrow() && failures < FAILURES;
        serving.send_if_modified(|before| {
            let changed = *before != now;
            if changed {
                tracing::info!(%app, "the application {}", if now { "answers" } else { "does not answer any more" });
            }
            *before = now;
            changed
        });
        tokio::time::sleep(if now { RUNNING } else { STARTING }).await;
    }
}
