//! The part of a sidecar that speaks with the control plane.

use std::sync::Arc;

use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, sync::mpsc};
use tokio_rustls::TlsConnector;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Status, Streaming,
    transport::{Channel, Endpoint},
};
use weft_certs::{Identity, KeyRequest, SpiffeId, TrustBundle, tls};
use weft_proxy_api::{
    Kind,
    proto::{
        discovery::{
            DeltaDiscoveryRequest, DeltaDiscoveryResponse, Node,
            aggregated_discovery_service_client::AggregatedDiscoveryServiceClient,
        },
        identity::v1::{CertifyRequest, CertifyResponse, identity_client::IdentityClient},
        workload::v1::{Registration, ReportAck, WorkloadReport, workloads_client::WorkloadsClient},
    },
};

use crate::ControlPlane;

/// A connection to the control plane, with or without an SVID.
pub async fn connect(
    mesh: &ControlPlane,
    identity: Option<&Arc<Identity>>,
) -> Result<Channel, tonic::transport::Error> {
    let bundle = TrustBundle::from_pem(&mesh.app.credentials.trust_anchor).unwrap();
    let config = match identity {
        Some(identity) => tls::client_config(identity, &[b"h2"]),
        None => {
            let expected = SpiffeId::control_plane(bundle.trust_domain());
            tls::bootstrap_client_config(bundle, expected, &[b"h2"])
        }
    };
    let (connector, address) = (TlsConnector::from(config), mesh.app.grpc);
    let connect = tower::service_fn(move |_| {
        let connector = connector.clone();
        async move {
            let stream = connector.connect(tls::no_sni(), TcpStream::connect(address).await?).await?;
            Ok::<_, std::io::Error>(TokioIo::new(stream))
        }
    });
    Endpoint::from_static("http://control-plane").connect_with_connector(connect).await
}

/// Asks for an SVID; the key stays here.
pub async fn certify(channel: Channel, token: &str) -> Result<(KeyRequest, CertifyResponse), Status> {
    let key = KeyRequest::generate().unwrap();
    let request = CertifyRequest { csr_der: key.csr_der().to_vec(), join_token: token.to_owned() };
    let response = IdentityClient::new(channel).certify(request).await?.into_inner();
    Ok((key, response))
}

pub fn complete((key, response): (KeyRequest, CertifyResponse)) -> Arc<Identity> {
    let chain = response.chain_der.into_iter().map(Into::into).collect();
    let bundle = weft_proxy_api::trust_bundle::from_wire(response.trust_bundle.unwrap()).unwrap();
    Identity::new(key.complete(chain).unwrap(), bundle)
}

/// A workload of `account` in the namespace `shop`.
pub async fn join(mesh: &ControlPlane, account: &str) -> Arc<Identity> {
    let token = mesh.token(account, 1).await;
    complete(certify(connect(mesh, None).await.unwrap(), &token).await.unwrap())
}

pub struct Discovery {
    requests: mpsc::Sender<DeltaDiscoveryRequest>,
    responses: Streaming<DeltaDiscoveryResponse>,
    workload: String,
}

impl Discovery {
    pub async fn open(mesh: &ControlPlane, identity: &Arc<Identity>, workload: &str) -> Self {
        let (requests, queue) = mpsc::channel(8);
        let mut client = AggregatedDiscoveryServiceClient::new(connect(mesh, Some(identity)).await.unwrap());
        let responses = client.delta_aggregated_resources(ReceiverStream::new(queue)).await.unwrap().into_inner();
        Self { requests, responses, workload: workload.to_owned() }
    }

    pub async fn send(&self, request: DeltaDiscoveryRequest) {
        let node = Some(Node { id: self.workload.clone(), ..Default::default() });
        self.requests.send(DeltaDiscoveryRequest { node, ..request }).await.unwrap();
    }

    pub async fn subscribe(&self, kind: Kind, name: &str, version: Option<&str>) {
        self.send(DeltaDiscoveryRequest {
            type_url: kind.type_url().to_owned(),
            resource_names_subscribe: vec![name.to_owned()],
            initial_resource_versions: version
                .map(|version| (name.to_owned(), version.to_owned()))
                .into_iter()
                .collect(),
            ..Default::default()
        })
        .await;
    }

    pub async fn next(&mut self) -> DeltaDiscoveryResponse {
        self.try_next().await.unwrap()
    }

    pub async fn try_next(&mut self) -> Result<DeltaDiscoveryResponse, Status> {
        let message = tokio::time::timeout(crate::harness::DEADLINE, self.responses.message()).await;
        Ok(message.expect("a response in time")?.expect("the stream goes on"))
    }

    pub async fn answer(&self, response: &DeltaDiscoveryResponse, error: Option<&str>) {
        let status = |message: &str| weft_proxy_api::proto::discovery::Status {
            code: 3,
            message: message.to_owned(),
            details: Vec::new(),
        };
        self.send(DeltaDiscoveryRequest {
            type_url: response.type_url.clone(),
            response_nonce: response.nonce.clone(),
            error_detail: error.map(status),
            ..Default::default()
        })
        .await;
    }
}

pub struct Reports {
    reports: mpsc::Sender<WorkloadReport>,
    acks: Streaming<ReportAck>,
    workload: String,
    sequence: u64,
}

impl Reports {
    pub async fn open(mesh: &ControlPlane, identity: &Arc<Identity>, workload: &str) -> Self {
        let (reports, queue) = mpsc::channel(8);
        let mut client = WorkloadsClient::new(connect(mesh, Some(identity)).await.unwrap());
        let acks = client.report(ReceiverStream::new(queue)).await.unwrap().into_inner();
        Self { reports, acks, workload: workload.to_owned(), sequence: 0 }
    }

    /// Sends a report and waits for its acknowledgement; the reason if it was refused.
    pub async fn send(&mut self, report: WorkloadReport) -> Result<String, Status> {
        self.sequence += 1;
        let report = WorkloadReport { sequence: self.sequence, workload: self.workload.clone(), ..report };
        self.reports.send(report).await.unwrap();
        let ack = tokio::time::timeout(crate::harness::DEADLINE, self.acks.message()).await.expect("an ack in time")?;
        let ack = ack.expect("the stream goes on");
        assert_eq!(ack.sequence, self.sequence);
        Ok(ack.refused)
    }
}

pub fn serving(service: &str, port: u16) -> WorkloadReport {
    WorkloadReport {
        registration: Some(Registration {
            service: service.to_owned(),
            service_port: 80,
            address: format!("127.0.0.1:{port}"),
            labels: [("version".to_owned(), "v1".to_owned())].into(),
            zone: String::new(),
            further_ports: Vec::new(),
        }),
        serving: true,
        version: "test".to_owned(),
        ..Default::default()
    }
}
