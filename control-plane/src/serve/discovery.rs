//! Discovery: tells each sidecar what it asked for, and what changed of it (incremental xDS, one stream per sidecar).
//!
//! What is sent when, and what an answer means, is decided by `session::Session`, which does no I/O. Here are the
//! stream, its limits, and what people get to know about it.

mod session;

use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use weft_certs::{SpiffeId, TrustDomain};
use weft_proxy_api::proto::discovery::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, aggregated_discovery_service_server::AggregatedDiscoveryService,
};

use crate::{
    fleet::{Fleet, Presence},
    mesh::Published,
    tasks::Tasks,
    telemetry::{Metrics, ResourceKind},
};
use session::{Rejected, Session};

/// Responses that may wait for a slow reader. The session keeps at most one per type in flight anyway.
const SEND_QUEUE: usize = 4;

pub struct Discovery {
    pub published: watch::Receiver<Arc<Published>>,
    pub fleet: Arc<Fleet>,
    pub metrics: Arc<Metrics>,
    pub trust_domain: TrustDomain,
    pub tasks: Tasks,
}

#[tonic::async_trait]
impl AggregatedDiscoveryService for Discovery {
    type DeltaAggregatedResourcesStream = ReceiverStream<Result<DeltaDiscoveryResponse, Status>>;

    async fn delta_aggregated_resources(
        &self,
        request: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaAggregatedResourcesStream>, Status> {
        let identity = super::workload(&request, &self.trust_domain)?;
        let (responses, queue) = mpsc::channel(SEND_QUEUE);
        let stream = Stream {
            requests: request.into_inner(),
            responses,
            published: self.published.clone(),
            fleet: self.fleet.clone(),
            metrics: self.metrics.clone(),
            identity,
        };
        self.tasks.spawn(stream.run());
        Ok(Response::new(ReceiverStream::new(queue)))
    }
}

struct Stream {
    requests: Streaming<DeltaDiscoveryRequest>,
    responses: mpsc::Sender<Result<DeltaDiscoveryResponse, Status>>,
    published: watch::Receiver<Arc<Published>>,
    fleet: Arc<Fleet>,
    metrics: Arc<Metrics>,
    identity: SpiffeId,
}

impl Stream {
    async fn run(mut self) {
        self.metrics.discovery_streams.inc();
        if let Err(status) = self.serve().await {
            tracing::debug!(peer = %self.identity, %status, "the discovery stream ends");
            // Fails only when the sidecar has gone.
            let _ = self.responses.send(Err(status)).await;
        }
        self.metrics.discovery_streams.dec();
    }

    async fn serve(&mut self) -> Result<(), Status> {
        let Some(first) = self.requests.message().await? else { return Ok(()) };
        let workload = first.node.as_ref().map(|node| node.id.clone()).unwrap_or_default();
        super::check_workload_id(&workload)?;
        let presence = self
            .fleet
            .connect(&workload, &self.identity)
            .map_err(|error| Status::permission_denied(error.to_string()))?;
        tracing::debug!(workload, peer = %self.identity, "discovery stream");
        let mut session = Session::new(workload);
        self.take(&mut session, &presence, first)?;
        loop {
            let published = self.published.borrow_and_update().clone();
            for response in session.responses(&published) {
                self.count(&response);
                if self.responses.send(Ok(response)).await.is_err() {
                    return Ok(());
                }
            }
            if let Some(revision) = session.acknowledged(&published) {
                presence.update(|sidecar| sidecar.acknowledged = Some(revision));
            }
            tokio::select! {
                request = self.requests.message() => match request? {
                    Some(request) => self.take(&mut session, &presence, request)?,
                    None => return Ok(()),
                },
                changed = self.published.changed() => if changed.is_err() { return Ok(()) },
            }
        }
    }

    fn take(&self, session: &mut Session, presence: &Presence, request: DeltaDiscoveryRequest) -> Result<(), Status> {
        for Rejected { kind, name, reason } in session.request(request)? {
            tracing::warn!(peer = %self.identity, ?kind, name, reason, "a sidecar refused a resource");
            self.metrics.resources_rejected.get_or_create(&ResourceKind { kind: session::label(kind) }).inc();
        }
        // Everybody waits for the fleet meanwhile, so that only a change goes there.
        if let Some(rejected) = session.take_rejected() {
            presence.update(|sidecar| sidecar.rejected = rejected);
        }
        Ok(())
    }

    fn count(&self, response: &DeltaDiscoveryResponse) {
        let kind = weft_proxy_api::Kind::from_type_url(&response.type_url).map_or("unknown", session::label);
        let sent = u64::try_from(response.resources.len()).unwrap_or(u64::MAX);
        self.metrics.resources_sent.get_or_create(&ResourceKind { kind }).inc_by(sent);
    }
}
