//! One request over plaintext HTTP/1.1 on this machine: to a sidecar's admin port, to a program under the mesh.
//!
//! A connection per request, so that nothing is ever sent on one that has silently ended.

use std::net::SocketAddr;

use anyhow::Context;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

const MAX_BODY_BYTES: usize = 1 << 20;

/// Sends `request` to `address` and reads the whole answer, whatever its status. Bounded by the caller's timeout.
pub async fn send(address: SocketAddr, request: Request<Bytes>) -> anyhow::Result<Response<Bytes>> {
    let stream = TcpStream::connect(address).await.with_context(|| format!("cannot connect to {address}"))?;
    stream.set_nodelay(true)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // Ends with the response's body; its error is the response's error.
    tokio::spawn(connection);
    let response = sender.send_request(request.map(Full::new)).await?;
    let (head, body) = response.into_parts();
    let body = Limited::new(body, MAX_BODY_BYTES).collect().await.map_err(anyhow::Error::from_boxed)?;
    Ok(Response::from_parts(head, body.to_bytes()))
}
