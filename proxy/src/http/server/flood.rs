//! Frames that ask for nothing, or for something that nobody wants any more.
//!
//! What a peer can make h2 keep is bounded by h2: streams, header lists, CONTINUATION frames, small and empty DATA frames,
//! requests that are reset before they are looked at. How often it can make it work is not. So the heads of the frames
//! are looked at before h2 reads them, and counted. The clock is read once for each thousand that count, and never for a
//! connection that carries requests.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Duration, Instant},
};

use super::{FRAME_HEAD, PREFACE};
use crate::net::Coalesced;

/// So many frames for the connection itself, in so short a time, without requests or answers that would explain them. A
/// frame of settings counts for ten, and so does the answer to a ping.
const CONTROL_FRAMES: u32 = 1000;
const CONTROL_TIME: Duration = Duration::from_secs(10);
/// Frames for the connection that go with one of a request.
const CONTROL_PER_USEFUL: u32 = 4;
/// Bytes that are written for each frame for the connection, where these go with answers: gRPC in Go sends a ping with
/// each message that it gets. The answer to a ping is 17 bytes.
const WRITTEN_PER_CONTROL: u64 = 32;
/// So many requests reset in so short a time, and more than half of all: whoever gives up does not go on asking.
const RESETS: u32 = 2000;
const RESETS_TIME: Duration = Duration::from_secs(2);

/// Why no more is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Flood {
    #[error("HTTP/2: {CONTROL_FRAMES} frames in less than {CONTROL_TIME:?} that ask for nothing (pings, settings, …)")]
    Control { last: u32 },
    #[error("HTTP/2: {RESETS} requests in less than {RESETS_TIME:?} that were reset")]
    Resets { last: u32 },
}

impl Flood {
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Control { .. } => "h2_control_flood",
            Self::Resets { .. } => "h2_reset_flood",
        }
    }

    /// What the other side is told (RFC 9113 §6.8): the last request that was read, and `ENHANCE_YOUR_CALM`.
    pub(super) fn go_away(self) -> [u8; FRAME_HEAD + 8] {
        let (Self::Control { last } | Self::Resets { last }) = self;
        let [a, b, c, d] = last.to_be_bytes();
        [0, 0, 8, GO_AWAY, 0, 0, 0, 0, 0, a, b, c, d, 0, 0, 0, 11]
    }
}

/// What the connection's server learns of it.
#[derive(Debug, Default)]
pub(super) struct State {
    flood: OnceLock<Flood>,
    /// h2 could not write all that it wanted to.
    is_blocked: AtomicBool,
}

impl State {
    pub(super) fn flood(&self) -> Option<Flood> {
        self.flood.get().copied()
    }

    /// Whether h2 may have stopped in the middle of a frame.
    pub(super) fn is_blocked(&self) -> bool {
        self.is_blocked.load(Ordering::Relaxed)
    }
}

/// A connection whose frames are counted as they are read.
pub(super) struct Guarded {
    io: Coalesced,
    state: Arc<State>,
    frames: Frames,
    counts: Counts,
}

impl Guarded {
    pub(super) fn new(io: Coalesced, state: Arc<State>) -> Self {
        Self { io, state, frames: Frames::default(), counts: Counts::new(Instant::now()) }
    }
}

impl AsyncRead for Guarded {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.io).poll_read(cx, buf))?;
        let last = this.counts.last;
        this.frames.read(buf.filled().get(before..).unwrap_or_default(), |head| this.counts.count(head));
        match this.counts.flood(last) {
            None => Poll::Ready(Ok(())),
            Some(flood) => {
                let _ = this.state.flood.set(flood);
                Poll::Ready(Err(io::Error::other(flood)))
            }
        }
    }
}

impl AsyncWrite for Guarded {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(cx, bytes);
        if let Poll::Ready(Ok(written)) = written {
            self.counts.written += written as u64;
        }
        self.state.is_blocked.store(written.is_pending(), Ordering::Relaxed);
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GO_AWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const ACK: u8 = 1;

/// The head of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Head {
    length: u32,
    kind: u8,
    flags: u8,
    stream: u32,
}

impl Head {
    fn of(bytes: [u8; FRAME_HEAD]) -> Self {
        let [a, b, c, kind, flags, e, f, g, h] = bytes;
        let stream = u32::from_be_bytes([e & 0x7f, f, g, h]);
        Self { length: u32::from_be_bytes([0, a, b, c]), kind, flags, stream }
    }
}

/// Finds the heads of frames in bytes that come in any pieces.
#[derive(Debug)]
struct Frames {
    /// What is still to come of the preface or of a frame's payload.
    skip: usize,
    /// A head of which not all is there.
    partial: [u8; FRAME_HEAD],
    has: usize,
}

impl Default for Frames {
    fn default() -> Self {
        Self { skip: PREFACE.len(), partial: [0; FRAME_HEAD], has: 0 }
    }
}

impl Frames {
    fn read(&mut self, mut bytes: &[u8], mut each: impl FnMut(Head)) {
        loop {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = bytes.get(skipped..).unwrap_or_default();
            if bytes.is_empty() {
                return;
            }
            let Some((head, rest)) = self.head(bytes) else { return };
            bytes = rest;
            self.skip = head.length as usize;
            each(head);
        }
    }

    /// The next head, and what follows it.
    fn head<'b>(&mut self, bytes: &'b [u8]) -> Option<(Head, &'b [u8])> {
        if self.has == 0
            && let Some((head, rest)) = bytes.split_first_chunk()
        {
            return Some((Head::of(*head), rest));
        }
        let missing = self.partial.get_mut(self.has..).unwrap_or_default();
        let (more, rest) = bytes.split_at(missing.len().min(bytes.len()));
        missing.iter_mut().zip(more).for_each(|(to, from)| *to = *from);
        self.has += more.len();
        if self.has < FRAME_HEAD {
            return None;
        }
        self.has = 0;
        Some((Head::of(self.partial), rest))
    }
}

/// What has come, since it was last looked at how long that took.
#[derive(Debug)]
struct Counts {
    control: u32,
    useful: u32,
    written: u64,
    control_since: Instant,
    requests: u32,
    resets: u32,
    resets_since: Instant,
    /// The last request's stream.
    last: u32,
}

impl Counts {
    fn new(now: Instant) -> Self {
        Self {
            control: 0,
            useful: 0,
            written: 0,
            control_since: now,
            requests: 0,
            resets: 0,
            resets_since: now,
            last: 0,
        }
    }

    fn count(&mut self, head: Head) {
        match head.kind {
            HEADERS => {
                self.last = self.last.max(head.stream);
                self.useful = self.useful.saturating_add(1);
                self.requests = self.requests.saturating_add(1);
            }
            DATA if head.length > 0 => self.useful = self.useful.saturating_add(1),
            // Empty ones, and what belongs to a head, are h2's to count. Window updates go with what is written, and
            // cost as little as any bytes.
            DATA | CONTINUATION | WINDOW_UPDATE => {}
            RST_STREAM => self.resets += 1,
            SETTINGS => self.control += 10,
            // Of few that this side has sent; h2 logs each that it has not.
            PING if head.flags & ACK != 0 => self.control += 10,
            _ => self.control += 1,
        }
    }

    /// Whether this is too much. `last` is the last request that h2 has got.
    fn flood(&mut self, last: u32) -> Option<Flood> {
        if self.control >= CONTROL_FRAMES {
            let explained = self.useful >= self.control / CONTROL_PER_USEFUL
                || self.written >= u64::from(self.control) * WRITTEN_PER_CONTROL;
            let now = Instant::now();
            if !explained && now - self.control_since < CONTROL_TIME {
                return Some(Flood::Control { last });
            }
            (self.control, self.useful, self.written, self.control_since) = (0, 0, 0, now);
        }
        if self.resets >= RESETS {
            let now = Instant::now();
            if self.resets > self.requests / 2 && now - self.resets_since < RESETS_TIME {
                return Some(Flood::Resets { last });
            }
            (self.requests, self.resets, self.resets_since) = (0, 0, now);
        }
        None
    }
}

#[cfg(test)]
mod tests;
