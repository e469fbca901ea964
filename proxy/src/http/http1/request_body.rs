//! The body of a request, which the handler reads from the connection that `server` serves.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker, ready},
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use super::{
    Connection, Error, Refusal,
    decoder::{Decoded, Decoder},
    sending::Path,
};

/// A connection that the server and the body of the current request read from, one at a time: the server does not read
/// before the body has ended.
#[derive(Clone, Debug)]
pub(super) struct Served(Arc<Mutex<State>>);

#[derive(Debug)]
pub(super) struct State {
    /// `None` when it is closed, or was given away.
    pub(super) connection: Option<Connection>,
    /// What is left of the current request's body.
    pub(super) decoder: Decoder,
    pub(super) invitation: Invitation,
    /// Why the body was refused.
    pub(super) refusal: Option<Refusal>,
    /// The body of an earlier request reads nothing any more.
    request: u64,
    /// Who waits for the body, perhaps in another task.
    reader: Option<Waker>,
    /// Who serves the connection, and watches it as soon as the body has ended.
    server: Option<Waker>,
}

/// `100 Continue`, for which a caller may wait before it sends the body.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Invitation {
    None,
    Awaited,
    /// Who reads the body writes it. Nobody else may then write, or one of the two would not be woken.
    Underway,
}

impl Served {
    pub(super) fn new(connection: Connection) -> Self {
        Self(Arc::new(Mutex::new(State {
            connection: Some(connection),
            decoder: Decoder::Length(0),
            invitation: Invitation::None,
            refusal: None,
            request: 0,
            reader: None,
            server: None,
        })))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request's body begins here.
    pub(super) fn begin_body(&self, decoder: Decoder, expects_continue: bool) -> RequestBody {
        let mut state = self.lock();
        state.decoder = decoder;
        state.invitation = if expects_continue { Invitation::Awaited } else { Invitation::None };
        state.request += 1;
        if let Some(connection) = &mut state.connection {
            connection.moves = connection.moves.wrapping_add(1);
        }
        RequestBody { of: self.clone(), request: state.request, ended: false }
    }

    /// Whether nobody has the body any more.
    pub(super) fn is_alone(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }

    /// Reads what nobody wanted of the body, if all of it is here; whether it was, so that the next request can follow.
    pub(super) fn skip_body(&self) -> bool {
        let mut state = self.lock();
        let state = &mut *state;
        if !state.decoder.is_ended() {
            state.end_body();
        }
        let Some(connection) = &mut state.connection else { return false };
        while !state.decoder.is_ended() {
            match state.decoder.decode(&mut connection.input) {
                Ok(Decoded::Frame(_)) => {}
                Ok(Decoded::End) => break,
                Ok(Decoded::More(_)) => return false,
                Err(error) => {
                    state.refusal = error.refusal();
                    return false;
                }
            }
        }
        true
    }

    /// Whoever still reads the body learns that the request is over.
    pub(super) fn stop_body(&self) {
        self.lock().end_body();
    }

    /// The connection is served no more.
    pub(super) fn end(&self) -> Option<Connection> {
        let mut state = self.lock();
        state.end_body();
        state.connection.take()
    }
}

/// To the caller, while the body may be read in between.
impl Path for &Served {
    fn with<T>(&mut self, act: impl FnOnce(&mut Connection) -> T) -> Result<T, Error> {
        self.lock().connection.as_mut().map(act).ok_or(Error::Closed)
    }
}

#[derive(Debug)]
pub struct RequestBody {
    of: Served,
    request: u64,
    ended: bool,
}

impl RequestBody {
    pub fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let mut state = self.of.lock();
        if state.request != self.request {
            return Poll::Ready(Some(Err(Error::Closed)));
        }
        let frame = match state.poll_frame(cx) {
            Poll::Ready(frame) => frame,
            Poll::Pending => {
                remember(&mut state.reader, cx);
                return Poll::Pending;
            }
        };
        self.ended = state.decoder.is_ended() || matches!(frame, Some(Err(_)));
        if let Some(Err(error)) = &frame {
            state.refusal = error.refusal();
        }
        if self.ended
            && let Some(server) = state.server.take()
            && !server.will_wake(cx.waker())
        {
            server.wake();
        }
        Poll::Ready(frame)
    }

    pub fn is_end_stream(&self) -> bool {
        self.ended
    }

    pub fn size_hint(&self) -> SizeHint {
        let state = self.of.lock();
        match state.decoder {
            Decoder::Length(left) if state.request == self.request => SizeHint::with_exact(left),
            _ => SizeHint::default(),
        }
    }
}

fn remember(waker: &mut Option<Waker>, cx: &Context<'_>) {
    match waker {
        Some(waker) => waker.clone_from(cx.waker()),
        None => *waker = Some(cx.waker().clone()),
    }
}

impl State {
    /// Has the server woken when the body has ended.
    pub(super) fn watch_body(&mut self, cx: &Context<'_>) {
        remember(&mut self.server, cx);
    }

    /// Who still reads the body learns that nothing comes any more.
    fn end_body(&mut self) {
        self.request += 1;
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let Some(connection) = &mut self.connection else { return Poll::Ready(Some(Err(Error::Closed))) };
        if self.invitation == Invitation::Awaited {
            if connection.input.is_empty() {
                connection.output.text.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
            }
            self.invitation = Invitation::Underway;
        }
        // A connection that takes nothing any more shows when it is read.
        if self.invitation == Invitation::Underway && connection.poll_drain(cx).is_ready() {
            self.invitation = Invitation::None;
        }
        loop {
            match self.decoder.decode(&mut connection.input)? {
                Decoded::Frame(frame) => return Poll::Ready(Some(Ok(frame))),
                Decoded::End => return Poll::Ready(None),
                Decoded::More(expected) => {
                    if ready!(connection.poll_fill(cx, expected))? == 0 {
                        return Poll::Ready(Some(Err(Error::Closed)));
                    }
                }
            }
        }
    }
}
