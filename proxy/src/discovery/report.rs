//! What the sidecar reports: that it is there, how its application is, its circuits, its SVID's end.
//!
//! Every report is complete and replaces the one before, so that nothing has to be replayed after an interruption.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use weft_certs::Identity;
use weft_proxy_api::proto::workload::v1::{
    Circuit, Registration, ReportAck, WorkloadReport, circuit, workloads_client::WorkloadsClient,
};

use super::{Backoff, channel};
use crate::{
    inbound::health::Health,
    mesh::{Backend, Store},
    policy::{CircuitBreaker, circuit_breaker::State},
};

/// How often a report is sent although nothing has changed.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// Changes that come in a burst are reported together.
const BURST: Duration = Duration::from_millis(50);

pub struct Reporter {
    pub channel: Channel,
    pub workload: String,
    /// `None`: the workload serves nothing.
    pub registration: Option<Registration>,
    /// Of each port that is registered, in that order.
    pub health: watch::Receiver<Vec<Health>>,
    /// Becomes true when the workload leaves.
    pub leaving: watch::Receiver<bool>,
    /// Set to true when the control plane has taken the endpoint out.
    pub left: watch::Sender<bool>,
    pub identity: Arc<Identity>,
    pub store: Arc<Store>,
    /// When this sidecar started.
    pub started: SystemTime,
}

impl Reporter {
    /// Reports for as long as it is polled.
    pub async fn run(mut self) {
        let mut backoff = Backoff::default();
        loop {
            let ended = self.session(&mut backoff).await;
            tracing::debug!("the report stream ended: {ended}");
            backoff.wait().await;
        }
    }

    async fn session(&mut self, backoff: &mut Backoff) -> String {
        let (reports, outgoing) = mpsc::channel(8);
        let mut sent = self.report(1);
        let _ = reports.try_send(sent.clone());
        let mut client = WorkloadsClient::new(self.channel.clone());
        let mut acks = match client.report(ReceiverStream::new(outgoing)).await {
            Ok(response) => response.into_inner(),
            Err(status) => return channel::reason(&status),
        };
        let mut transitions = self.store.transitions();
        let mut heartbeat = tokio::time::interval(HEARTBEAT);
        heartbeat.reset();
        loop {
            let is_due = tokio::select! {
                ack = acks.message() => match ack {
                    Ok(Some(ack)) => {
                        backoff.reset();
                        self.take(&ack, &sent);
                        false
                    }
                    Ok(None) => return "the control plane closed it".to_owned(),
                    Err(status) => return channel::reason(&status),
                },
                Ok(()) = self.health.changed() => true,
                Ok(()) = self.leaving.changed() => true,
                Ok(()) = transitions.changed() => {
                    tokio::time::sleep(BURST).await;
                    true
                }
                _ = heartbeat.tick() => true,
            };
            if is_due {
                sent = self.report(sent.sequence + 1);
                if reports.send(sent.clone()).await.is_err() {
                    return "the connection was lost".to_owned();
                }
            }
        }
    }

    fn take(&self, ack: &ReportAck, sent: &WorkloadReport) {
        if !ack.refused.is_empty() {
            tracing::error!("the control plane refused the registration: {}", ack.refused);
        }
        if sent.leaving && ack.sequence == sent.sequence {
            self.left.send_replace(true);
        }
    }

    fn report(&self, sequence: u64) -> WorkloadReport {
        let health = self.health.borrow().clone();
        let leaving = *self.leaving.borrow();
        let mut serving = health.iter().map(|port| *port == Health::Healthy && !leaving);
        let first_is_serving = serving.next().unwrap_or_default();
        let mut registration = self.registration.clone();
        let further = registration.iter_mut().flat_map(|registration| &mut registration.further_ports);
        further.zip(serving).for_each(|(port, serving)| port.serving = serving);
        let end = self.identity.not_after().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        WorkloadReport {
            sequence,
            workload: self.workload.clone(),
            registration,
            serving: first_is_serving,
            leaving,
            circuits: self.store.backends().iter().flat_map(|backend| circuits(backend, self.started)).collect(),
            svid_not_after: i64::try_from(end.as_secs()).unwrap_or(i64::MAX),
            version: crate::VERSION.to_owned(),
            cause: cause(health),
        }
    }
}

/// Why ports are not healthy, each reason once.
fn cause(health: Vec<Health>) -> String {
    let mut causes: Vec<String> = Vec::new();
    for port in health {
        if let Health::Unhealthy { cause } = port
            && !causes.contains(&cause)
        {
            causes.push(cause);
        }
    }
    causes.join("; ")
}

/// The circuit of a backend, and of those of its endpoints that have ever opened.
fn circuits(backend: &Backend, started: SystemTime) -> Vec<Circuit> {
    let own = describe(&backend.label, "", &backend.breaker, started);
    let endpoints = backend.balancer.endpoints();
    let opened = endpoints.iter().map(|e| describe(&backend.label, &e.id, &e.breaker, started));
    std::iter::once(own).chain(opened.filter(|circuit| circuit.times_opened > 0)).collect()
}

/// A circuit that was never anything but closed has been so since `started`.
fn describe(backend: &str, endpoint: &str, breaker: &CircuitBreaker, started: SystemTime) -> Circuit {
    let now = Instant::now();
    let status = breaker.status(now);
    let ago = |since| SystemTime::now().checked_sub(now.saturating_duration_since(since));
    let since = status.since.and_then(ago).unwrap_or(started).duration_since(SystemTime::UNIX_EPOCH);
    let state = match status.state {
        State::Closed => circuit::State::Closed,
        State::Open { .. } => circuit::State::Open,
        State::HalfOpen => circuit::State::HalfOpen,
    };
    Circuit {
        backend: backend.to_owned(),
        endpoint: endpoint.to_owned(),
        state: state.into(),
        cause: status.cause,
        since_ms: i64::try_from(since.unwrap_or_default().as_millis()).unwrap_or(i64::MAX),
        times_opened: status.times_opened,
        dry_run: status.dry_run,
    }
}
