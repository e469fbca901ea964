//! How the process is, and how it ends: ready, leaving, drained. Shared by the parts that say so and those that ask.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use tokio::{
    signal::unix::{SignalKind, signal},
    sync::{OnceCell, watch},
};
use weft_proxy_api::Inbound as Enforced;

use crate::{drain::Drain, mesh::Store, telemetry::Metrics};

/// How long an endpoint that leaves still takes new requests: until every caller has heard of it.
const PROPAGATION: Duration = Duration::from_millis(500);
/// How long the control plane is waited for when the workload leaves.
const LEAVE_LIMIT: Duration = Duration::from_secs(2);

/// What the parts of the process share to say how it is, and to stop it.
pub struct Lifecycle {
    pub metrics: Arc<Metrics>,
    /// Set once the identity is there.
    pub store: OnceLock<Arc<Store>>,
    pub ready: watch::Sender<bool>,
    pub stop: watch::Sender<bool>,
    pub inbound: Drain,
    pub outbound: Drain,
    /// Becomes true when the endpoint is to be taken out.
    pub leaving: watch::Sender<bool>,
    /// Becomes true when the control plane has taken it out.
    pub left: watch::Sender<bool>,
    registered: bool,
    /// How many connections were cut off when inbound was drained.
    drained: OnceCell<usize>,
}

impl Lifecycle {
    pub fn new(metrics: Arc<Metrics>, registered: bool) -> Arc<Self> {
        Arc::new(Self {
            metrics,
            store: OnceLock::new(),
            ready: watch::Sender::new(false),
            stop: watch::Sender::new(false),
            inbound: Drain::new(),
            outbound: Drain::new(),
            leaving: watch::Sender::new(false),
            left: watch::Sender::new(false),
            registered,
            drained: OnceCell::new(),
        })
    }

    /// Takes the endpoint out of balancing and waits until its requests have ended. Returns how many connections had
    /// not within the drain timeout. A second call waits for the same end.
    pub async fn drain_inbound(&self) -> usize {
        *self.drained.get_or_init(|| self.leave()).await
    }

    async fn leave(&self) -> usize {
        self.leaving.send_replace(true);
        self.ready.send_replace(false);
        self.inbound.announce();
        if self.registered {
            let mut left = self.left.subscribe();
            let _ = tokio::time::timeout(LEAVE_LIMIT, left.wait_for(|left| *left)).await;
            tokio::time::sleep(PROPAGATION).await;
        }
        self.inbound.finished(self.drain_timeout()).await
    }

    /// Ends the application's connections when their requests have ended. Returns how many had not in time.
    pub async fn drain_outbound(&self) -> usize {
        self.outbound.finished(self.drain_timeout()).await
    }

    /// Resolves when a signal or the admin listener asks for the end.
    pub async fn stop_requested(&self) {
        let mut asked = self.stop.subscribe();
        let signals = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()));
        let (Ok(mut terminate), Ok(mut interrupt)) = signals else {
            tracing::error!("signals cannot be received");
            return std::future::pending().await;
        };
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            _ = asked.wait_for(|stop| *stop) => {}
        }
    }

    fn drain_timeout(&self) -> Duration {
        let enforced = self.store.get().map(|store| store.inbound());
        enforced.as_deref().and_then(Option::as_ref).map_or(Enforced::DEFAULT_DRAIN_TIMEOUT, |e| e.drain_timeout)
    }
}
