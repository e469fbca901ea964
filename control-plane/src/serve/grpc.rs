//! The gRPC server for sidecars: discovery, identity, workloads and quotas, on one TLS listener.
//!
//! A client certificate is optional here, because the first SVID is asked for without one; each service checks what it
//! needs. Keep-alive finds peers that have vanished without closing.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio_stream::{StreamExt, wrappers::ReceiverStream};
use weft_proxy_api::proto::{
    discovery::aggregated_discovery_service_server::AggregatedDiscoveryServiceServer,
    identity::v1::identity_server::IdentityServer, quota::v1::quotas_server::QuotasServer,
    workload::v1::workloads_server::WorkloadsServer,
};

use super::{discovery::Discovery, identity::Identity, listener::Connection, quotas::Quotas, workloads::Workloads};
use crate::tasks::Tasks;

const KEEP_ALIVE: Duration = Duration::from_secs(20);
/// A sidecar needs four; the rest is room for tools.
const STREAMS_PER_CONNECTION: u32 = 64;

pub struct Services {
    pub discovery: Discovery,
    pub identity: Identity,
    pub workloads: Workloads,
    pub quotas: Quotas,
}

/// Serves until the control plane stops, then lets requests in flight end.
pub async fn serve(connections: mpsc::Receiver<Connection>, services: Services, tasks: Tasks) {
    let stopped = tasks.clone();
    let incoming = ReceiverStream::new(connections).map(Ok::<_, std::io::Error>);
    let serving = tonic::transport::Server::builder()
        .http2_keepalive_interval(Some(KEEP_ALIVE))
        .http2_keepalive_timeout(Some(KEEP_ALIVE))
        .max_concurrent_streams(STREAMS_PER_CONNECTION)
        .add_service(AggregatedDiscoveryServiceServer::new(services.discovery))
        .add_service(IdentityServer::new(services.identity))
        .add_service(WorkloadsServer::new(services.workloads))
        .add_service(QuotasServer::new(services.quotas))
        .serve_with_incoming_shutdown(incoming, async move { stopped.stopped().await });
    tokio::select! {
        result = serving => if let Err(error) = result {
            tracing::error!(%error, "the gRPC server failed");
        },
        () = tasks.drained() => tracing::warn!("some sidecars did not end their requests in time"),
    }
}
