//! What is to be written: text, then data that are not worth a copy, then what closes the data.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::AsyncWrite;

/// Data up to this size are copied behind the text: that is cheaper than a slice of their own.
const COPIED: usize = 8 << 10;

#[derive(Debug, Default)]
pub(super) struct Outgoing {
    pub(super) text: BytesMut,
    data: Bytes,
    tail: &'static [u8],
    /// Written, and perhaps still held by the TLS layer.
    unflushed: bool,
}

impl Outgoing {
    /// Appends data and what closes them, where there is room.
    pub(super) fn put(&mut self, data: Bytes, tail: &'static [u8]) {
        debug_assert!(self.data.is_empty());
        if data.len() <= COPIED {
            self.text.extend_from_slice(&data);
            self.text.extend_from_slice(tail);
        } else {
            self.data = data;
            self.tail = tail;
        }
    }

    /// Appends the end of a chunked body, behind the data of its last chunk.
    pub(super) fn put_last_chunk(&mut self) {
        if self.data.is_empty() {
            self.text.extend_from_slice(b"0\r\n\r\n");
        } else {
            self.tail = b"\r\n0\r\n\r\n";
        }
    }

    /// Whether more may be put before all of this is written.
    pub(super) fn has_room(&self) -> bool {
        self.data.is_empty() && self.tail.is_empty() && self.text.len() < COPIED
    }

    fn is_empty(&self) -> bool {
        self.text.is_empty() && self.data.is_empty() && self.tail.is_empty()
    }

    /// Whether all of it has left.
    pub(super) fn is_settled(&self) -> bool {
        self.is_empty() && !self.unflushed
    }

    /// Writes and flushes all of it. `moves` counts the writes.
    pub(super) fn poll_write<IO: AsyncWrite + Unpin>(
        &mut self,
        io: &mut IO,
        moves: &mut u32,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while !self.is_empty() {
            let io = Pin::new(&mut *io);
            let written = if self.data.is_empty() && self.tail.is_empty() {
                io.poll_write(cx, &self.text)
            } else {
                io.poll_write_vectored(cx, &[&*self.text, &*self.data, self.tail].map(IoSlice::new))
            };
            match ready!(written)? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.advance(written),
            }
            self.unflushed = true;
            *moves = moves.wrapping_add(1);
        }
        if self.unflushed {
            ready!(Pin::new(io).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    fn advance(&mut self, written: usize) {
        let of_text = written.min(self.text.len());
        self.text.advance(of_text);
        let of_data = (written - of_text).min(self.data.len());
        self.data.advance(of_data);
        self.tail.advance(written - of_text - of_data);
    }
}
