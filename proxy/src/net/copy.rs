//! Two connections joined: bytes go both ways until both have ended.
//!
//! Each direction ends by itself, so that a client that has said everything still gets its answer (half-close). A
//! connection that breaks breaks the other as well: a missing end must not look like one. While nothing moves, no
//! buffer is held; while a reader is slow, at most one buffer for each direction.

use std::{
    cell::RefCell,
    future::poll_fn,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Io;
use crate::telemetry::carriage::{Moved, Way};

/// Read at once: as much as a TLS record and a half-full socket need, small enough to stay in the cache.
const BUFFER: usize = 64 << 10;

thread_local! {
    /// Read into by all connections of a worker.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; BUFFER].into());
}

/// One end of a joined pair, and what was read from it before.
pub struct End {
    pub io: Io,
    pub ahead: Bytes,
}

/// Which of the two connections broke.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    #[error("the client's connection broke: {0}")]
    Client(io::Error),
    #[error("the server's connection broke: {0}")]
    Server(io::Error),
}

impl From<Io> for End {
    fn from(io: Io) -> Self {
        Self { io, ahead: Bytes::new() }
    }
}

/// Carries bytes until both directions have ended or one side has broken. `moved` counts as they go.
pub async fn join(client: End, server: End, moved: &mut Moved) -> Result<(), Broken> {
    let (mut up, mut down) = (Flow::new(client.ahead), Flow::new(server.ahead));
    let (mut client, mut server) = (client.io, server.io);
    let joined = poll_fn(|cx| {
        let sending = match up.poll(cx, &mut client, &mut server, &mut moved.sent) {
            Poll::Ready(Err(failed)) => return Poll::Ready(Err(failed.of(Broken::Client, Broken::Server))),
            poll => poll.is_ready(),
        };
        let receiving = match down.poll(cx, &mut server, &mut client, &mut moved.received) {
            Poll::Ready(Err(failed)) => return Poll::Ready(Err(failed.of(Broken::Server, Broken::Client))),
            poll => poll.is_ready(),
        };
        if sending && receiving { Poll::Ready(Ok(())) } else { Poll::Pending }
    })
    .await;
    if joined.is_err() {
        client.abort();
        server.abort();
    }
    joined
}

enum Failed {
    Reading(io::Error),
    Writing(io::Error),
}

impl Failed {
    fn of(self, source: impl Fn(io::Error) -> Broken, sink: impl Fn(io::Error) -> Broken) -> Broken {
        match self {
            Self::Reading(error) => source(error),
            Self::Writing(error) => sink(error),
        }
    }
}

/// One direction.
struct Flow {
    /// Read, and not taken by the other side yet.
    waiting: Bytes,
    state: State,
    /// TLS may hold back what it has taken.
    unflushed: bool,
}

#[derive(PartialEq, Eq)]
enum State {
    Open,
    /// The source has ended; the sink is to be told.
    Ended,
    Closed,
}

impl Flow {
    fn new(ahead: Bytes) -> Self {
        Self { waiting: ahead, state: State::Open, unflushed: false }
    }

    /// Ready when the direction has ended.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut Io,
        sink: &mut Io,
        moved: &mut Way,
    ) -> Poll<Result<(), Failed>> {
        loop {
            while !self.waiting.is_empty() {
                let count = ready!(write(cx, sink, &self.waiting))?;
                self.waiting.advance(count);
                moved.add(count);
                self.unflushed = true;
            }
            match self.state {
                State::Closed => return Poll::Ready(Ok(())),
                State::Ended => {
                    ready!(Pin::new(&mut *sink).poll_shutdown(cx)).map_err(Failed::Writing)?;
                    self.state = State::Closed;
                }
                State::Open => match self.poll_move(cx, source, sink, moved)? {
                    Poll::Ready(()) => {}
                    Poll::Pending => {
                        if self.unflushed {
                            ready!(Pin::new(&mut *sink).poll_flush(cx)).map_err(Failed::Writing)?;
                            self.unflushed = false;
                        }
                        return Poll::Pending;
                    }
                },
            }
        }
    }

    /// Reads once and passes on what was read; what the sink does not take at once waits.
    fn poll_move(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut Io,
        sink: &mut Io,
        moved: &mut Way,
    ) -> Result<Poll<()>, Failed> {
        SCRATCH.with_borrow_mut(|scratch| {
            let mut buffer = ReadBuf::new(scratch);
            match Pin::new(source).poll_read(cx, &mut buffer) {
                Poll::Pending => return Ok(Poll::Pending),
                Poll::Ready(result) => result.map_err(Failed::Reading)?,
            }
            let mut read = buffer.filled();
            if read.is_empty() {
                self.state = State::Ended;
            }
            while !read.is_empty() {
                let Poll::Ready(count) = write(cx, sink, read) else {
                    self.waiting = Bytes::copy_from_slice(read);
                    break;
                };
                let count = count?;
                moved.add(count);
                self.unflushed = true;
                read = read.get(count..).unwrap_or_default();
            }
            Ok(Poll::Ready(()))
        })
    }
}

fn write(cx: &mut Context<'_>, sink: &mut Io, bytes: &[u8]) -> Poll<Result<usize, Failed>> {
    match ready!(Pin::new(sink).poll_write(cx, bytes)) {
        Ok(0) => Poll::Ready(Err(Failed::Writing(io::ErrorKind::WriteZero.into()))),
        result => Poll::Ready(result.map_err(Failed::Writing)),
    }
}

#[cfg(test)]
mod tests;
