//! Refuses the shapes of request smuggling that hyper's HTTP/1 server lets pass.
//!
//! hyper drops `Content-Length` without a word when `Transfer-Encoding` is there too; whoever reads the same bytes
//! and believes the other field sees other requests in them. This wrapper around a server connection reads along, and
//! when a head is ambiguous it overwrites it from the offending byte on, so that hyper itself answers 400 and closes.
//! Refused are `Content-Length` together with `Transfer-Encoding`, a repeated or odd value of either, a folded line, a
//! CR without LF, and chunk framing that is not exactly RFC 9112's. Everything else passes untouched.
//!
//! The guard follows the framing by itself, from head to body to the next head, so that pipelined requests are looked
//! at too, and lines in bodies are not. For HTTP/1 only; a connection that turns out to begin with the preface of
//! HTTP/2 is left alone. A bad chunk shows as an error of the request's body, which the handler must answer with 400.
//! Used by `server`.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, Ordering},
    },
    task::{Context, Poll, ready},
};

use pin_project_lite::pin_project;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

pub use scan::Refusal;
use scan::Scanner;

mod chunked;
mod head;
mod scan;

pin_project! {
    /// A server connection whose request heads are looked at.
    pub struct HeadGuard<T> {
        #[pin]
        io: T,
        scanner: Scanner,
        state: HeadState,
    }
}

/// What the guard and who serves the connection tell each other.
#[derive(Clone, Debug, Default)]
pub struct HeadState(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    tunnel: AtomicBool,
    refusal: AtomicU8,
}

impl HeadState {
    pub fn new() -> Self {
        Self::default()
    }

    /// From here on the connection carries no HTTP/1. To be called before an upgrade is granted with 101.
    ///
    /// After a `CONNECT` the guard stops by itself, since the client may already send what is meant for the tunnel. A
    /// `CONNECT` that is refused must therefore be answered with `connection: close`.
    pub fn tunnel(&self) {
        self.0.tunnel.store(true, Ordering::Release);
    }

    /// Why a request on this connection was refused; for the log and the count.
    pub fn refusal(&self) -> Option<Refusal> {
        Refusal::from_code(self.0.refusal.load(Ordering::Acquire))
    }
}

impl<T> HeadGuard<T> {
    pub fn new(io: T, state: HeadState) -> Self {
        Self { io, scanner: Scanner::default(), state }
    }

    pub fn get_ref(&self) -> &T {
        &self.io
    }
}

impl<T: AsyncRead> AsyncRead for HeadGuard<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.project();
        let before = buf.filled().len();
        ready!(this.io.poll_read(cx, buf))?;
        if this.state.0.tunnel.load(Ordering::Acquire) {
            this.scanner.stop();
        }
        if let Some(read) = buf.filled_mut().get_mut(before..)
            && let Some(refusal) = this.scanner.scan(read)
        {
            this.state.0.refusal.store(refusal.code(), Ordering::Release);
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite> AsyncWrite for HeadGuard<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.project().io.poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.project().io.poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.project().io.poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.project().io.poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;
