//! The way in: from other sidecars, over mutual TLS, to the local application.
//!
//! Whoever has no valid SVID of the trust domain does not get past the handshake, unless the port is declared to take
//! plaintext. The application learns who called from `weft-client-id`, which nobody else can set.
//!
//! A connection that was redirected here goes on to the address that it was made to; one that was made to the listener
//! itself goes to the application that the settings name.

mod apps;
mod bytes;
mod forward;
pub mod health;
mod rate_limit;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use ::bytes::{Bytes, BytesMut};
use ::http::{HeaderValue, Request, Response};
use tokio::{
    io::AsyncReadExt,
    net::{TcpListener, TcpStream},
    sync::watch,
    time::timeout,
};
use weft_certs::SpiffeId;
use weft_proxy_api::inbound::{InboundPort, Mtls};

pub use apps::{Apps, reachable};

use crate::{
    drain::Drain,
    error::{Kind, ProxyError},
    http::{
        answer,
        body::Body,
        client::{Client, Target},
        headers, http1,
        pool::{IDLE_LIMIT as POOL_IDLE_LIMIT, Pool},
        refuse,
        server::{self, Handler, Limits},
    },
    mesh::Store,
    net::{
        self, Hop, Io, Socket,
        detect::{Seen, classify},
        listener,
    },
    telemetry::{
        AccessLog, Exchange, Metrics,
        metrics::{Direction, RequestMetrics},
    },
    tls::{
        Carries,
        acceptor::{Acceptor, HANDSHAKE_TIMEOUT},
    },
};

/// Longer than a calling sidecar keeps an idle connection, so that it is never this side that closes first.
const IDLE_LIMIT: Duration = Duration::from_secs(POOL_IDLE_LIMIT.as_secs() + 25);
/// What is read at first: a client's hello with a post-quantum key share, or a small request.
const AHEAD: usize = 4 << 10;

/// What one worker's inbound side needs.
pub struct Inbound {
    pub mesh: Arc<Store>,
    pub apps: Apps,
    pub pool: Arc<Pool>,
    pub client: Arc<Client>,
    pub acceptor: Acceptor,
    pub max_connections: usize,
    pub drain: Drain,
    /// Told when the application could not be reached.
    pub app_missed: watch::Sender<()>,
    pub requests: Arc<RequestMetrics>,
    pub metrics: Arc<Metrics>,
    pub access_log: Arc<AccessLog>,
}

/// One connection that carries requests.
struct Connection {
    cx: Arc<Inbound>,
    app: Option<Arc<Target>>,
    /// Of the application, as others know it.
    port: u16,
    /// `None`: it came in plaintext, which the port takes.
    peer: Option<SpiffeId>,
    speaks: Option<Hop>,
    /// `peer`, as the application gets it.
    client_id: Option<HeaderValue>,
    /// Where it comes from, as the application is told.
    address: headers::Peer,
}

/// A connection that was accepted, before anything is known of it.
struct Arrival {
    from: SocketAddr,
    /// Where it goes; `None`: this workload serves nothing.
    app: Option<Arc<Target>>,
    port: InboundPort,
}

impl Arrival {
    /// Where it goes, for people.
    fn app_address(&self) -> SocketAddr {
        let nowhere = SocketAddr::from(([0, 0, 0, 0], self.port.port));
        self.app.as_ref().map_or(nowhere, |app| app.address)
    }

    fn plaintext_refused(&self) -> ProxyError {
        let (port, from) = (self.port.port, self.from.ip());
        let details = format_args!(
            "port {port} takes mutual TLS only, and {from} speaks plaintext: call it from a workload of the mesh, or \
             allow plaintext with mtls: permissive in an AccessPolicy"
        );
        ProxyError::new(Kind::PlaintextRefused, details)
    }
}

/// Accepts connections until the drain begins. The listener is closed then, so that who still comes is refused at once
/// and turns to another endpoint.
pub async fn run(cx: Arc<Inbound>, listener: TcpListener) {
    loop {
        let (stream, address, open) = tokio::select! {
            admitted = listener::admit(&listener, &cx.metrics, Direction::Inbound, cx.max_connections) => admitted,
            () = cx.drain.begun() => return,
        };
        let cx = cx.clone();
        tokio::spawn(async move {
            arrive(cx, stream, net::canonical(address)).await;
            drop(open);
        });
    }
}

async fn arrive(cx: Arc<Inbound>, stream: TcpStream, from: SocketAddr) {
    let _place = cx.drain.place();
    let original = net::original_dst(&stream);
    let app = cx.apps.behind(original);
    // Others know the application by the port that they connect to, which without redirection is the listener's own.
    let reached = original.or_else(|| stream.local_addr().ok());
    let port = reached.map_or(0, |reached| reached.port());
    let enforced = cx.mesh.inbound();
    let strict = InboundPort { port, mtls: Mtls::Strict, protocol: Default::default() };
    let port = enforced.as_ref().as_ref().map_or(strict, |enforced| enforced.port(port));
    let arrival = Arrival { from, app, port };
    match port.mtls {
        Mtls::Strict => strict_only(cx, stream, arrival).await,
        Mtls::Permissive => bytes::permissive(cx, stream, arrival).await,
        Mtls::Off => bytes::plaintext(&cx, stream, arrival).await,
    }
}

/// Mutual TLS or nothing.
async fn strict_only(cx: Arc<Inbound>, mut stream: TcpStream, arrival: Arrival) {
    let mut ahead = BytesMut::with_capacity(AHEAD);
    match timeout(HANDSHAKE_TIMEOUT, stream.read_buf(&mut ahead)).await {
        Ok(Ok(1..)) => {}
        // Who connects and says nothing is looking whether the port is open, or waits for a server in vain.
        Ok(_) => return,
        Err(_) => return refuse_plaintext(&cx, stream, ahead, &arrival).await,
    }
    match classify(&ahead) {
        Seen::Tls | Seen::Undecided { likely_http: false } => handshake(cx, stream, ahead.freeze(), arrival).await,
        _ => refuse_plaintext(&cx, stream, ahead, &arrival).await,
    }
}

async fn refuse_plaintext(cx: &Inbound, stream: TcpStream, ahead: BytesMut, arrival: &Arrival) {
    let error = arrival.plaintext_refused();
    bytes::failed(cx, &error, arrival);
    refuse::refuse(Io::Plain(Socket::new(stream)), ahead, Direction::Inbound, &error, &cx.metrics).await;
}

/// Mutual TLS, and then whatever is agreed to be carried.
async fn handshake(cx: Arc<Inbound>, stream: TcpStream, ahead: Bytes, arrival: Arrival) {
    let accepted = match cx.acceptor.accept(Socket::read_ahead(stream, ahead)).await {
        Ok(accepted) => accepted,
        Err(refusal) => {
            cx.metrics.handshake_refused(Direction::Inbound, refusal.label());
            let (peer, reason) = (arrival.from, refusal.label());
            tracing::warn!(%peer, reason, "a connection was refused: {refusal}");
            return;
        }
    };
    let io = Io::TlsServer(Box::new(accepted.stream));
    match accepted.carries {
        Carries::Http(hop) => {
            let io = http1::Connection::new(io);
            requests(cx, io, Some(hop), Some(accepted.peer), arrival).await;
        }
        Carries::Bytes => bytes::tunnel(cx, io, accepted.peer, arrival).await,
    }
}

/// Serves requests to the application.
async fn requests(
    cx: Arc<Inbound>,
    io: http1::Connection,
    speaks: Option<Hop>,
    peer: Option<SpiffeId>,
    arrival: Arrival,
) {
    let scheme = if peer.is_some() { "https" } else { "http" };
    let connection = Arc::new(Connection {
        client_id: peer.as_ref().and_then(|peer| HeaderValue::from_str(peer.as_str()).ok()),
        peer,
        speaks,
        address: headers::Peer::new(arrival.from.ip(), scheme),
        app: arrival.app,
        port: arrival.port.port,
        cx: cx.clone(),
    });
    let limits = Limits { idle: IDLE_LIMIT, ..Limits::default() };
    server::serve(io, speaks, limits, connection, &cx.drain, &cx.metrics).await;
}

impl Handler for Connection {
    const SIDE: Direction = Direction::Inbound;

    async fn handle(self: Arc<Self>, request: Request<Body>) -> Response<Body> {
        let cx = &self.cx;
        let (mut parts, body) = request.into_parts();
        let request_id = headers::request_id(&mut parts.headers);
        let mut exchange = Exchange::begin(Direction::Inbound, &parts, &cx.access_log);
        exchange.note(|record| record.peer = self.peer.as_ref().map(ToString::to_string));
        exchange.answered_by("app", &cx.requests);
        let (admitted, quota) = rate_limit::admit(&self, &parts, exchange.started());
        let result = match admitted {
            Ok(()) => forward::forward(&self, Request::from_parts(parts, body)).await,
            Err(refused) => Err(refused.into()),
        };
        let mut response = result.unwrap_or_else(|forward::Failed { error, mark }| {
            exchange.failed(&error, &cx.metrics);
            let mut answer = answer::failure(&error, Direction::Inbound, exchange.is_grpc, &request_id);
            if error.kind.is_before_sending() {
                cx.app_missed.send_replace(());
            }
            // Outside the mesh nobody is told.
            if let Some(mark) = mark.filter(|_| self.peer.is_some()) {
                mark.set(answer.headers_mut());
            }
            answer
        });
        if let Some(quota) = quota {
            quota.write(response.headers_mut());
        }
        exchange.finish(response.status(), &cx.access_log);
        response
    }
}
