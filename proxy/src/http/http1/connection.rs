//! The bytes of one connection.

use std::{
    cell::RefCell,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::outgoing::Outgoing;
use crate::{net::Io, policy::bulkhead::limit::Limit};

/// What is read at once where no more is expected: a head, and a small body with it.
const SCRATCH: usize = 16 << 10;
/// What is read at once of a large body, at most.
const LARGE: usize = 64 << 10;

thread_local! {
    /// Read into by all connections of a worker, so that an idle one needs no buffer of its own.
    static SCRATCH_BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; SCRATCH].into());
}

#[derive(Debug)]
pub struct Connection {
    io: Io,
    /// Read, and not consumed yet.
    pub(super) input: BytesMut,
    pub(super) output: Outgoing,
    /// How often bytes were read or written. Only differences count.
    pub(super) moves: u32,
}

impl Connection {
    pub fn new(io: Io) -> Self {
        Self::read_ahead(io, BytesMut::new())
    }

    /// `input` was read from `io` already.
    pub fn read_ahead(io: Io, input: BytesMut) -> Self {
        Self { io, input, output: Outgoing::default(), moves: 0 }
    }

    /// What was read, and not consumed yet.
    pub fn input(&self) -> &[u8] {
        &self.input
    }

    /// Whether it can take another request: the other side has neither closed it nor sent anything unasked. Asks the
    /// kernel only when there is something to be read.
    pub fn is_open(&mut self) -> bool {
        let is_settled = self.input.is_empty() && self.output.is_settled();
        is_settled && self.poll_fill(&mut Context::from_waker(Waker::noop()), 0).is_pending()
    }

    /// Gives the buffers back while nothing is going on.
    pub fn rest(&mut self) {
        if self.input.is_empty() {
            self.input = BytesMut::new();
        }
        self.output = Outgoing::default();
    }

    /// What is left of the bytes when the other side has switched to another protocol.
    pub fn into_parts(self) -> (Io, Bytes) {
        (self.io, self.input.freeze())
    }

    /// Whether it has one of the places of `limit`.
    pub fn is_within(&self, limit: &Arc<Limit>) -> bool {
        self.io.is_within(limit)
    }

    /// Whether the kernel knows that the other side takes nothing any more. To be asked when nothing can be read.
    pub(super) fn has_failed(&self) -> bool {
        self.io.socket().is_some_and(|socket| !matches!(socket.take_error(), Ok(None)))
    }

    /// Has the kernel end the connection when the other side takes nothing of what is sent for so long. Without that, only
    /// who writes would see; where this is not known, nobody does.
    pub fn limit_unread(&self, limit: Duration) {
        #[cfg(target_os = "linux")]
        if let Some(socket) = self.io.socket() {
            let _ = SockRef::from(socket).set_tcp_user_timeout(Some(limit));
        }
    }

    /// Closes it so that the other side cannot take that for the end of what was sent.
    pub(super) fn abort(self) {
        self.io.abort();
    }

    /// Tells the other side that nothing comes any more.
    pub(super) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    /// Reads more input, of which `expected` bytes or more are to come; 0: the other side has closed.
    pub fn poll_fill(&mut self, cx: &mut Context<'_>, expected: u64) -> Poll<io::Result<usize>> {
        let io = Pin::new(&mut self.io);
        if expected > SCRATCH as u64 {
            // What is left of the last buffer is used first: a sender of small pieces does not pin a buffer with each.
            if self.input.capacity() - self.input.len() < LARGE / 2 {
                self.input.reserve(LARGE.min(usize::try_from(expected).unwrap_or(LARGE)));
            }
            let read = ready!(tokio_util::io::poll_read_buf(io, cx, &mut self.input))?;
            self.moves = self.moves.wrapping_add(u32::from(read > 0));
            return Poll::Ready(Ok(read));
        }
        SCRATCH_BUFFER.with_borrow_mut(|scratch| {
            let mut buffer = ReadBuf::new(scratch);
            ready!(io.poll_read(cx, &mut buffer))?;
            self.input.extend_from_slice(buffer.filled());
            self.moves = self.moves.wrapping_add(u32::from(!buffer.filled().is_empty()));
            Poll::Ready(Ok(buffer.filled().len()))
        })
    }

    /// Writes all that is to be written.
    pub(super) fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.output.poll_write(&mut self.io, &mut self.moves, cx)
    }
}
