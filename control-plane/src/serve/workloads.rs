//! Reports: what sidecars say about themselves, and the endpoints that come of it.
//!
//! Decides whether a workload may be what it says to be: the namespace and account of its SVID must have been granted
//! the service. When its endpoint is there and for how long is `mesh`'s; what is only shown to people goes to `fleet`.

mod report;

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use weft_certs::{SpiffeId, TrustDomain};
use weft_proxy_api::proto::workload::v1::{ReportAck, WorkloadReport, workloads_server};

use crate::{
    endpoints::registration::Holder,
    fleet::{Fleet, Presence},
    mesh::{Mesh, MeshError},
    store::{self, Registration, Store, StoreError},
    tasks::Tasks,
    telemetry::Metrics,
};
use report::RegistrationError;

#[derive(Clone)]
pub struct Workloads {
    pub mesh: Mesh,
    pub store: Arc<Store>,
    pub fleet: Arc<Fleet>,
    pub metrics: Arc<Metrics>,
    pub trust_domain: TrustDomain,
    pub holders: Arc<AtomicU64>,
    pub tasks: Tasks,
}

#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error(transparent)]
    Registration(#[from] RegistrationError),
    #[error(
        "{identity} has no right to register the service {service}: it needs a join token made for that service (weft token create)"
    )]
    NotGranted { identity: SpiffeId, service: String },
    #[error(transparent)]
    Store(#[from] StoreError),
}

#[tonic::async_trait]
impl workloads_server::Workloads for Workloads {
    type ReportStream = ReceiverStream<Result<ReportAck, Status>>;

    async fn report(
        &self,
        request: Request<Streaming<WorkloadReport>>,
    ) -> Result<Response<Self::ReportStream>, Status> {
        let identity = super::workload(&request, &self.trust_domain)?;
        let (acks, queue) = mpsc::channel(1);
        let (this, mut reports) = (self.clone(), request.into_inner());
        self.tasks.spawn(async move {
            if let Err(status) = this.serve(&mut reports, &acks, &identity).await {
                tracing::debug!(peer = %identity, %status, "the report stream ends");
                // Fails only when the sidecar has gone.
                let _ = acks.send(Err(status)).await;
            }
        });
        Ok(Response::new(ReceiverStream::new(queue)))
    }
}

impl Workloads {
    async fn serve(
        &self,
        reports: &mut Streaming<WorkloadReport>,
        acks: &mpsc::Sender<Result<ReportAck, Status>>,
        identity: &SpiffeId,
    ) -> Result<(), Status> {
        let Some(first) = reports.message().await? else { return Ok(()) };
        super::check_workload_id(&first.workload)?;
        let presence = self
            .fleet
            .connect(&first.workload, identity)
            .map_err(|error| Status::permission_denied(error.to_string()))?;
        let lease = Lease {
            mesh: self.mesh.clone(),
            tasks: self.tasks.clone(),
            id: first.workload.clone(),
            holder: self.holders.fetch_add(1, Ordering::Relaxed),
        };
        let mut next = Some(first);
        while let Some(report) = next {
            if report.workload != lease.id {
                return Err(Status::invalid_argument("a stream reports one workload only"));
            }
            let sequence = report.sequence;
            let refused = self.take(&lease, &presence, identity, report).await?.unwrap_or_default();
            if acks.send(Ok(ReportAck { sequence, refused })).await.is_err() {
                return Ok(());
            }
            next = reports.message().await?;
        }
        Ok(())
    }

    /// Takes one report in; the reason, if its registration was refused.
    async fn take(
        &self,
        lease: &Lease,
        presence: &Presence,
        identity: &SpiffeId,
        mut report: WorkloadReport,
    ) -> Result<Option<String>, Status> {
        let registration = report.registration.take().filter(|_| !report.leaving);
        let serving = report.serving;
        presence.update(|sidecar| report::show(report, sidecar));
        let Some(wire) = registration else {
            self.mesh.leave(&lease.id, lease.holder).await.map_err(unavailable)?;
            return Ok(None);
        };
        let checked = match report::registration(wire, serving, identity) {
            Ok(registration) => self.granted(registration).await,
            Err(error) => Err(error.into()),
        };
        match checked {
            Ok(registration) => {
                self.mesh.register(&lease.id, lease.holder, registration).await.map_err(unavailable)?;
                Ok(None)
            }
            Err(Refused::Store(error)) => Err(unavailable(error.into())),
            Err(refused) => {
                tracing::warn!(workload = lease.id, peer = %identity, reason = %refused, "registration refused");
                self.metrics.registrations_refused.inc();
                self.mesh.leave(&lease.id, lease.holder).await.map_err(unavailable)?;
                Ok(Some(refused.to_string()))
            }
        }
    }

    async fn granted(&self, registration: Registration) -> Result<Registration, Refused> {
        let identity = registration.identity.clone();
        let granted = store::blocking(&self.store, move |store| store.grants(&identity)).await?;
        if !granted.contains(&registration.service) {
            let service = registration.service_name().to_string();
            return Err(Refused::NotGranted { identity: registration.identity, service });
        }
        Ok(registration)
    }
}

/// The hold of one stream on its workload's endpoint. However the stream ends, the grace period begins.
struct Lease {
    mesh: Mesh,
    tasks: Tasks,
    id: String,
    holder: Holder,
}

impl Drop for Lease {
    fn drop(&mut self) {
        let (mesh, id, holder) = (self.mesh.clone(), self.id.clone(), self.holder);
        self.tasks.spawn_to_end(async move { mesh.lose(&id, holder).await });
    }
}

fn unavailable(error: MeshError) -> Status {
    Status::unavailable(error.to_string())
}
