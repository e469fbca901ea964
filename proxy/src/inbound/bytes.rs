//! Connections on their way in of which it is not agreed that they are requests: tunnels of other sidecars, and
//! plaintext where the port takes it.
//!
//! Requests among them still take the path of requests: what the application is told about its caller must come from
//! here, also when the caller's sidecar did not look.

use std::{sync::Arc, time::Duration};

use ::bytes::{Bytes, BytesMut};
use tokio::{io::AsyncRead, net::TcpStream};
use weft_certs::SpiffeId;
use weft_proxy_api::destination::Protocol;

use super::{AHEAD, Arrival, Inbound, handshake, requests};
use crate::{
    error::{Kind, ProxyError},
    http::{client::Target, http1, refuse},
    net::{
        Io, Socket,
        copy::{End, join},
        detect::Seen,
        opening::{Ended, Opening, Server, hello, listen},
    },
    telemetry::{Carriage, carriage::refused, metrics::Direction},
    tls,
};

/// The application is on the same machine: it answers a connect at once or not at all.
const CONNECT_LIMIT: Duration = Duration::from_secs(1);
/// The application, in metrics and in the access log.
const APP: &str = "app";

/// A connection of the caller's application, which its sidecar carries as bytes.
pub(super) async fn tunnel(cx: Arc<Inbound>, mut io: Io, peer: SpiffeId, arrival: Arrival) {
    let mut ahead = BytesMut::new();
    match open(&cx, &mut io, &mut ahead, &arrival, false).await {
        Ok(Carried::Requests) => {
            requests(cx, http1::Connection::read_ahead(io, ahead), None, Some(peer), arrival).await;
        }
        Ok(Carried::Bytes(app, said)) => {
            let client = End { io, ahead: ahead.freeze() };
            carry(&cx, client, End { io: app, ahead: said }, Some(&peer), &arrival).await;
        }
        Ok(Carried::Mesh) => failed(&cx, &nested(), &arrival),
        Err(Ended::Client(error)) => tracing::debug!(%error, "a caller broke off before it said anything"),
        Err(Ended::Server(error)) => failed(&cx, &error, &arrival),
    }
}

/// Mutual TLS from the mesh, plaintext from others.
pub(super) async fn permissive(cx: Arc<Inbound>, mut stream: TcpStream, arrival: Arrival) {
    let mut ahead = BytesMut::with_capacity(AHEAD);
    match open(&cx, &mut stream, &mut ahead, &arrival, true).await {
        Ok(Carried::Mesh) => Box::pin(handshake(cx, stream, ahead.freeze(), arrival)).await,
        Ok(Carried::Requests) => {
            let io = http1::Connection::read_ahead(Io::Plain(Socket::new(stream)), ahead);
            requests(cx, io, None, None, arrival).await;
        }
        Ok(Carried::Bytes(app, said)) => {
            let client = End { io: Io::Plain(Socket::new(stream)), ahead: ahead.freeze() };
            carry(&cx, client, End { io: app, ahead: said }, None, &arrival).await;
        }
        Err(Ended::Client(error)) => tracing::debug!(%error, "a caller broke off before it said anything"),
        Err(Ended::Server(error)) => {
            failed(&cx, &error, &arrival);
            let io = Io::Plain(Socket::new(stream));
            refuse::refuse(io, ahead, Direction::Inbound, &error, &cx.metrics).await;
        }
    }
}

/// Plaintext that nobody looks at.
pub(super) async fn plaintext(cx: &Inbound, stream: TcpStream, arrival: Arrival) {
    let client = Io::Plain(Socket::new(stream));
    match connect(cx, arrival.app.as_deref()).await {
        Ok(app) => carry(cx, client.into(), app.into(), None, &arrival).await,
        Err(error) => {
            failed(cx, &error, &arrival);
            client.abort();
        }
    }
}

enum Carried {
    /// HTTP.
    Requests,
    /// Anything else, to the application, which has said something already.
    Bytes(Io, Bytes),
    /// Mutual TLS of another sidecar.
    Mesh,
}

/// Finds out what the connection carries, as far as the port is not declared, and connects to the application.
async fn open(
    cx: &Inbound,
    client: &mut (impl AsyncRead + Unpin),
    ahead: &mut BytesMut,
    arrival: &Arrival,
    expects_mesh: bool,
) -> Result<Carried, Ended> {
    let app = arrival.app.as_deref();
    let is_bytes = matches!(arrival.port.protocol, Protocol::Tcp | Protocol::Tls);
    if is_bytes && !expects_mesh {
        return connected(cx, app, Server::NotYet).await;
    }
    match listen(client, ahead, expects_mesh, connect(cx, app)).await? {
        Opening::Server(app, said) if !requires_http(arrival) => Ok(Carried::Bytes(app, said.freeze())),
        Opening::Server(..) => Err(Ended::Server(not_http(arrival))),
        Opening::Client(Seen::Tls, server) => match hello(client, ahead, tls::is_of_the_mesh).await?.is_of_the_mesh {
            true => Ok(Carried::Mesh),
            false if requires_http(arrival) => Err(Ended::Server(not_http(arrival))),
            false => connected(cx, app, server).await,
        },
        Opening::Client(Seen::Http1 | Seen::Http2, _) if !is_bytes => Ok(Carried::Requests),
        Opening::Client(..) if requires_http(arrival) => Err(Ended::Server(not_http(arrival))),
        Opening::Client(_, server) => connected(cx, app, server).await,
    }
}

fn requires_http(arrival: &Arrival) -> bool {
    matches!(arrival.port.protocol, Protocol::Http1 | Protocol::Http2 | Protocol::Grpc)
}

async fn connected(cx: &Inbound, app: Option<&Target>, server: Server<Io>) -> Result<Carried, Ended> {
    Ok(Carried::Bytes(server.or_connect(connect(cx, app)).await?, Bytes::new()))
}

async fn connect(cx: &Inbound, app: Option<&Target>) -> Result<Io, ProxyError> {
    let app = app.ok_or_else(|| ProxyError::new(Kind::NoEndpoints, "this workload serves nothing"))?;
    let connected = cx.client.bytes(app, CONNECT_LIMIT, None).await;
    connected.map_err(|error| {
        cx.app_missed.send_replace(());
        ProxyError { details: format!("the application: {}", error.details), ..error }
    })
}

fn not_http(arrival: &Arrival) -> ProxyError {
    let details = format_args!("port {} is declared to take HTTP, and the connection is not HTTP", arrival.port.port);
    ProxyError::new(Kind::NotHttp, details)
}

fn nested() -> ProxyError {
    ProxyError::new(Kind::BadRequest, "mutual TLS of the mesh within mutual TLS of the mesh")
}

async fn carry(cx: &Inbound, client: End, app: End, peer: Option<&SpiffeId>, arrival: &Arrival) {
    let to = arrival.app_address();
    let direction = Direction::Inbound;
    let mut carriage = Carriage::begin(direction, to.to_string().into(), APP.into(), &cx.metrics, &cx.access_log);
    carriage.with(to, peer);
    if let Err(broken) = join(client, app, &mut carriage.moved).await {
        tracing::debug!(peer = %arrival.from, %broken, "a connection broke");
        carriage.broke(broken.to_string());
    }
}

pub(super) fn failed(cx: &Inbound, error: &ProxyError, arrival: &Arrival) {
    tracing::warn!(peer = %arrival.from, reason = error.kind.meaning().label, "a connection was refused: {error}");
    let to = arrival.app_address().to_string();
    refused(Direction::Inbound, &to, error, &cx.metrics, &cx.access_log);
}
