//! Serving one connection: HTTP/1.1 or HTTP/2, streaming, with upgrades, until it ends or is drained.

use std::{convert::Infallible, sync::Arc, time::Duration};

use http::{HeaderValue, header};
use hyper::{Request, Response, body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    answer,
    body::Body,
    head_guard::{HeadGuard, HeadState},
    refused_head::RefusedHead,
    upgrade,
};
use crate::{
    drain::Drain,
    net::Hop,
    telemetry::{Metrics, metrics::Direction},
};

/// The largest head, in bytes, that is read or sent.
pub const MAX_HEAD: usize = 64 << 10;
const MAX_HEADERS: usize = 128;
const MAX_STREAMS: u32 = 250;
const H2_STREAM_WINDOW: u32 = 256 << 10;
const H2_CONNECTION_WINDOW: u32 = 1 << 20;

/// Answers every request, also when that answer is an error.
pub trait Handler: Send + Sync + 'static {
    const SIDE: Direction;

    fn handle(self: Arc<Self>, request: Request<Incoming>) -> impl Future<Output = Response<Body>> + Send;
}

/// Serves `io` to its end; where it is not known what the other side speaks, its first bytes tell. When `drain` begins, requests in flight are finished and no new ones are taken:
/// GOAWAY on HTTP/2, `connection: close` on HTTP/1.1.
pub async fn serve<IO, H>(
    io: IO,
    speaks: Option<Hop>,
    idle_limit: Duration,
    handler: Arc<H>,
    drain: &Drain,
    metrics: &Metrics,
) where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    H: Handler,
{
    let head = HeadState::new();
    let refused = head.clone();
    let io = RefusedHead::new(HeadGuard::new(io, head.clone()), head.clone(), answer::name(H::SIDE));
    let service = service_fn(move |request: Request<Incoming>| {
        let (handler, head) = (handler.clone(), head.clone());
        async move {
            let mut response = handler.handle(request).await;
            if response.headers().is_empty() {
                // So that it cannot be taken for an answer of hyper's own, which `refused_head` explains.
                response.headers_mut().insert(header::VIA, HeaderValue::from_static("1.1 weft"));
            }
            if upgrade::is_switch(&response) {
                head.tunnel();
            }
            Ok::<_, Infallible>(response)
        }
    });
    let builder = builder(speaks, idle_limit);
    let connection = builder.serve_connection_with_upgrades(TokioIo::new(io), service);
    tokio::pin!(connection);
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = drain.begun() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result
        && error.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_parse)
    {
        metrics.malformed.inc();
        match refused.refusal() {
            Some(refusal) => tracing::warn!("a malformed request was refused: {refusal}"),
            None => tracing::warn!("a malformed request was refused: {error}"),
        }
    }
}

fn builder(speaks: Option<Hop>, idle_limit: Duration) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(idle_limit)
        .max_buf_size(MAX_HEAD)
        .max_headers(MAX_HEADERS);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(Some(Duration::from_secs(20)))
        .max_header_list_size(MAX_HEAD as u32)
        .max_concurrent_streams(MAX_STREAMS)
        .initial_stream_window_size(H2_STREAM_WINDOW)
        .initial_connection_window_size(H2_CONNECTION_WINDOW);
    match speaks {
        None => builder,
        Some(Hop::Http1) => builder.http1_only(),
        Some(Hop::Http2) => builder.http2_only(),
    }
}
