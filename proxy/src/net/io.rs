//! A connection's bytes, whatever carries them.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use hyper_util::rt::TokioIo;
use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::{client, server};

use super::dial::Dialed;
use crate::policy::bulkhead::limit::{Limit, Place};

/// TCP. A single slice is sent with `send(2)`, which costs the kernel less than the `writev(2)` that TLS asks for.
#[derive(Debug)]
pub struct Socket {
    stream: TcpStream,
    /// What few have is kept apart: a connection is moved at every request.
    more: Option<Box<More>>,
}

#[derive(Debug)]
struct More {
    /// Read before, and still to be read.
    ahead: Bytes,
    /// While it lives, the connection is known as the sidecar's own.
    _dialed: Option<Dialed>,
    /// Among the connections that there may be.
    place: Option<Place>,
}

impl Socket {
    pub fn new(stream: TcpStream) -> Self {
        Self { stream, more: None }
    }

    /// `ahead` was read from `stream` already.
    pub fn read_ahead(stream: TcpStream, ahead: Bytes) -> Self {
        Self { stream, more: Some(Box::new(More { ahead, _dialed: None, place: None })) }
    }

    pub(super) fn dialed(stream: TcpStream, dialed: Dialed) -> Self {
        Self { stream, more: Some(Box::new(More { ahead: Bytes::new(), _dialed: Some(dialed), place: None })) }
    }

    /// The connection has this place for as long as it lives.
    pub fn placed(mut self, place: Place) -> Self {
        self.more.get_or_insert_with(|| Box::new(More { ahead: Bytes::new(), _dialed: None, place: None })).place =
            Some(place);
        self
    }

    fn is_within(&self, limit: &Arc<Limit>) -> bool {
        self.more.as_ref().and_then(|more| more.place.as_ref()).is_some_and(|place| place.is_of(limit))
    }

    /// Closes it so that the other side cannot take that for the end of what was sent.
    pub fn abort(self) {
        let _ = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
    }
}

/// Any connection that the sidecar has, in one type.
#[derive(Debug)]
pub enum Io {
    Plain(Socket),
    /// From another sidecar.
    TlsServer(Box<server::TlsStream<Socket>>),
    /// To another sidecar.
    TlsClient(Box<client::TlsStream<Socket>>),
    /// A tunnel inside HTTP/2.
    Stream(Box<TokioIo<hyper::upgrade::Upgraded>>),
}

macro_rules! each {
    ($io:expr, $inner:ident => $result:expr) => {
        match $io.get_mut() {
            Io::Plain($inner) => $result,
            Io::TlsServer($inner) => $result,
            Io::TlsClient($inner) => $result,
            Io::Stream($inner) => $result,
        }
    };
}

impl Io {
    /// Closes it so that the other side cannot take that for the end of what was sent. Over TLS the missing alert says so.
    pub fn abort(self) {
        if let Self::Plain(socket) = self {
            socket.abort();
        }
    }
}

impl Io {
    /// Whether it has one of the places of `limit`.
    pub fn is_within(&self, limit: &Arc<Limit>) -> bool {
        match self {
            Self::Plain(socket) => socket.is_within(limit),
            Self::TlsServer(stream) => stream.get_ref().0.is_within(limit),
            Self::TlsClient(stream) => stream.get_ref().0.is_within(limit),
            Self::Stream(_) => false,
        }
    }

    /// What carries it, where it is a connection of its own.
    pub fn socket(&self) -> Option<&TcpStream> {
        match self {
            Self::Plain(socket) => Some(&socket.stream),
            Self::TlsServer(stream) => Some(&stream.get_ref().0.stream),
            Self::TlsClient(stream) => Some(&stream.get_ref().0.stream),
            Self::Stream(_) => None,
        }
    }
}

impl AsyncRead for Io {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        each!(self, inner => Pin::new(inner).poll_read(cx, buf))
    }
}

impl AsyncWrite for Io {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        each!(self, inner => Pin::new(inner).poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        each!(self, inner => Pin::new(inner).poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, inner => Pin::new(inner).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, inner => Pin::new(inner).poll_shutdown(cx))
    }
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if let Some(more) = self.more.as_mut().filter(|more| !more.ahead.is_empty()) {
            let count = more.ahead.len().min(buf.remaining());
            buf.put_slice(&more.ahead.split_to(count));
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match bufs {
            [single] => Pin::new(&mut self.stream).poll_write(cx, single),
            several => Pin::new(&mut self.stream).poll_write_vectored(cx, several),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
