//! Serving one connection, request by request, until it ends or is drained.

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use http::{Method, Request, Response, header};
use http_body::Body as _;
use tokio::time::{Instant, Sleep, sleep, timeout};

use super::{
    Connection, Error, Refusal,
    encoder::Encoder,
    head::{self, Manner, RequestHead},
    request_body::{Invitation, Served},
    sending::Sending,
};
use crate::{
    drain::Drain,
    http::{
        body::Body,
        server::{Handler, MAX_HEAD},
        upgrade::{self, Granting},
    },
};

/// How long, and how much, is read from a caller that still sends when its connection is closed: what is not read makes
/// the kernel reset the connection, and the answer may be lost with it.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 256 << 10;

/// Serves the connection to its end. When `drain` begins, a request in flight is finished and no other is taken.
/// Returns why the connection was refused, if it was.
pub async fn serve<H: Handler>(
    connection: Connection,
    idle_limit: Duration,
    handler: &Arc<H>,
    drain: &Drain,
) -> Option<Refusal> {
    let served = Served::new(connection);
    let mut idle = Idle::new(idle_limit);
    let mut begun = pin!(drain.begun());
    loop {
        let next = poll_fn(|cx| {
            let next = poll_next(&mut served.lock().connection, cx);
            if next.is_pending() && (begun.as_mut().poll(cx).is_ready() || idle.poll(cx).is_ready()) {
                return Poll::Ready(Ok(None));
            }
            next
        });
        let head = match next.await {
            Ok(Some(head)) => head,
            Ok(None) => return close(&served, false).await,
            Err(refusal) => {
                refuse::<H>(&served, refusal).await;
                return Some(refusal);
            }
        };
        match exchange(&served, head, handler, drain).await {
            After::Open => {}
            After::Close => return close(&served, true).await,
            After::Gone => {
                served.end();
                return served.lock().refusal;
            }
        }
        idle.restart();
    }
}

/// What becomes of a connection after a request.
enum After {
    Open,
    Close,
    /// It was given away, or broke.
    Gone,
}

/// The next request's head; `None` when the other side has closed.
fn poll_next(connection: &mut Option<Connection>, cx: &mut Context<'_>) -> Poll<Result<Option<RequestHead>, Refusal>> {
    let Some(connection) = connection else { return Poll::Ready(Ok(None)) };
    loop {
        if let Some(head) = head::take_request(&mut connection.input)? {
            return Poll::Ready(Ok(Some(head)));
        }
        match ready!(connection.poll_fill(cx, 0)) {
            Ok(1..) => {}
            Ok(0) | Err(_) => return Poll::Ready(Ok(None)),
        }
    }
}

async fn exchange<H: Handler>(served: &Served, head: RequestHead, handler: &Arc<H>, drain: &Drain) -> After {
    let RequestHead { method, uri, headers, is_http11, framing, keep_alive } = head;
    let is_connect = method == Method::CONNECT;
    let mut manner = Manner {
        is_http11,
        to_head: method == Method::HEAD,
        to_connect: is_connect,
        keep_alive: keep_alive && !is_connect,
    };
    let expects =
        headers.get(header::EXPECT).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"));
    let body = match framing.is_ended() {
        true => Body::empty(),
        false => Body::request(served.begin_body(framing, expects && is_http11)),
    };
    let mut request = Request::new(body);
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    *request.version_mut() = if is_http11 { http::Version::HTTP_11 } else { http::Version::HTTP_10 };
    *request.headers_mut() = headers;
    let granting = upgrade::offer(&mut request);

    let Some(response) = while_here(served, pin!(handler.clone().handle(request))).await else { return After::Gone };
    // A caller whose body nobody will read to its end is told before it counts on the connection.
    manner.keep_alive &= !drain.has_begun() && (!served.is_alone() || served.skip_body());
    let is_switch = upgrade::is_switch(&response) || is_connect && response.status().is_success();
    let after = answer(served, response, &manner).await;
    match granting.filter(|_| is_switch) {
        Some(granting) => give_away(served, granting),
        None if matches!(after, After::Open) => finish_request(served),
        None => after,
    }
}

/// Waits for the answer for as long as the caller does.
async fn while_here(
    served: &Served,
    mut handling: Pin<&mut impl Future<Output = Response<Body>>>,
) -> Option<Response<Body>> {
    poll_fn(|cx| match handling.as_mut().poll(cx) {
        Poll::Ready(response) => Poll::Ready(Some(response)),
        Poll::Pending if is_gone(served, cx) => Poll::Ready(None),
        Poll::Pending => Poll::Pending,
    })
    .await
}

/// Whether the caller has closed the connection. What it sends ahead is kept for later.
fn is_gone(served: &Served, cx: &mut Context<'_>) -> bool {
    let mut state = served.lock();
    if !state.decoder.is_ended() {
        // Who reads the body will see.
        state.watch_body(cx);
        return false;
    }
    let Some(connection) = &mut state.connection else { return true };
    while connection.input.len() < MAX_HEAD {
        match connection.poll_fill(cx, 0) {
            Poll::Pending => return false,
            Poll::Ready(Ok(1..)) => {}
            Poll::Ready(Ok(0) | Err(_)) => return true,
        }
    }
    false
}

async fn answer(served: &Served, response: Response<Body>, manner: &Manner) -> After {
    let (parts, body) = response.into_parts();
    let exact = body.size_hint().exact();
    let (encoder, keep_alive) = {
        let mut state = served.lock();
        state.invitation = Invitation::None;
        let Some(connection) = &mut state.connection else { return After::Gone };
        head::put_answer(parts.status, &parts.headers, exact, manner, &mut connection.output.text)
    };
    let (mut sending, mut path) = (Sending::new(encoder, body), served);
    let sent = poll_fn(|cx| {
        let sent = sending.poll(&mut path, cx);
        if sent.is_pending() && is_gone(served, cx) { Poll::Ready(Err(Error::Closed)) } else { sent }
    });
    match sent.await {
        Ok(()) if keep_alive => After::Open,
        Ok(()) => After::Close,
        Err(_) => {
            // The caller sees from the missing end that the answer is not whole.
            let connection = served.end();
            if encoder == Some(Encoder::UntilClose)
                && let Some(connection) = connection
            {
                connection.abort();
            }
            After::Gone
        }
    }
}

/// When the request's body has not been read to its end, and is not here, the connection is of no use.
fn finish_request(served: &Served) -> After {
    if !served.skip_body() {
        return After::Close;
    }
    if let Some(connection) = &mut served.lock().connection {
        connection.rest();
    }
    After::Open
}

fn give_away(served: &Served, granting: Granting) -> After {
    if let Some(connection) = served.end() {
        granting.grant(connection);
    }
    After::Gone
}

/// Answers a request that cannot be read.
async fn refuse<H: Handler>(served: &Served, refusal: Refusal) {
    let response = crate::http::answer::malformed(H::SIDE, refusal);
    let manner = Manner { is_http11: true, to_head: false, to_connect: false, keep_alive: false };
    if !matches!(answer(served, response, &manner).await, After::Gone) {
        close(served, true).await;
    }
}

/// Says goodbye; where an answer was sent just now, the caller gets time to read it before the connection goes.
async fn close(served: &Served, linger: bool) -> Option<Refusal> {
    if let Some(mut connection) = served.end() {
        let mut read = 0;
        let goodbye = poll_fn(|cx| {
            if ready!(connection.poll_shutdown(cx)).is_err() || !linger {
                return Poll::Ready(());
            }
            while read < LINGER_BYTES {
                match ready!(connection.poll_fill(cx, 0)) {
                    Ok(count @ 1..) => read += count,
                    Ok(0) | Err(_) => break,
                }
                connection.input.clear();
            }
            Poll::Ready(())
        });
        let _ = timeout(LINGER, goodbye).await;
    }
    served.lock().refusal
}

/// Ends a connection on which nothing goes on. The timer runs on through requests, so that they need not touch it, nor
/// read the clock: a connection is idle for the limit at least, and for twice the limit at most.
struct Idle {
    limit: Duration,
    used: bool,
    timer: Pin<Box<Sleep>>,
}

impl Idle {
    fn new(limit: Duration) -> Self {
        Self { limit, used: false, timer: Box::pin(sleep(limit)) }
    }

    fn restart(&mut self) {
        self.used = true;
    }

    /// Ready when the limit is reached.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            ready!(self.timer.as_mut().poll(cx));
            if !std::mem::take(&mut self.used) {
                return Poll::Ready(());
            }
            self.timer.as_mut().reset(Instant::now() + self.limit);
        }
    }
}
