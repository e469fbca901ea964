//! One request and its answer on a connection to an endpoint.

use std::{
    future::poll_fn,
    pin::pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body::{Body as _, Frame, SizeHint};
use tokio::sync::mpsc;

use super::{
    Connection, Error, Refusal,
    decoder::{Decoded, Decoder},
    encoder::Encoder,
    head::{self, AnswerHead},
    sending::Sending,
};
use crate::http::{body::Body, pool::Lease};

/// A request that got no answer.
#[derive(Debug)]
pub struct Unanswered {
    pub error: Error,
    /// Not a byte of the request got to the other side: it is as it was.
    pub untouched: bool,
    /// Not a byte of an answer came.
    pub silent: bool,
    /// The request may be sent again, on another connection, as it is: it is untouched, or not a byte of its answer came,
    /// it has no body, and doing it twice is doing it once (RFC 9110 §9.2.2).
    pub again: bool,
}

/// Sends a request and waits for the head of its answer. The answer's body goes on moving the bytes, in both
/// directions; `lease` gets the connection back when both are complete. Of the request the head stays where it is; its
/// body is taken when it is sent.
pub async fn send(
    mut connection: Connection,
    request: &mut Request<Body>,
    lease: Lease,
) -> Result<Response<Body>, Box<Unanswered>> {
    let exact = request.body().size_hint().exact();
    let encoder = head::put_request(request, exact, &mut connection.output.text);
    if encoder.is_some() {
        let body = std::mem::replace(request.body_mut(), Body::empty());
        return answered(connection, Upload::new(encoder, body), request.method(), lease).await.map_err(
            |NoAnswer { error, is_silent }| {
                Box::new(Unanswered { error, untouched: false, silent: is_silent, again: false })
            },
        );
    }
    let length = connection.output.text.len();
    let (none, untouched) = match poll_fn(|cx| connection.poll_drain(cx)).await {
        Ok(()) => {
            request.body_mut().sent();
            match answered(connection, Upload::new(None, Body::empty()), request.method(), lease).await {
                Ok(response) => return Ok(response),
                Err(none) => (none, false),
            }
        }
        Err(error) => {
            let untouched = connection.output.text.len() == length;
            (NoAnswer { error: error.into(), is_silent: true }, untouched)
        }
    };
    let again = untouched || none.is_silent && request.method().is_idempotent();
    Err(Box::new(Unanswered { error: none.error, untouched, silent: none.is_silent, again }))
}

struct NoAnswer {
    error: Error,
    /// Not a byte came.
    is_silent: bool,
}

async fn answered(
    mut connection: Connection,
    mut upload: Upload,
    method: &Method,
    lease: Lease,
) -> Result<Response<Body>, NoAnswer> {
    let mut is_silent = true;
    let head = poll_fn(|cx| {
        upload.poll(&mut connection, cx)?;
        poll_head(&mut connection, method, &mut is_silent, cx)
    });
    match head.await {
        Ok(head) if head.status == StatusCode::SWITCHING_PROTOCOLS && !upload.has_arrived(&connection) => {
            Err(NoAnswer { error: Refusal::EarlySwitch.into(), is_silent })
        }
        Ok(head) => Ok(respond(head, connection, upload, lease)),
        Err(error) => Err(NoAnswer { error, is_silent }),
    }
}

fn poll_head(
    connection: &mut Connection,
    method: &Method,
    is_silent: &mut bool,
    cx: &mut Context<'_>,
) -> Poll<Result<AnswerHead, Error>> {
    loop {
        if let Some(head) = head::take_answer(&mut connection.input, method)? {
            return Poll::Ready(Ok(head));
        }
        if ready!(connection.poll_fill(cx, 0))? == 0 {
            return Poll::Ready(Err(Error::Closed));
        }
        *is_silent = false;
    }
}

fn respond(head: AnswerHead, mut connection: Connection, upload: Upload, lease: Lease) -> Response<Body> {
    let here = connection.input.len();
    let whole = match head.framing {
        Decoder::Length(length) => usize::try_from(length).ok().filter(|length| upload.is_over() && *length <= here),
        Decoder::Chunked(_) | Decoder::UntilClose => None,
    };
    let body = if head.status == StatusCode::SWITCHING_PROTOCOLS {
        Body::switched(connection)
    } else if let Some(length) = whole {
        // Nothing is left to be waited for: the connection is free at once.
        let data = connection.input.split_to(length).freeze();
        if head.keep_alive && upload.has_arrived(&connection) {
            lease.give_back(connection, head.rest);
        }
        Body::full(data)
    } else {
        let AnswerHead { framing: decoder, keep_alive, rest, .. } = head;
        Body::answer(Answer { path: Some((connection, lease)), upload, decoder, keep_alive, rest })
    };
    let mut response = Response::new(body);
    *response.status_mut() = head.status;
    *response.headers_mut() = head.headers;
    response
}

/// What is left to be sent of a request.
#[derive(Debug)]
struct Upload {
    sending: Sending,
    /// The other side takes no more; its answer may tell why.
    failed: bool,
    /// Its source broke off: what was sent of it must never look complete.
    broken: bool,
}

impl Upload {
    fn new(encoder: Option<Encoder>, body: Body) -> Self {
        Self { sending: Sending::new(encoder, body), failed: false, broken: false }
    }

    fn is_over(&self) -> bool {
        self.failed || self.sending.is_over()
    }

    /// Whether the other side has got all of it, so that it takes the next bytes for another request.
    fn has_arrived(&self, connection: &Connection) -> bool {
        !self.failed && self.sending.is_over() && connection.output.is_settled()
    }

    /// Sends what there is. An error is the caller's doing.
    fn poll(&mut self, connection: &mut Connection, cx: &mut Context<'_>) -> Result<(), Error> {
        if self.broken {
            return Err(Error::Body);
        }
        if self.failed {
            return Ok(());
        }
        match self.sending.poll(connection, cx) {
            Poll::Ready(Err(Error::Body)) => {
                self.broken = true;
                Err(Error::Body)
            }
            Poll::Ready(Err(_)) => {
                self.failed = true;
                Ok(())
            }
            Poll::Ready(Ok(())) | Poll::Pending => Ok(()),
        }
    }
}

/// The body of an answer.
#[derive(Debug)]
pub struct Answer {
    /// The connection, until the answer is complete, and where it goes then.
    path: Option<(Connection, Lease)>,
    upload: Upload,
    decoder: Decoder,
    keep_alive: bool,
    rest: Option<Duration>,
}

impl Answer {
    pub fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let Some((connection, _)) = &mut self.path else { return Poll::Ready(None) };
        self.upload.poll(connection, cx)?;
        let frame = loop {
            match self.decoder.decode(&mut connection.input)? {
                Decoded::Frame(frame) => break Some(frame),
                Decoded::End => break None,
                Decoded::More(expected) => match ready!(connection.poll_fill(cx, expected)) {
                    Ok(0) => self.decoder.closed()?,
                    Ok(_) => {}
                    Err(error) => return Poll::Ready(Some(Err(error.into()))),
                },
            }
        };
        if self.decoder.is_ended() {
            self.release();
        }
        Poll::Ready(frame.map(Ok))
    }

    /// Goes on sending the request while nobody takes the answer. What breaks shows when the answer is asked for.
    pub fn keep_moving(&mut self, cx: &mut Context<'_>) {
        if let Some((connection, _)) = &mut self.path {
            let _ = self.upload.poll(connection, cx);
        }
    }

    /// Whether the request is still being sent.
    pub fn is_sending(&self) -> bool {
        !self.upload.is_over()
    }

    /// Moves this in a task of its own, for a reader that asks for frames only when it has room for them: the request goes
    /// on all the same, on which the other side may wait before it reads.
    pub fn relayed(mut self) -> mpsc::Receiver<Result<Frame<Bytes>, Error>> {
        let (frames, relayed) = mpsc::channel(1);
        tokio::spawn(async move {
            while let Some(room) = self.room(&frames).await {
                let frame = tokio::select! {
                    frame = poll_fn(|cx| self.poll_frame(cx)) => frame,
                    () = frames.closed() => return,
                };
                let Some(frame) = frame else { return };
                let is_last = frame.is_err();
                room.send(frame);
                if is_last {
                    return;
                }
            }
        });
        relayed
    }

    /// Waits for room; `None`: nobody reads any more.
    async fn room<'f, T>(&mut self, frames: &'f mpsc::Sender<T>) -> Option<mpsc::Permit<'f, T>> {
        let mut room = pin!(frames.reserve());
        let room = poll_fn(|cx| {
            let polled = room.as_mut().poll(cx);
            if polled.is_pending() {
                self.keep_moving(cx);
            }
            polled
        });
        room.await.ok()
    }

    /// A connection on which the request was not sent to its end is closed.
    fn release(&mut self) {
        if let Some((connection, lease)) = self.path.take()
            && self.keep_alive
            && self.upload.has_arrived(&connection)
        {
            lease.give_back(connection, self.rest);
        }
    }

    pub fn is_end_stream(&self) -> bool {
        self.decoder.is_ended()
    }

    pub fn size_hint(&self) -> SizeHint {
        match self.decoder {
            Decoder::Length(left) => SizeHint::with_exact(left),
            Decoder::Chunked(_) | Decoder::UntilClose => SizeHint::default(),
        }
    }
}
