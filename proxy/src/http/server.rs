//! Serving one connection: HTTP/1.1 or HTTP/2, streaming, with upgrades, until it ends or is drained.

mod flood;
mod http2;

pub use http2::Used;

use std::{
    future::poll_fn,
    sync::Arc,
    task::{Poll, ready},
    time::Duration,
};

use http::{Request, Response};
use tokio::time::timeout;

use super::{
    body::Body,
    http1::{self, Refusal},
    pool::STREAMS_PER_CONNECTION,
};
use crate::{
    drain::Drain,
    net::{Hop, detect::HTTP2_PREFACE as PREFACE},
    telemetry::{Metrics, metrics::Direction},
};

/// The largest head, in bytes, that is read or sent.
pub const MAX_HEAD: usize = 64 << 10;
/// The same head in HTTP/2, which counts 32 bytes more for each field (RFC 9113 §6.5.2).
pub const MAX_HEADER_LIST: u32 = (MAX_HEAD + 128 * 32 + 1024) as u32;
pub const H2_STREAM_WINDOW: u32 = 256 << 10;
/// Who does not read one message must not stop the others on the connection.
pub const H2_CONNECTION_WINDOW: u32 = H2_STREAM_WINDOW * STREAMS_PER_CONNECTION as u32;

const FRAME_HEAD: usize = 9;
/// The largest frame that is taken, which is the least that may be allowed (RFC 9113 §4.2).
const MAX_FRAME: u32 = 16 << 10;

/// How long the other side may keep this one waiting. docs/limits.md says what is limited by what, and why.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// A connection without a request.
    pub idle: Duration,
    /// From the first byte of a request's head to its last, and from the beginning of an HTTP/2 connection to its settings.
    pub head: Duration,
    /// A body of known length, or an answer that is not read, on which nothing moves.
    pub stall: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { idle: Duration::from_secs(75), head: Duration::from_secs(10), stall: Duration::from_secs(300) }
    }
}

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
    limits: Limits,
    handler: Arc<H>,
    drain: &Drain,
    metrics: &Metrics,
) {
    let opening = tokio::select! {
        biased;
        opening = Box::pin(open(&mut connection, speaks, limits)) => opening,
        // Who speaks HTTP/2 is told by GOAWAY.
        () = drain.begun(), if speaks.is_none() => return,
    };
    let (reason, refusal) = match opening {
        Opening::Ended => return,
        Opening::Http1 => match http1::serve(connection, limits, &handler, drain).await {
            Some(refusal) => (refusal.label(), refusal.to_string()),
            None => return,
        },
        Opening::Http2 => match Box::pin(http2::serve(connection, limits, handler, drain)).await {
            Some(refusal) => (refusal.label(), refusal.to_string()),
            None => return,
        },
        Opening::Slow => {
            if speaks.is_none() {
                http1::refuse::<H>(connection, Refusal::SlowHead).await;
            }
            (Refusal::SlowHead.label(), Refusal::SlowHead.to_string())
        }
    };
    if reason == Refusal::MALFORMED {
        metrics.malformed.inc();
    }
    metrics.connection_refused(H::SIDE, reason);
    tracing::warn!(side = H::SIDE.as_str(), reason, "a connection was refused: {refusal}");
}

/// How a connection begins.
enum Opening {
    Http1,
    Http2,
    /// Without a word.
    Ended,
    Slow,
}

async fn open(connection: &mut http1::Connection, speaks: Option<Hop>, limits: Limits) -> Opening {
    match speaks {
        Some(Hop::Http1) => return Opening::Http1,
        // Who has said in TLS that it speaks HTTP/2 begins at once.
        Some(Hop::Http2 | Hop::Http1Streams) => {}
        // What came through a tunnel with its opening is there already.
        None if !connection.input().is_empty() => {}
        None => {
            let first = timeout(limits.idle, poll_fn(|cx| connection.poll_fill(cx, 0)));
            if !matches!(first.await, Ok(Ok(1..))) {
                return Opening::Ended;
            }
        }
    }
    let is_http2 = speaks.is_some();
    let known = poll_fn(|cx| {
        loop {
            if let Some(opening) = opening(connection.input(), is_http2) {
                return Poll::Ready(opening);
            }
            if !matches!(ready!(connection.poll_fill(cx, 0)), Ok(1..)) {
                return Poll::Ready(Opening::Ended);
            }
        }
    });
    timeout(limits.head, known).await.unwrap_or(Opening::Slow)
}

/// What the other side speaks, when its first bytes tell. HTTP/2 begins with a preface and a frame (RFC 9113 §3.4): who
/// has sent these is from then on held to answer pings.
fn opening(seen: &[u8], is_http2: bool) -> Option<Opening> {
    let Some(frame) = seen.strip_prefix(PREFACE) else {
        return match PREFACE.starts_with(seen) {
            true => None,
            false if is_http2 => Some(Opening::Http2),
            false => Some(Opening::Http1),
        };
    };
    let [high, middle, low, ..] = *frame else { return None };
    let length = u32::from_be_bytes([0, high, middle, low]);
    let is_whole = frame.len() >= FRAME_HEAD + length as usize;
    // A frame that is too large to be waited for is refused when it is read.
    (is_whole || length > MAX_FRAME).then_some(Opening::Http2)
}
