//! Bodies: streamed through without a copy, with something to hold until they end.
//!
//! What is taken for a request (a permit, a place on a connection, a count) belongs to it until the last byte of its
//! response, so it lives in the response's body and cannot leak: it is told how the body ended, also when the body
//! was dropped half-way.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;

use super::headers;

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
}

enum Inner {
    Empty,
    Full(Bytes),
    Stream(Incoming),
}

impl Body {
    pub fn empty() -> Self {
        Self::of(Inner::Empty)
    }

    pub fn full(bytes: impl Into<Bytes>) -> Self {
        Self::of(Inner::Full(bytes.into()))
    }

    pub fn stream(body: Incoming) -> Self {
        Self::of(Inner::Stream(body))
    }

    fn of(inner: Inner) -> Self {
        Self { inner, hold: None, begun: false }
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
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let mut frame = match &mut self.inner {
            Inner::Empty => None,
            Inner::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                self.inner = Inner::Empty;
                Some(Ok(Frame::data(bytes)))
            }
            Inner::Stream(body) => ready!(Pin::new(body).poll_frame(cx)),
        };
        match &mut frame {
            None => self.end(End::Complete { trailers: None }),
            Some(Err(_)) => self.end(End::Failed),
            Some(Ok(frame)) => {
                if let Some(trailers) = frame.trailers_mut() {
                    // Trailers may be merged into the header section: nothing may be asserted there either.
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
            Inner::Empty => true,
            Inner::Full(bytes) => bytes.is_empty(),
            Inner::Stream(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.inner {
            Inner::Empty => SizeHint::with_exact(0),
            Inner::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Inner::Stream(body) => body.size_hint(),
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
