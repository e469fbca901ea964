//! Bodies: streamed through without a copy, with something to hold until they end.
//!
//! What is taken for a request (a permit, a place on a connection, a count) belongs to it until the last byte of its
//! response, so it lives in the response's body and cannot leak: it is told how the body ended, also when the body
//! was dropped half-way.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::sync::mpsc;

use super::{
    client::Settings,
    headers, http1,
    lent::Lent,
    limited::Limited,
    replay::Replay,
    server::Used,
    tap::{Tap, Tapped},
};

/// Told how a body goes: that it has begun, and once how it ended.
pub trait Hold: Send {
    /// The first data is there.
    fn began(&mut self) {}

    fn ended(self: Box<Self>, end: End<'_>);
}

#[derive(Clone, Copy, Debug)]
pub enum End<'a> {
    /// All of it went through.
    Complete { trailers: Option<&'a HeaderMap> },
    /// Its source broke off.
    Failed,
    /// Whoever read it lost interest.
    Dropped,
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Body")
    }
}

pub struct Body {
    inner: Inner,
    hold: Option<Box<dyn Hold>>,
    begun: bool,
    /// Dropped with it.
    _within: Option<Arc<Used>>,
}

enum Inner {
    Empty,
    Full(Bytes),
    /// Over HTTP/2; toward the callee it keeps its place on the connection.
    Stream {
        body: Incoming,
        _place: Option<Arc<Settings>>,
    },
    /// From the caller, over HTTP/1.1.
    Request(Box<http1::RequestBody>),
    /// From the callee, over HTTP/1.1.
    Answer(Box<http1::Answer>),
    /// The same, moved by a task of its own.
    Relayed(mpsc::Receiver<Result<Frame<Bytes>, http1::Error>>),
    /// Any other, which somebody sees pass.
    Tapped(Box<Tapped>),
    /// Any other, until it is read.
    Lent(Lent),
    /// From the caller, and kept to be sent again.
    Replay(Box<Replay>),
    /// Another body, within limits of time.
    Limited(Box<Limited>),
    /// Nothing, since the connection has switched to another protocol.
    Switched(Box<http1::Connection>),
}

/// Why a body broke off.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    #[error(transparent)]
    Http2(#[from] hyper::Error),
    #[error(transparent)]
    Http1(#[from] http1::Error),
    #[error("the {0} timeout is over")]
    TooSlow(&'static str),
}

impl Body {
    pub fn empty() -> Self {
        Self::of(Inner::Empty)
    }

    pub fn full(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self::of(if bytes.is_empty() { Inner::Empty } else { Inner::Full(bytes) })
    }

    pub fn stream(body: Incoming) -> Self {
        Self::of(Inner::Stream { body, _place: None })
    }

    /// The body of an HTTP/2 stream, whose place on its connection is freed when it ends.
    pub fn placed_stream(body: Incoming, place: Arc<Settings>) -> Self {
        Self::of(Inner::Stream { body, _place: Some(place) })
    }

    pub fn request(body: http1::RequestBody) -> Self {
        Self::of(Inner::Request(Box::new(body)))
    }

    pub fn answer(answer: http1::Answer) -> Self {
        Self::of(Inner::Answer(Box::new(answer)))
    }

    pub fn switched(connection: http1::Connection) -> Self {
        Self::of(Inner::Switched(Box::new(connection)))
    }

    pub fn relayed(frames: mpsc::Receiver<Result<Frame<Bytes>, http1::Error>>) -> Self {
        Self::of(Inner::Relayed(frames))
    }

    pub fn replay(body: Replay) -> Self {
        Self::of(Inner::Replay(Box::new(body)))
    }

    pub fn limited(body: Limited) -> Self {
        Self::of(Inner::Limited(Box::new(body)))
    }

    /// This body for a reader that asks for frames only when it has room for them.
    pub fn moving(mut self) -> Self {
        match std::mem::replace(&mut self.inner, Inner::Empty) {
            Inner::Answer(answer) if answer.is_sending() => self.inner = Inner::Relayed(answer.relayed()),
            Inner::Tapped(mut tapped) => {
                tapped.body = std::mem::replace(&mut tapped.body, Self::empty()).moving();
                self.inner = Inner::Tapped(tapped);
            }
            Inner::Limited(mut limited) => {
                limited.moving();
                self.inner = Inner::Limited(limited);
            }
            other => self.inner = other,
        }
        self
    }

    /// The connection of an answer that has switched to another protocol. What is held stays held.
    pub fn take_switched(&mut self) -> Option<http1::Connection> {
        match std::mem::replace(&mut self.inner, Inner::Empty) {
            Inner::Switched(connection) => Some(*connection),
            other => {
                self.inner = other;
                None
            }
        }
    }

    /// Goes on with the request that this is the answer to, while nobody takes the answer.
    pub fn keep_moving(&mut self, cx: &mut Context<'_>) {
        match &mut self.inner {
            Inner::Answer(answer) => answer.keep_moving(cx),
            Inner::Tapped(tapped) => tapped.body.keep_moving(cx),
            Inner::Limited(limited) => limited.keep_moving(cx),
            _ => {}
        }
    }

    /// All of it has been sent: there was nothing to be read.
    pub fn sent(&mut self) {
        self.end(End::Complete { trailers: None });
    }

    fn of(inner: Inner) -> Self {
        Self { inner, hold: None, begun: false, _within: None }
    }

    /// Keeps it for the lender until somebody begins to read it.
    pub fn lend(self) -> (Self, Lent) {
        let lent = Lent::new(self);
        (Self::of(Inner::Lent(lent.clone())), lent)
    }

    /// Has `tap` see what passes.
    pub fn tapped(self, tap: Box<dyn Tap>) -> Self {
        Self::of(Inner::Tapped(Box::new(Tapped::new(self, tap))))
    }

    /// The body of an answer on a connection, which is in use for so long.
    pub fn within(mut self, connection: Arc<Used>) -> Self {
        self._within = Some(connection);
        self
    }

    /// Keeps `hold` until the body ends. One body holds one thing.
    pub fn holding(mut self, hold: Box<dyn Hold>) -> Self {
        debug_assert!(self.hold.is_none());
        self.hold = Some(hold);
        self
    }

    fn end(&mut self, end: End<'_>) {
        if let Some(hold) = self.hold.take() {
            hold.ended(end);
        }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Inner::Lent(lent) = &self.inner {
            let body = lent.take().map_or(Inner::Empty, |mut body| std::mem::replace(&mut body.inner, Inner::Empty));
            self.inner = body;
        }
        let mut frame = match &mut self.inner {
            Inner::Empty | Inner::Lent(_) | Inner::Switched(_) => None,
            Inner::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                self.inner = Inner::Empty;
                Some(Ok(Frame::data(bytes)))
            }
            Inner::Stream { body, .. } => loop {
                let frame = ready!(Pin::new(&mut *body).poll_frame(cx)).map(|frame| frame.map_err(Into::into));
                // HTTP/2 ends a connection that carries many empty frames.
                if !matches!(&frame, Some(Ok(frame)) if frame.data_ref().is_some_and(Bytes::is_empty)) {
                    break frame;
                }
            },
            Inner::Relayed(frames) => ready!(frames.poll_recv(cx)).map(|frame| frame.map_err(Into::into)),
            Inner::Tapped(tapped) => ready!(tapped.poll_frame(cx)),
            Inner::Request(body) => ready!(body.poll_frame(cx)).map(|frame| frame.map_err(Into::into)),
            Inner::Answer(answer) => ready!(answer.poll_frame(cx)).map(|frame| frame.map_err(Into::into)),
            Inner::Replay(body) => ready!(body.poll_frame(cx)),
            Inner::Limited(body) => ready!(body.poll_frame(cx)),
        };
        match &mut frame {
            None => self.end(End::Complete { trailers: None }),
            Some(Err(_)) => self.end(End::Failed),
            Some(Ok(frame)) => {
                if let Some(trailers) = frame.trailers_mut() {
                    // Trailers may be merged into the header section: nothing may be asserted there either.
                    headers::strip_hop_by_hop(trailers);
                    headers::strip_asserted(trailers);
                    self.end(End::Complete { trailers: Some(trailers) });
                } else if !std::mem::replace(&mut self.begun, true)
                    && let Some(hold) = &mut self.hold
                {
                    hold.began();
                }
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.inner {
            Inner::Empty | Inner::Switched(_) => true,
            Inner::Full(bytes) => bytes.is_empty(),
            Inner::Stream { body, .. } => body.is_end_stream(),
            Inner::Request(body) => body.is_end_stream(),
            Inner::Tapped(tapped) => tapped.body.is_end_stream(),
            Inner::Lent(lent) => lent.is_end_stream(),
            Inner::Answer(answer) => answer.is_end_stream(),
            Inner::Replay(body) => body.is_end_stream(),
            Inner::Limited(body) => body.is_end_stream(),
            Inner::Relayed(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.inner {
            Inner::Empty | Inner::Switched(_) => SizeHint::with_exact(0),
            Inner::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Inner::Stream { body, .. } => body.size_hint(),
            Inner::Request(body) => body.size_hint(),
            Inner::Tapped(tapped) => tapped.body.size_hint(),
            Inner::Lent(lent) => lent.size_hint(),
            Inner::Answer(answer) => answer.size_hint(),
            Inner::Replay(body) => body.size_hint(),
            Inner::Limited(body) => body.size_hint(),
            Inner::Relayed(_) => SizeHint::default(),
        }
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        // A reader that sees the end coming does not have to ask for it.
        let end = if self.is_end_stream() { End::Complete { trailers: None } } else { End::Dropped };
        self.end(end);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Sender, channel};

    use http_body_util::BodyExt;

    use super::*;

    struct Told(Sender<&'static str>);

    impl Hold for Told {
        fn ended(self: Box<Self>, end: End<'_>) {
            let word = match end {
                End::Complete { .. } => "complete",
                End::Failed => "failed",
                End::Dropped => "dropped",
            };
            self.0.send(word).unwrap();
        }
    }

    #[tokio::test]
    async fn what_is_held_is_told_once_how_the_body_ended() {
        let (told, ends) = channel();
        let body = Body::full("abc").holding(Box::new(Told(told.clone())));
        assert_eq!(body.collect().await.unwrap().to_bytes(), "abc");
        drop(Body::full("abc").holding(Box::new(Told(told.clone()))));
        drop(Body::empty().holding(Box::new(Told(told))));
        assert_eq!(ends.iter().collect::<Vec<_>>(), ["complete", "dropped", "complete"]);
    }
}
