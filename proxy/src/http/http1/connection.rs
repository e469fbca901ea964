//! The bytes of one connection.

use std::{
    cell::RefCell,
    io,
    pin::Pin,
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::outgoing::Outgoing;
use crate::net::{Io, Socket};

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
}

impl Connection {
    pub fn new(io: Io) -> Self {
        Self { io, input: BytesMut::new(), output: Outgoing::default() }
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

    /// Closes it so that the other side cannot take that for the end of what was sent. Over TLS the missing alert says so.
    pub(super) fn abort(self) {
        if let Io::Plain(Socket(stream)) = &self.io {
            let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
        }
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
            return tokio_util::io::poll_read_buf(io, cx, &mut self.input);
        }
        SCRATCH_BUFFER.with_borrow_mut(|scratch| {
            let mut buffer = ReadBuf::new(scratch);
            ready!(io.poll_read(cx, &mut buffer))?;
            self.input.extend_from_slice(buffer.filled());
            Poll::Ready(Ok(buffer.filled().len()))
        })
    }

    /// Writes all that is to be written.
    pub(super) fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.output.poll_write(&mut self.io, cx)
    }
}
