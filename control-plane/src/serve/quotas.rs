//! Leases of shared rate limits, for the sidecars that enforce them.
//!
//! Decides who may ask: a workload, for the limits that it enforces itself, which are those of the services that it is an
//! endpoint of. How much it gets is `crate::quotas`'.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use weft_certs::{SpiffeId, TrustDomain};
use weft_proxy_api::{
    policy::RateLimit,
    proto::quota::v1::{Lease, QuotaLeases, QuotaReport, quotas_server},
};

use crate::{
    fleet::Fleet,
    mesh::Mesh,
    quotas::{self, Demand},
    tasks::Tasks,
};

#[derive(Clone)]
pub struct Quotas {
    pub mesh: Mesh,
    pub fleet: Arc<Fleet>,
    pub quotas: Arc<quotas::Quotas>,
    pub trust_domain: TrustDomain,
    pub holders: Arc<AtomicU64>,
    pub tasks: Tasks,
}

#[tonic::async_trait]
impl quotas_server::Quotas for Quotas {
    type LeaseStream = ReceiverStream<Result<QuotaLeases, Status>>;

    async fn lease(&self, request: Request<Streaming<QuotaReport>>) -> Result<Response<Self::LeaseStream>, Status> {
        let identity = super::workload(&request, &self.trust_domain)?;
        let (answers, queue) = mpsc::channel(1);
        let (this, mut reports) = (self.clone(), request.into_inner());
        self.tasks.spawn(async move {
            if let Err(status) = this.serve(&mut reports, &answers, &identity).await {
                tracing::debug!(peer = %identity, %status, "the stream of leases ends");
                // Fails only when the sidecar has gone.
                let _ = answers.send(Err(status)).await;
            }
        });
        Ok(Response::new(ReceiverStream::new(queue)))
    }
}

impl Quotas {
    async fn serve(
        &self,
        reports: &mut Streaming<QuotaReport>,
        answers: &mpsc::Sender<Result<QuotaLeases, Status>>,
        identity: &SpiffeId,
    ) -> Result<(), Status> {
        let Some(first) = reports.message().await? else { return Ok(()) };
        super::check_workload_id(&first.workload)?;
        let _presence = self
            .fleet
            .connect(&first.workload, identity)
            .map_err(|error| Status::permission_denied(error.to_string()))?;
        let mut stream = Stream {
            quotas: self.quotas.clone(),
            holder: self.holders.fetch_add(1, Ordering::Relaxed),
            limits: BTreeSet::new(),
        };
        let workload = first.workload.clone();
        let mut next = Some(first);
        while let Some(report) = next {
            if report.workload != workload {
                return Err(Status::invalid_argument("a stream is of one workload only"));
            }
            let enforced = self.mesh.published().snapshot.inbound(&workload).rate_limits;
            let leases = stream.answer(report, &enforced, Instant::now());
            if answers.send(Ok(leases)).await.is_err() {
                return Ok(());
            }
            next = reports.message().await?;
        }
        Ok(())
    }
}

/// One stream, as a holder of leases. However it ends, nothing more is leased to it.
struct Stream {
    quotas: Arc<quotas::Quotas>,
    holder: u64,
    /// Those that it has a part in.
    limits: BTreeSet<String>,
}

impl Stream {
    fn answer(&mut self, report: QuotaReport, enforced: &[RateLimit], now: Instant) -> QuotaLeases {
        let (quotas, holder) = (&self.quotas, self.holder);
        // Each limit once, however often the report names it.
        let shared = enforced.iter().filter(|limit| limit.shared).filter_map(|limit| {
            let demand = report.demands.iter().find(|demand| demand.limit == limit.name)?;
            let demand = Demand { let_through: demand.let_through, refused: demand.refused };
            let quotas::Lease { requests, sharers } = quotas.report(limit, holder, demand, now);
            let valid_ms = u64::try_from(quotas::LEASE.as_millis()).unwrap_or(u64::MAX);
            Some(Lease { limit: limit.name.clone(), requests, sharers, valid_ms })
        });
        let leases: Vec<Lease> = shared.collect();
        let limits = leases.iter().map(|lease| lease.limit.clone()).collect();
        for limit in self.limits.difference(&limits) {
            quotas.leave(limit, holder);
        }
        self.limits = limits;
        QuotaLeases { leases }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        for limit in &self.limits {
            self.quotas.leave(limit, self.holder);
        }
    }
}
