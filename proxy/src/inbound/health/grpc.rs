//! A health check by gRPC's own protocol, `grpc.health.v1.Health/Check`, over HTTP/2 with prior knowledge.

use std::net::SocketAddr;

use ::http::Uri;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio_util::task::AbortOnDropHandle;
use tonic::Code;
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};

/// An empty service is the server as a whole.
///
/// # Errors
/// The cause, in words.
pub async fn ask(stream: TcpStream, at: SocketAddr, service: &str) -> Result<(), String> {
    let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
    let (sender, connection) = handshake.map_err(|error| format!("{at} does not speak HTTP/2: {error}"))?;
    let _connection = AbortOnDropHandle::new(tokio::spawn(connection));
    let origin: Uri = format!("http://{at}").parse().map_err(|error| format!("{at} cannot be asked: {error}"))?;
    let transport = tower::service_fn(move |request| {
        let mut sender = sender.clone();
        async move { sender.send_request(request).await }
    });
    let request = HealthCheckRequest { service: service.to_owned() };
    match HealthClient::with_origin(transport, origin).check(request).await {
        Ok(response) => match response.get_ref().status() {
            ServingStatus::Serving => Ok(()),
            other => Err(format!("{} answered {}", name(service), other.as_str_name())),
        },
        Err(status) if status.code() == Code::NotFound => Err(format!("{} is not known there", name(service))),
        Err(status) => Err(format!("{} failed: {}: {:?}", name(service), status.code(), status.message())),
    }
}

pub fn name(service: &str) -> String {
    match service {
        "" => "Health/Check".to_owned(),
        service => format!("Health/Check of {service:?}"),
    }
}
