//! Serving one connection: HTTP/1.1 or HTTP/2, streaming, with upgrades, until it ends or is drained.

use std::{
    convert::Infallible,
    future::poll_fn,
    pin::pin,
    sync::Arc,
    task::{Poll, ready},
    time::Duration,
};

use hyper::{Request, Response, body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};

use super::{body::Body, http1, pool::STREAMS_PER_CONNECTION};
use crate::{
    drain::Drain,
    net::{Coalesced, Hop},
    telemetry::{Metrics, metrics::Direction},
};

/// The largest head, in bytes, that is read or sent.
pub const MAX_HEAD: usize = 64 << 10;
/// The same head in HTTP/2, which counts 32 bytes more for each field (RFC 9113 §6.5.2).
pub const MAX_HEADER_LIST: u32 = (MAX_HEAD + 128 * 32 + 1024) as u32;
const MAX_STREAMS: u32 = 250;
pub const H2_STREAM_WINDOW: u32 = 256 << 10;
/// Who does not read one message must not stop the others on the connection.
pub const H2_CONNECTION_WINDOW: u32 = H2_STREAM_WINDOW * STREAMS_PER_CONNECTION as u32;

/// What every HTTP/2 connection begins with (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Answers every request, also when that answer is an error.
pub trait Handler: Send + Sync + 'static {
    const SIDE: Direction;

    fn handle(self: Arc<Self>, request: Request<Body>) -> impl Future<Output = Response<Body>> + Send;
}

/// Serves the connection to its end; where it is not known what the other side speaks, its first bytes tell. When
/// `drain` begins, requests in flight are finished and no new ones are taken: GOAWAY on HTTP/2, `connection: close` on
/// HTTP/1.1.
pub async fn serve<H: Handler>(
    mut connection: http1::Connection,
    speaks: Option<Hop>,
    idle_limit: Duration,
    handler: Arc<H>,
    drain: &Drain,
    metrics: &Metrics,
) {
    let speaks = match speaks {
        Some(speaks) => speaks,
        None => {
            let first = tokio::time::timeout(idle_limit, spoken(&mut connection));
            tokio::select! {
                spoken = first => match spoken {
                    Ok(Some(spoken)) => spoken,
                    Ok(None) | Err(_) => return,
                },
                () = drain.begun() => return,
            }
        }
    };
    match speaks {
        Hop::Http2 | Hop::Http1Streams => Box::pin(serve_http2(connection, handler, drain)).await,
        Hop::Http1 => {
            if let Some(refusal) = http1::serve(connection, idle_limit, &handler, drain).await {
                metrics.malformed.inc();
                tracing::warn!("a malformed request was refused: {refusal}");
            }
        }
    }
}

/// What the other side speaks, from the first bytes that tell; `None`: it has closed.
async fn spoken(connection: &mut http1::Connection) -> Option<Hop> {
    poll_fn(|cx| {
        loop {
            let seen = connection.input();
            if seen.starts_with(PREFACE) {
                return Poll::Ready(Some(Hop::Http2));
            }
            if !PREFACE.starts_with(seen) {
                return Poll::Ready(Some(Hop::Http1));
            }
            if !matches!(ready!(connection.poll_fill(cx, 0)), Ok(1..)) {
                return Poll::Ready(None);
            }
        }
    })
    .await
}

async fn serve_http2<H: Handler>(connection: http1::Connection, handler: Arc<H>, drain: &Drain) {
    let service = service_fn(move |request: Request<Incoming>| {
        let handler = handler.clone();
        // Boxed, since hyper moves the future into a task for each request.
        Box::pin(async move { Ok::<_, Infallible>(handler.handle(request.map(Body::stream)).await.map(Body::moving)) })
    });
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .keep_alive_interval(Some(Duration::from_secs(20)))
        .max_header_list_size(MAX_HEADER_LIST)
        // Callers that leave at once must not end the connection for the others.
        .max_pending_accept_reset_streams(Some(MAX_STREAMS as usize))
        .max_concurrent_streams(MAX_STREAMS)
        .initial_stream_window_size(H2_STREAM_WINDOW)
        .initial_connection_window_size(H2_CONNECTION_WINDOW);
    let (io, read) = connection.into_parts();
    let io = Coalesced::new(io, read);
    let sending = io.clone();
    let mut serving = pin!(builder.serve_connection(TokioIo::new(io), service));
    let mut begun = pin!(drain.begun());
    let mut is_draining = false;
    let serving = poll_fn(|cx| {
        if !is_draining && begun.as_mut().poll(cx).is_ready() {
            is_draining = true;
            serving.as_mut().graceful_shutdown();
        }
        serving.as_mut().poll(cx)
    });
    let result = sending.drive(serving).await;
    if let Err(error) = result {
        tracing::debug!(%error, "an HTTP/2 connection broke");
    }
}
