//! Serving one HTTP/2 connection with hyper, within limits: those that hyper and h2 have, and those of `flood`.

use std::{
    convert::Infallible,
    error::Error as _,
    future::poll_fn,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use hyper::{Request, body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{Instant, Sleep, sleep, timeout},
};

use super::{
    H2_CONNECTION_WINDOW, H2_STREAM_WINDOW, Handler, Limits, MAX_FRAME, MAX_HEADER_LIST,
    flood::{Flood, Guarded, State},
};
use crate::{
    drain::Drain,
    http::{
        body::Body,
        http1::{self, LINGER, LINGER_BYTES},
    },
    net::Coalesced,
};

const MAX_STREAMS: u32 = 250;
/// Requests that were reset before they were even looked at. Callers that leave at once must not end the connection for
/// the others; who leaves more than all streams at once floods (CVE-2023-44487).
const MAX_UNSEEN_RESETS: usize = MAX_STREAMS as usize;
/// Streams that were reset because what came on them was wrong, in the life of a connection.
const MAX_WRONG_STREAMS: usize = 1024;
/// What is kept of an answer that the other side does not take: no more than it takes at once between sidecars.
const MAX_SEND_BUFFER: usize = H2_STREAM_WINDOW as usize;
/// Pings tell that the other side is still there, and that it has not stopped in the middle of a frame.
const KEEP_ALIVE: Duration = Duration::from_secs(20);
const KEEP_ALIVE_LIMIT: Duration = Duration::from_secs(10);

/// Why a connection was ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error(transparent)]
    Flood(Flood),
    #[error("HTTP/2: {0}")]
    Protocol(h2::Reason),
    #[error("HTTP/2: a ping was not answered within {KEEP_ALIVE_LIMIT:?}")]
    Ping,
}

impl Refusal {
    /// The value of the metric label `reason`: h2's error code, where it is one.
    pub(super) fn label(&self) -> &'static str {
        match self {
            Self::Flood(flood) => flood.label(),
            Self::Ping => "h2_ping_timeout",
            Self::Protocol(reason) => match *reason {
                h2::Reason::PROTOCOL_ERROR => "h2_protocol_error",
                h2::Reason::FLOW_CONTROL_ERROR => "h2_flow_control_error",
                h2::Reason::STREAM_CLOSED => "h2_stream_closed",
                h2::Reason::FRAME_SIZE_ERROR => "h2_frame_size_error",
                h2::Reason::COMPRESSION_ERROR => "h2_compression_error",
                h2::Reason::ENHANCE_YOUR_CALM => "h2_enhance_your_calm",
                _ => "h2_other",
            },
        }
    }
}

/// Serves the connection to its end. Returns why it was refused, if it was.
pub(super) async fn serve<H: Handler>(
    connection: http1::Connection,
    limits: Limits,
    handler: Arc<H>,
    drain: &Drain,
) -> Option<Refusal> {
    let state = Arc::new(State::default());
    let used = Arc::new(Used::default());
    let of_requests = used.clone();
    let service = service_fn(move |request: Request<Incoming>| {
        let (handler, used) = (handler.clone(), of_requests.clone());
        used.begun.store(true, Ordering::Relaxed);
        // Boxed, since hyper moves the future into a task for each request.
        Box::pin(async move {
            let response = handler.handle(request.map(Body::stream)).await;
            Ok::<_, Infallible>(response.map(|body| body.moving().within(used)))
        })
    });
    // A ping that cannot even be sent tells h2 nothing, and neither can it say goodbye.
    connection.limit_unread(limits.stall.min(KEEP_ALIVE + KEEP_ALIVE_LIMIT));
    let (io, read) = connection.into_parts();
    let io = Coalesced::new(io, read);
    let sending = io.clone();
    let guarded = TokioIo::new(Guarded::new(io.clone(), state.clone()));
    let mut serving = pin!(builder().serve_connection(guarded, service));
    let mut begun = pin!(drain.begun());
    let mut idle = Idle::new(limits.idle);
    let mut is_leaving = false;
    let serving = poll_fn(|cx| {
        if !is_leaving && (begun.as_mut().poll(cx).is_ready() || idle.is_over(cx, &used)) {
            is_leaving = true;
            serving.as_mut().graceful_shutdown();
        }
        serving.as_mut().poll(cx)
    });
    let error = sending.drive(serving).await.err()?;
    tracing::debug!(%error, "an HTTP/2 connection broke");
    let refusal = refusal(&state, &error)?;
    // Behind half a frame it would be read as the rest of it.
    let flood = state.flood().filter(|_| !state.is_blocked());
    let _ = timeout(LINGER, say_goodbye(io, flood)).await;
    Some(refusal)
}

fn builder() -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .enable_connect_protocol()
        .keep_alive_interval(Some(KEEP_ALIVE))
        .keep_alive_timeout(KEEP_ALIVE_LIMIT)
        .max_frame_size(MAX_FRAME)
        .max_header_list_size(MAX_HEADER_LIST)
        .max_pending_accept_reset_streams(Some(MAX_UNSEEN_RESETS))
        .max_local_error_reset_streams(Some(MAX_WRONG_STREAMS))
        .max_concurrent_streams(MAX_STREAMS)
        .max_send_buf_size(MAX_SEND_BUFFER)
        .initial_stream_window_size(H2_STREAM_WINDOW)
        .initial_connection_window_size(H2_CONNECTION_WINDOW);
    builder
}

/// What this side has ended the connection for; `None`: the other side has, or it broke.
fn refusal(state: &State, error: &hyper::Error) -> Option<Refusal> {
    if let Some(flood) = state.flood() {
        return Some(Refusal::Flood(flood));
    }
    if error.is_timeout() {
        return Some(Refusal::Ping);
    }
    let error = error.source()?.downcast_ref::<h2::Error>()?;
    error.reason().filter(|_| error.is_library() && error.is_go_away()).map(Refusal::Protocol)
}

/// Tells why, where h2 has not, and gives the other side time to read it: a connection that is closed with something
/// unread is reset.
async fn say_goodbye(mut io: Coalesced, flood: Option<Flood>) -> std::io::Result<()> {
    if let Some(flood) = flood {
        io.write_all(&flood.go_away()).await?;
    }
    io.shutdown().await?;
    let (mut left, mut piece) = (LINGER_BYTES, [0; 4096]);
    while left > 0 {
        match io.read(&mut piece).await? {
            0 => break,
            read => left = left.saturating_sub(read),
        }
    }
    Ok(())
}

/// Whether requests come. Each one in flight holds a clone, until its answer has ended.
#[derive(Debug, Default)]
pub struct Used {
    begun: AtomicBool,
}

/// Ends a connection without requests. As with HTTP/1.1, the timer runs on and is only looked at.
struct Idle {
    limit: Duration,
    timer: Pin<Box<Sleep>>,
    is_set: bool,
}

impl Idle {
    fn new(limit: Duration) -> Self {
        Self { limit, timer: Box::pin(sleep(limit)), is_set: false }
    }

    fn is_over(&mut self, cx: &mut Context<'_>, used: &Arc<Used>) -> bool {
        if self.is_set && !self.timer.is_elapsed() {
            return false;
        }
        self.is_set = true;
        while let Poll::Ready(()) = self.timer.as_mut().poll(cx) {
            // The service and this hold one each.
            let in_flight = Arc::strong_count(used) > 2;
            if !in_flight && !used.begun.swap(false, Ordering::Relaxed) {
                return true;
            }
            let next = Instant::now() + self.limit;
            self.timer.as_mut().reset(next);
        }
        false
    }
}
