//! A health check by HTTP/1.1: a `GET`, and the status of its answer.

use std::{net::SocketAddr, time::Duration};

use ::http::{Request, StatusCode, header};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time::timeout};
use tokio_util::task::AbortOnDropHandle;

const USER_AGENT: &str = concat!("weft-health-check/", env!("CARGO_PKG_VERSION"));
/// The rest of an answer is read as far as this, so that the application is not cut off while it writes.
const REST_SIZE: usize = 16 << 10;
const REST_LIMIT: Duration = Duration::from_millis(100);

/// `statuses` are those of a healthy application; none: 200 to 299.
///
/// # Errors
/// The cause, in words.
pub async fn ask(
    stream: TcpStream,
    at: SocketAddr,
    path: &str,
    host: Option<&str>,
    statuses: &[StatusCode],
) -> Result<(), String> {
    let broken = |error: hyper::Error| format!("{} got no answer: {error}", name(path));
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let connection = AbortOnDropHandle::new(tokio::spawn(connection));
    let request = Request::get(path)
        .header(header::HOST, host.map_or_else(|| at.to_string(), str::to_owned))
        .header(header::USER_AGENT, USER_AGENT)
        .header(header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|error| format!("{} cannot be asked for: {error}", name(path)))?;
    let response = sender.send_request(request).await.map_err(broken)?;
    let status = response.status();
    tokio::spawn(async move {
        let _connection = connection;
        let _ = timeout(REST_LIMIT, Limited::new(response.into_body(), REST_SIZE).collect()).await;
    });
    let is_expected = if statuses.is_empty() { status.is_success() } else { statuses.contains(&status) };
    if is_expected { Ok(()) } else { Err(format!("{} answered {}", name(path), status.as_u16())) }
}

pub fn name(path: &str) -> String {
    format!("GET {path}")
}
