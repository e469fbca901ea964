//! The way out: from the local application to the service that it names.
//!
//! Two listeners. An explicit proxy on loopback takes absolute-form requests (`HTTP_PROXY`), origin-form requests with a
//! mesh name in `Host`, HTTP/2 with prior knowledge, and `CONNECT`, inside which any protocol is spoken. The other takes
//! redirected connections ([`intercept`]), and knows them by the address that they were made to.

mod admit;
mod attempt;
mod authority;
mod cached;
mod carry;
mod degrade;
mod forward;
pub mod intercept;
mod member;
mod mirror;
mod shaping;
mod upstream;

use std::{
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use authority::Addressed;
use http::{Method, Request, Response, StatusCode, request::Parts, uri::Authority};
use member::Member;
pub use mirror::Copies;
use tokio::net::TcpListener;
use weft_proxy_api::ServicePort;

use crate::{
    balance::Source,
    drain::Drain,
    error::ProxyError,
    http::{
        answer,
        body::Body,
        client::Client,
        http1,
        pool::Pool,
        server::{self, Handler, Limits},
        upgrade,
    },
    mesh::Store,
    net::{Io, Socket, listener},
    telemetry::{AccessLog, Exchange, Metrics, metrics::Direction},
};

/// An application may keep a connection to its sidecar for as long as it likes; this only ends the forgotten ones.
const IDLE_LIMIT: Duration = Duration::from_secs(3600);

/// What one worker's outbound side needs.
pub struct Outbound {
    /// Where host names without a namespace are looked for.
    pub namespace: String,
    /// This workload's id.
    pub workload: Arc<str>,
    pub discovery_timeout: Duration,
    pub mesh: Arc<Store>,
    pub pool: Arc<Pool>,
    pub client: Arc<Client>,
    pub max_connections: usize,
    pub copies: Copies,
    pub drain: Drain,
    pub metrics: Arc<Metrics>,
    pub access_log: Arc<AccessLog>,
}

/// One connection of the application.
struct Connection {
    cx: Arc<Outbound>,
    aim: Aim,
    /// The application's address.
    peer: IpAddr,
    /// What its last request was addressed to.
    addressed: Mutex<Option<Arc<Addressed>>>,
}

/// Where the requests of a connection go.
enum Aim {
    /// Where each of them says.
    Named,
    /// Inside a `CONNECT` tunnel: where it leads.
    Tunnel(Authority),
    /// To the service that the application has connected to.
    Service(ServicePort),
    /// To the endpoint that it has connected to.
    Member(Member),
}

/// Accepts connections for as long as the process runs.
pub async fn run(cx: Arc<Outbound>, listener: TcpListener) {
    loop {
        let (stream, peer, open) =
            listener::admit(&listener, &cx.metrics, Direction::Outbound, cx.max_connections).await;
        let connection = Arc::new(Connection::new(cx.clone(), Aim::Named, peer.ip()));
        let place = cx.drain.place();
        tokio::spawn(async move {
            serve(connection, http1::Connection::new(Io::Plain(Socket::new(stream)))).await;
            drop((open, place));
        });
    }
}

async fn serve(connection: Arc<Connection>, io: http1::Connection) {
    let cx = connection.cx.clone();
    let limits = Limits { idle: IDLE_LIMIT, ..Limits::default() };
    server::serve(io, None, limits, connection, &cx.drain, &cx.metrics).await;
}

impl Handler for Connection {
    const SIDE: Direction = Direction::Outbound;

    async fn handle(self: Arc<Self>, request: Request<Body>) -> Response<Body> {
        if request.method() == Method::CONNECT && !upgrade::is_extended(&request) {
            return self.open_tunnel(request);
        }
        let (mut parts, body) = request.into_parts();
        let request_id = crate::http::headers::request_id(&mut parts.headers);
        let cx = &self.cx;
        let mut exchange = Exchange::begin(Direction::Outbound, &parts, &cx.access_log);
        let result = forward::forward(&self, Request::from_parts(parts, body), &mut exchange).await;
        let response = result.unwrap_or_else(|error| {
            exchange.failed(&error, &cx.metrics);
            answer::failure(&error, Direction::Outbound, exchange.is_grpc, &request_id)
        });
        exchange.finish(response.status(), &cx.access_log);
        response
    }
}

impl Connection {
    fn new(cx: Arc<Outbound>, aim: Aim, peer: IpAddr) -> Self {
        Self { cx, aim, peer, addressed: Mutex::default() }
    }

    fn source(&self) -> Source<'_> {
        Source { peer: self.peer, workload: &self.cx.workload }
    }

    fn addressed(&self, parts: &Parts) -> Result<Arc<Addressed>, ProxyError> {
        let mut last = self.addressed.lock().unwrap_or_else(PoisonError::into_inner);
        let addressed = match &self.aim {
            Aim::Named => Addressed::of(parts, None, &self.cx.namespace, last.as_ref())?,
            Aim::Tunnel(tunnel) => Addressed::of(parts, Some(tunnel), &self.cx.namespace, last.as_ref())?,
            Aim::Service(name) => Addressed::at(parts, name, last.as_ref())?,
            Aim::Member(member) => Addressed::at(parts, &member.service, last.as_ref())?,
        };
        *last = Some(addressed.clone());
        Ok(addressed)
    }

    /// Answers `CONNECT` and carries what is inside the tunnel.
    fn open_tunnel(&self, mut request: Request<Body>) -> Response<Body> {
        let (cx, peer, authority) = (self.cx.clone(), self.peer, request.uri().authority().cloned());
        let caller = upgrade::on(&mut request);
        let place = cx.drain.place();
        tokio::spawn(async move {
            let Some(io) = caller.connection().await else { return tracing::debug!("a tunnel was not opened") };
            let Some(open) = cx.metrics.connection(Direction::Outbound, cx.max_connections) else {
                return io.into_parts().0.abort();
            };
            // Boxed, since serving and opening tunnels would otherwise contain each other.
            match authority {
                Some(authority) => Box::pin(carry::tunnel(cx, io, peer, authority)).await,
                None => Box::pin(serve(Arc::new(Connection::new(cx, Aim::Named, peer)), io)).await,
            }
            drop((open, place));
        });
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::OK;
        response
    }
}

#[cfg(test)]
mod tests;
