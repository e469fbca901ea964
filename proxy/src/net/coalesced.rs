//! Small writes of one turn, made one.
//!
//! h2 writes and flushes each frame that carries more than a few bytes by itself: a system call and a TLS record for
//! each of the requests that share a connection. This keeps what is written until the connection's task has done all
//! that it can; then [`Coalesced::drive`] sends it at once.

use std::{
    future::poll_fn,
    io,
    pin::{Pin, pin},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes, BytesMut};
use hyper::rt::Executor;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Io;

/// What is kept at most; more is written first. Four TLS records.
const LIMIT: usize = 64 << 10;

/// What h2 reads and writes; a clone of it sends what was written.
#[derive(Clone)]
pub struct Coalesced(Arc<Mutex<Inner>>);

struct Inner {
    io: Io,
    /// Read before, and still to be read.
    read: Bytes,
    written: BytesMut,
    /// Written to in this turn.
    wrote: bool,
    /// TLS may hold back what it has taken.
    unflushed: bool,
}

impl Coalesced {
    /// `read` was read from `io` already.
    pub fn new(io: Io, read: Bytes) -> Self {
        Self(Arc::new(Mutex::new(Inner { io, read, written: BytesMut::new(), wrote: false, unflushed: false })))
    }

    /// Runs what writes to the connection, or may, and sends what it has written after each turn.
    pub async fn drive<F: Future>(self, future: F) -> F::Output {
        let mut future = pin!(future);
        let mut is_writer = false;
        poll_fn(|cx| {
            self.lock().wrote = false;
            let polled = future.as_mut().poll(cx);
            let mut inner = self.lock();
            // Only one writes, and only its task may wait for room: a connection wakes who asked last.
            is_writer |= inner.wrote;
            if is_writer {
                // An error shows when the connection is read.
                let _ = inner.poll_send(cx);
            }
            polled
        })
        .await
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// hyper's client hands the connection itself to the executor: all that it hands over is driven.
impl<F: Future + Send + 'static> Executor<F> for Coalesced {
    fn execute(&self, future: F) {
        tokio::spawn(Box::pin(self.clone().drive(async move { drop(future.await) })));
    }
}

impl Inner {
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.written.is_empty() && !self.unflushed {
            return Poll::Ready(Ok(()));
        }
        self.unflushed = true;
        while !self.written.is_empty() {
            let count = ready!(Pin::new(&mut self.io).poll_write(cx, &self.written))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written.advance(count);
        }
        self.written = BytesMut::new(); // an idle connection keeps no buffer
        ready!(Pin::new(&mut self.io).poll_flush(cx))?;
        self.unflushed = false;
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Coalesced {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut inner = self.lock();
        if inner.read.is_empty() {
            return Pin::new(&mut inner.io).poll_read(cx, buf);
        }
        let count = inner.read.len().min(buf.remaining());
        buf.put_slice(&inner.read.split_to(count));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Coalesced {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut inner = self.lock();
        inner.wrote = true;
        if inner.written.len() >= LIMIT {
            ready!(inner.poll_send(cx))?;
        }
        inner.written.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    /// Done by [`Coalesced::drive`].
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut inner = self.lock();
        ready!(inner.poll_send(cx))?;
        Pin::new(&mut inner.io).poll_shutdown(cx)
    }
}
