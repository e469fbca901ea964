//! The way in: from other sidecars, over mutual TLS, to the local application.
//!
//! Whoever has no valid SVID of the trust domain does not get past the handshake. The application learns who called
//! from `weft-client-id`, which nobody else can set.

pub mod app_check;
mod forward;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use http::{HeaderValue, Request, Response};
use tokio::net::{TcpListener, TcpStream};
use weft_certs::SpiffeId;

use crate::{
    drain::Drain,
    http::{
        answer,
        body::Body,
        client::Target,
        headers, http1,
        pool::{IDLE_LIMIT as POOL_IDLE_LIMIT, Pool},
        server::{self, Handler},
    },
    net::{Hop, Io, Socket, listener},
    telemetry::{
        AccessLog, Exchange, Metrics,
        metrics::{Direction, RequestMetrics},
    },
    tls::acceptor::Acceptor,
};

/// Longer than a calling sidecar keeps an idle connection, so that it is never this side that closes first.
const IDLE_LIMIT: Duration = Duration::from_secs(POOL_IDLE_LIMIT.as_secs() + 25);

/// What one worker's inbound side needs.
pub struct Inbound {
    /// The local application; `None` when it serves nothing.
    pub app: Option<Arc<Target>>,
    pub pool: Arc<Pool>,
    pub acceptor: Acceptor,
    pub drain: Drain,
    pub requests: Arc<RequestMetrics>,
    pub metrics: Arc<Metrics>,
    pub access_log: Arc<AccessLog>,
}

/// One connection of another sidecar.
struct Connection {
    cx: Arc<Inbound>,
    peer: SpiffeId,
    speaks: Hop,
    /// `peer`, as the application gets it.
    client_id: Option<HeaderValue>,
    /// Where it comes from, as the application is told.
    address: headers::Peer,
}

/// Accepts connections until the drain begins. The listener is closed then, so that who still comes is refused at once
/// and turns to another endpoint.
pub async fn run(cx: Arc<Inbound>, listener: TcpListener) {
    loop {
        let (stream, address) = tokio::select! {
            accepted = listener::accept(&listener) => accepted,
            () = cx.drain.begun() => return,
        };
        tokio::spawn(serve(cx.clone(), stream, address));
    }
}

async fn serve(cx: Arc<Inbound>, stream: TcpStream, address: SocketAddr) {
    let _place = cx.drain.place();
    let _open = cx.metrics.connection(Direction::Inbound);
    let accepted = match cx.acceptor.accept(Socket(stream)).await {
        Ok(accepted) => accepted,
        Err(refusal) => {
            cx.metrics.handshake_refused(Direction::Inbound, refusal.label());
            tracing::warn!(peer = %address, reason = refusal.label(), "a connection was refused: {refusal}");
            return;
        }
    };
    let connection = Arc::new(Connection {
        client_id: HeaderValue::from_str(accepted.peer.as_str()).ok(),
        peer: accepted.peer,
        speaks: accepted.speaks,
        address: headers::Peer::new(address.ip(), "https"),
        cx: cx.clone(),
    });
    let io = http1::Connection::new(Io::TlsServer(Box::new(accepted.stream)));
    server::serve(io, Some(accepted.speaks), IDLE_LIMIT, connection, &cx.drain, &cx.metrics).await;
}

impl Handler for Connection {
    const SIDE: Direction = Direction::Inbound;

    async fn handle(self: Arc<Self>, request: Request<Body>) -> Response<Body> {
        let cx = &self.cx;
        let (mut parts, body) = request.into_parts();
        let request_id = headers::request_id(&mut parts.headers);
        let mut exchange = Exchange::begin(Direction::Inbound, &parts, &cx.access_log);
        exchange.note(|record| record.peer = Some(self.peer.to_string()));
        exchange.answered_by("app", &cx.requests);
        let result = forward::forward(&self, Request::from_parts(parts, body)).await;
        let response = result.unwrap_or_else(|error| {
            exchange.failed(&error, &cx.metrics);
            answer::failure(&error, Direction::Inbound, exchange.is_grpc, &request_id)
        });
        exchange.finish(response.status(), &cx.access_log);
        response
    }
}
