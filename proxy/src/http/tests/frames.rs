//! HTTP/2 frame by frame (RFC 9113 §4.1).

use super::*;

pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(super) const DATA: u8 = 0x0;
pub(super) const HEADERS: u8 = 0x1;
pub(super) const PRIORITY: u8 = 0x2;
pub(super) const RST_STREAM: u8 = 0x3;
pub(super) const SETTINGS: u8 = 0x4;
pub(super) const PING: u8 = 0x6;
pub(super) const GO_AWAY: u8 = 0x7;
pub(super) const WINDOW_UPDATE: u8 = 0x8;
pub(super) const CONTINUATION: u8 = 0x9;

pub(super) const ACK: u8 = 0x1;
pub(super) const END_STREAM: u8 = 0x1;
pub(super) const END_HEADERS: u8 = 0x4;

/// `GET http://a/`, in the words of HPACK's static table.
pub(super) const GET: &[u8] = &[0x82, 0x86, 0x84, 0x01, 1, b'a'];
/// `POST http://a/`
pub(super) const POST: &[u8] = &[0x83, 0x86, 0x84, 0x01, 1, b'a'];

#[derive(Debug, PartialEq)]
pub(super) struct Frame {
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
    pub(super) payload: Vec<u8>,
}

impl Frame {
    /// Of a GOAWAY.
    pub(super) fn error_code(&self) -> u32 {
        self.payload.get(4..8).map_or(u32::MAX, |code| u32::from_be_bytes(code.try_into().unwrap()))
    }
}

pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A whole request.
pub(super) fn get(stream: u32) -> Vec<u8> {
    frame(HEADERS, END_STREAM | END_HEADERS, stream, GET)
}

pub(super) fn reset(stream: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &[0, 0, 0, 8])
}

/// The first whole frame, and how long it is.
fn first(bytes: &[u8]) -> Option<(Frame, usize)> {
    let (head, rest) = bytes.split_at_checked(9)?;
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
    let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
    let payload = rest.get(..length)?.to_vec();
    Some((Frame { kind: head[3], flags: head[4], stream, payload }, 9 + length))
}

pub(super) fn frames_in(mut bytes: &[u8]) -> Vec<Frame> {
    std::iter::from_fn(|| {
        let (frame, length) = first(bytes)?;
        bytes = &bytes[length..];
        Some(frame)
    })
    .collect()
}

impl Peer {
    /// The next frame; `None`: the other side has closed.
    pub(super) async fn frame(&mut self) -> Option<Frame> {
        loop {
            if let Some((frame, length)) = first(self.read()) {
                self.skip(length);
                return Some(frame);
            }
            if self.fill().await == 0 {
                return None;
            }
        }
    }

    /// The last frame before the other side closes.
    pub(super) async fn last_frame(&mut self) -> Frame {
        let mut last = None;
        while let Some(frame) = self.frame().await {
            last = Some(frame);
        }
        last.expect("closed without a word")
    }
}
