//! What is left to be sent of a message: its body, frame by frame, behind what is written already.
//!
//! The body is asked for frames while nobody has the connection: the answer that a server sends may have to move the
//! request's body first, which is read from the same connection.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use http_body::Body as _;

use super::{Connection, Error, encoder::Encoder};
use crate::http::body::Body;

/// The way to a connection, which others may use in between.
pub(super) trait Path {
    /// # Errors
    /// The connection is closed.
    fn with<T>(&mut self, act: impl FnOnce(&mut Connection) -> T) -> Result<T, Error>;
}

impl Path for Connection {
    fn with<T>(&mut self, act: impl FnOnce(&mut Connection) -> T) -> Result<T, Error> {
        Ok(act(self))
    }
}

#[derive(Debug)]
pub(super) struct Sending {
    encoder: Encoder,
    /// `None`: all of it was taken.
    body: Option<Body>,
}

impl Sending {
    /// `encoder` is `None` where the message has no body.
    pub(super) fn new(encoder: Option<Encoder>, body: Body) -> Self {
        Self { encoder: encoder.unwrap_or(Encoder::Ended), body: encoder.map(|_| body) }
    }

    /// Nothing is left to be taken.
    pub(super) fn is_over(&self) -> bool {
        self.body.is_none()
    }

    /// Whether more must come from the body's source: it has said how much.
    pub(super) fn has_more_for_sure(&self) -> bool {
        self.body.is_some() && matches!(self.encoder, Encoder::Length(1..))
    }

    /// Ready when all of it is written.
    pub(super) fn poll(&mut self, path: &mut impl Path, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        loop {
            let waits = self.take_frames(path, cx)?;
            let drained = path.with(|connection| connection.poll_drain(cx))?;
            if let (Poll::Pending, Some(body)) = (&drained, &mut self.body) {
                // Whoever takes nothing now may do so only because it still sends.
                body.keep_moving(cx);
            }
            ready!(drained)?;
            if self.is_over() {
                return Poll::Ready(Ok(()));
            }
            if waits {
                return Poll::Pending;
            }
        }
    }

    /// Takes frames until they are worth a write, or the next one has to be waited for.
    fn take_frames(&mut self, path: &mut impl Path, cx: &mut Context<'_>) -> Result<bool, Error> {
        while let Some(body) = &mut self.body
            && path.with(|connection| connection.output.has_room())?
        {
            let frame = match Pin::new(&mut *body).poll_frame(cx) {
                Poll::Pending => return Ok(true),
                Poll::Ready(frame) => frame.transpose().map_err(|_| Error::Body)?,
            };
            let ended = frame.is_none() || body.is_end_stream();
            path.with(|connection| {
                let output = &mut connection.output;
                frame.map_or(Ok(()), |frame| self.encoder.encode(frame, output))?;
                if ended { self.encoder.end(output) } else { Ok(()) }
            })??;
            if ended {
                self.body = None;
            }
        }
        Ok(false)
    }
}
