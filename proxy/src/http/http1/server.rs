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
use tokio::time::timeout;

use super::{
    Connection, Error, Refusal,
    caller::Caller,
    decoder::Decoder,
    encoder::Encoder,
    head::{self, Manner, RequestHead},
    request_body::{Invitation, Served},
    sending::Sending,
    watch::Watch,
};
use crate::{
    drain::Drain,
    http::{
        body::Body,
        server::{Handler, Limits},
        upgrade::{self, Granting},
    },
};

/// How long, and how much, is read from a caller that still sends when its connection is closed: what is not read makes
/// the kernel reset the connection, and the answer may be lost with it.
pub const LINGER: Duration = Duration::from_secs(1);
pub const LINGER_BYTES: usize = 256 << 10;

/// Serves the connection to its end. When `drain` begins, a request in flight is finished and no other is taken.
/// Returns why the connection was refused, if it was.
pub async fn serve<H: Handler>(
    connection: Connection,
    limits: Limits,
    handler: &Arc<H>,
    drain: &Drain,
) -> Option<Refusal> {
    let served = Served::new(connection);
    let mut watch = Watch::new(limits);
    let mut begun = pin!(drain.begun());
    loop {
        let next = poll_fn(|cx| {
            let next = poll_next(&mut served.lock().connection, cx);
            if next.is_ready() {
                return next;
            }
            if begun.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Ok(None));
            }
            match has_begun(&served) {
                true => watch.poll_head(cx).map(|()| Err(Refusal::SlowHead)),
                false => watch.poll_idle(cx).map(|()| Ok(None)),
            }
        });
        let after = match next.await {
            Ok(Some(head)) => {
                watch.head_is_complete();
                exchange(&served, head, handler, drain, &mut watch).await
            }
            Ok(None) => return close(&served, false).await,
            Err(refusal) => After::Refused(refusal),
        };
        match after {
            After::Open => watch.restart(),
            After::Close => return close(&served, true).await,
            After::Refused(refusal) => {
                refuse_on::<H>(&served, refusal).await;
                return Some(refusal);
            }
            After::Gone => {
                served.end();
                return served.lock().refusal;
            }
        }
    }
}

/// Answers that the connection is refused, and closes it.
pub async fn refuse<H: Handler>(connection: Connection, refusal: Refusal) {
    refuse_on::<H>(&Served::new(connection), refusal).await;
}

/// What becomes of a connection after a request.
enum After {
    Open,
    Close,
    /// The request was not answered, and this is why.
    Refused(Refusal),
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

/// Whether some of the next head is there; empty lines before it say nothing (RFC 9112 §2.2).
fn has_begun(served: &Served) -> bool {
    let state = served.lock();
    state
        .connection
        .as_ref()
        .is_some_and(|connection| connection.input.iter().any(|byte| !matches!(byte, b'\r' | b'\n')))
}

async fn exchange<H: Handler>(
    served: &Served,
    head: RequestHead,
    handler: &Arc<H>,
    drain: &Drain,
    watch: &mut Watch,
) -> After {
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

    let mut caller = Caller::new(!keep_alive);
    let response = match while_here(served, pin!(handler.clone().handle(request)), &mut caller, watch).await {
        Ok(response) => response,
        Err(after) => {
            served.stop_body();
            return after;
        }
    };
    // A caller whose body nobody will read to its end is told before it counts on the connection.
    manner.keep_alive &= !drain.is_announced() && (!served.is_alone() || served.skip_body());
    manner.keep_alive &= !caller.sends_no_more() || has_begun(served);
    let is_switch = upgrade::is_switch(&response) || is_connect && response.status().is_success();
    let after = answer(served, response, &manner, &mut caller, watch).await;
    match granting.filter(|_| is_switch) {
        Some(granting) => give_away(served, granting),
        None if matches!(after, After::Open) => finish_request(served),
        None => after,
    }
}

/// Waits for the answer for as long as the caller does, and sends.
async fn while_here(
    served: &Served,
    mut handling: Pin<&mut impl Future<Output = Response<Body>>>,
    caller: &mut Caller,
    watch: &mut Watch,
) -> Result<Response<Body>, After> {
    poll_fn(|cx| match handling.as_mut().poll(cx) {
        Poll::Ready(response) => Poll::Ready(Ok(response)),
        Poll::Pending if caller.is_gone(served, cx) => Poll::Ready(Err(After::Gone)),
        Poll::Pending if watch.is_stuck(cx, || moves(served, false)) => {
            Poll::Ready(Err(After::Refused(Refusal::SlowBody)))
        }
        Poll::Pending => Poll::Pending,
    })
    .await
}

/// How far the connection is, where something should move. Only where it is known that more is to come, or something
/// could go out, is it a matter of the other side that nothing does: a body without a length may be a stream of events
/// that are hours apart.
fn moves(served: &Served, more_to_send: bool) -> Option<u32> {
    let state = served.lock();
    let more_to_come = matches!(state.decoder, Decoder::Length(1..));
    let connection = state.connection.as_ref()?;
    let is_waiting = more_to_come || more_to_send || !connection.output.is_settled();
    is_waiting.then_some(connection.moves)
}

async fn answer(
    served: &Served,
    response: Response<Body>,
    manner: &Manner,
    caller: &mut Caller,
    watch: &mut Watch,
) -> After {
    let (parts, body) = response.into_parts();
    let exact = body.size_hint().exact();
    let (encoder, keep_alive) = {
        let mut state = served.lock();
        state.invitation = Invitation::None;
        let Some(connection) = &mut state.connection else { return After::Gone };
        connection.moves = connection.moves.wrapping_add(1);
        head::put_answer(parts.status, &parts.headers, exact, manner, &mut connection.output.text)
    };
    let (mut sending, mut path) = (Sending::new(encoder, body), served);
    let sent = poll_fn(|cx| {
        let sent = sending.poll(&mut path, cx);
        if sent.is_ready() {
            return sent;
        }
        if watch.is_stuck(cx, || moves(served, sending.has_more_for_sure())) {
            served.lock().refusal = Some(Refusal::SlowAnswer);
            return Poll::Ready(Err(Error::Closed));
        }
        if caller.is_gone(served, cx) { Poll::Ready(Err(Error::Closed)) } else { Poll::Pending }
    });
    match sent.await {
        Ok(()) if keep_alive => After::Open,
        Ok(()) => After::Close,
        Err(_) => {
            // The caller sees from the missing end that the answer is not whole.
            let connection = served.end();
            // Nor does the kernel go on with what nobody reads.
            let is_stuck = served.lock().refusal == Some(Refusal::SlowAnswer);
            if (encoder == Some(Encoder::UntilClose) || is_stuck)
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
async fn refuse_on<H: Handler>(served: &Served, refusal: Refusal) {
    let response = crate::http::answer::refused(H::SIDE, refusal);
    let manner = Manner { is_http11: true, to_head: false, to_connect: false, keep_alive: false };
    let mut watch = Watch::new(Limits::default());
    if !matches!(answer(served, response, &manner, &mut Caller::new(true), &mut watch).await, After::Gone) {
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
