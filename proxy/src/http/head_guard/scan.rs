//! Follows the bytes of a connection from head to body to the next head.

use super::{
    chunked::Chunked,
    head::{Framing, Head},
};

/// What was ambiguous.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("both content-length and transfer-encoding")]
    BothLengths,
    #[error("content-length is repeated or is not a number")]
    ContentLength,
    #[error("transfer-encoding is not exactly \"chunked\"")]
    TransferEncoding,
    #[error("a header line is folded")]
    FoldedLine,
    #[error("a CR without LF")]
    BareCr,
    #[error("the framing of a chunk is not valid")]
    Chunk,
}

const REFUSALS: [Refusal; 6] = [
    Refusal::BothLengths,
    Refusal::ContentLength,
    Refusal::TransferEncoding,
    Refusal::FoldedLine,
    Refusal::BareCr,
    Refusal::Chunk,
];

impl Refusal {
    /// Never 0, which stands for no refusal.
    pub(super) fn code(self) -> u8 {
        self as u8 + 1
    }

    pub(super) fn from_code(code: u8) -> Option<Self> {
        REFUSALS.get(usize::from(code).checked_sub(1)?).copied()
    }
}

#[derive(Debug)]
pub(super) struct Scanner {
    phase: Phase,
}

#[derive(Debug)]
enum Phase {
    Head(Head),
    /// Bytes left of a body of known length.
    Length(u64),
    Chunked(Chunked),
    /// Not HTTP/1, or no more.
    Opaque,
    Refused,
}

impl Default for Scanner {
    fn default() -> Self {
        Self { phase: Phase::Head(Head::default()) }
    }
}

impl Scanner {
    /// The bytes that follow are not HTTP/1. What was refused stays refused.
    pub(super) fn stop(&mut self) {
        if !matches!(self.phase, Phase::Refused) {
            self.phase = Phase::Opaque;
        }
    }

    /// Looks at the next bytes. The first that must be refused is overwritten with a zero, which no head and no chunk
    /// size may hold, and all that follow with line feeds, here and in further calls: nothing of them can be taken for
    /// a request, and hyper sees the end of a head that came in pieces, for which it waits before it reads the head.
    /// The reason is returned once.
    pub(super) fn scan(&mut self, bytes: &mut [u8]) -> Option<Refusal> {
        let mut seen = 0;
        while let Some(rest) = bytes.get_mut(seen..).filter(|rest| !rest.is_empty()) {
            match self.step(rest) {
                Ok(count) => seen += count.max(1),
                Err(refusal) => {
                    rest.fill(b'\n');
                    if let Some(first) = rest.first_mut() {
                        *first = 0;
                    }
                    self.phase = Phase::Refused;
                    return Some(refusal);
                }
            }
        }
        None
    }

    /// How many bytes were looked at. An error is about the first byte.
    fn step(&mut self, bytes: &mut [u8]) -> Result<usize, Refusal> {
        let Some(first) = bytes.first().copied() else { return Ok(0) };
        match &mut self.phase {
            Phase::Head(head) => {
                let skip = head.skippable(bytes);
                if skip > 0 {
                    return Ok(skip);
                }
                if let Some(framing) = head.step(first)? {
                    self.phase = Phase::after(framing);
                }
                Ok(1)
            }
            Phase::Length(left) => {
                let count = bytes.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= count as u64;
                if *left == 0 {
                    self.phase = Phase::Head(Head::default());
                }
                Ok(count)
            }
            Phase::Chunked(chunked) => {
                let skip = chunked.skip(bytes.len());
                if skip > 0 {
                    return Ok(skip);
                }
                if chunked.step(first)? {
                    self.phase = Phase::Head(Head::default());
                }
                Ok(1)
            }
            Phase::Opaque => Ok(bytes.len()),
            Phase::Refused => {
                bytes.fill(b'\n');
                Ok(bytes.len())
            }
        }
    }
}

impl Phase {
    fn after(framing: Framing) -> Self {
        match framing {
            Framing::Length(0) => Self::Head(Head::default()),
            Framing::Length(length) => Self::Length(length),
            Framing::Chunked => Self::Chunked(Chunked::default()),
            Framing::Opaque => Self::Opaque,
        }
    }
}
