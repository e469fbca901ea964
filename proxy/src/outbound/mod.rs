//! The way out: from the local application to the service that it names.
//!
//! An explicit proxy on loopback. It takes absolute-form requests (`HTTP_PROXY`), origin-form requests with a mesh
//! name in `Host`, HTTP/2 with prior knowledge, and `CONNECT`, inside which HTTP is spoken again.

mod attempt;
mod authority;
mod forward;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use authority::Addressed;
use http::{Method, Request, Response, StatusCode, request::Parts, uri::Authority};
use tokio::net::TcpListener;

use crate::{
    drain::Drain,
    error::ProxyError,
    http::{
        answer,
        body::Body,
        http1,
        pool::Pool,
        server::{self, Handler},
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
    pub discovery_timeout: Duration,
    pub mesh: Arc<Store>,
    pub pool: Arc<Pool>,
    pub drain: Drain,
    pub metrics: Arc<Metrics>,
    pub access_log: Arc<AccessLog>,
}

/// One connection of the application.
struct Connection {
    cx: Arc<Outbound>,
    /// Inside a `CONNECT` tunnel: where it leads.
    tunnel: Option<Authority>,
    /// What its last request was addressed to.
    addressed: Mutex<Option<Arc<Addressed>>>,
}

/// Accepts connections for as long as the process runs.
pub async fn run(cx: Arc<Outbound>, listener: TcpListener) {
    loop {
        let (stream, _) = listener::accept(&listener).await;
        let connection = Arc::new(Connection::new(cx.clone(), None));
        tokio::spawn(serve(connection, http1::Connection::new(Io::Plain(Socket(stream)))));
    }
}

async fn serve(connection: Arc<Connection>, io: http1::Connection) {
    let cx = connection.cx.clone();
    let _place = cx.drain.place();
    let _open = cx.metrics.connection(Direction::Outbound);
    server::serve(io, None, IDLE_LIMIT, connection, &cx.drain, &cx.metrics).await;
}

impl Handler for Connection {
    const SIDE: Direction = Direction::Outbound;

    async fn handle(self: Arc<Self>, request: Request<Body>) -> Response<Body> {
        if request.method() == Method::CONNECT {
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
    fn new(cx: Arc<Outbound>, tunnel: Option<Authority>) -> Self {
        Self { cx, tunnel, addressed: Mutex::default() }
    }

    fn addressed(&self, parts: &Parts) -> Result<Arc<Addressed>, ProxyError> {
        let mut last = self.addressed.lock().unwrap_or_else(PoisonError::into_inner);
        let addressed = Addressed::of(parts, self.tunnel.as_ref(), &self.cx.namespace, last.as_ref())?;
        *last = Some(addressed.clone());
        Ok(addressed)
    }

    /// Answers `CONNECT` and serves the HTTP inside the tunnel as this side's own.
    fn open_tunnel(&self, mut request: Request<Body>) -> Response<Body> {
        let connection = Arc::new(Connection::new(self.cx.clone(), request.uri().authority().cloned()));
        let caller = upgrade::on(&mut request);
        tokio::spawn(async move {
            match caller.connection().await {
                // Boxed, since serving and opening tunnels would otherwise contain each other.
                Some(io) => Box::pin(serve(connection, io)).await,
                None => tracing::debug!("a tunnel was not opened"),
            }
        });
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::OK;
        response
    }
}
