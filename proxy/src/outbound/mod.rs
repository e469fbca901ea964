//! The way out: from the local application to the service that it names.
//!
//! An explicit proxy on loopback. It takes absolute-form requests (`HTTP_PROXY`), origin-form requests with a mesh
//! name in `Host`, HTTP/2 with prior knowledge, and `CONNECT`, inside which HTTP is spoken again.

mod attempt;
mod authority;
mod forward;

use std::{sync::Arc, time::Duration};

use http::{Method, Request, Response, StatusCode, uri::Authority};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use crate::{
    drain::Drain,
    http::{
        answer,
        body::Body,
        pool::Pool,
        server::{self, Handler},
    },
    mesh::Store,
    net::listener,
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
}

/// Accepts connections for as long as the process runs.
pub async fn run(cx: Arc<Outbound>, listener: TcpListener) {
    loop {
        let (stream, _) = listener::accept(&listener).await;
        let connection = Arc::new(Connection { cx: cx.clone(), tunnel: None });
        tokio::spawn(serve(connection, stream));
    }
}

async fn serve<IO>(connection: Arc<Connection>, io: IO)
where
    IO: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let cx = connection.cx.clone();
    let _place = cx.drain.place();
    let _open = cx.metrics.connection(Direction::Outbound);
    server::serve(io, None, IDLE_LIMIT, connection, &cx.drain, &cx.metrics).await;
}

impl Handler for Connection {
    const SIDE: Direction = Direction::Outbound;

    async fn handle(self: Arc<Self>, request: Request<Incoming>) -> Response<Body> {
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
    /// Answers `CONNECT` and serves the HTTP inside the tunnel as this side's own.
    fn open_tunnel(&self, request: Request<Incoming>) -> Response<Body> {
        let connection = Arc::new(Connection { cx: self.cx.clone(), tunnel: request.uri().authority().cloned() });
        tokio::spawn(async move {
            match hyper::upgrade::on(request).await {
                // Boxed, since serving and opening tunnels would otherwise contain each other.
                Ok(io) => Box::pin(serve(connection, TokioIo::new(io))).await,
                Err(error) => tracing::debug!(%error, "a tunnel was not opened"),
            }
        });
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::OK;
        response
    }
}
