//! A chunked body, byte by byte (RFC 9112 §7.1). Nothing is read leniently: what this scanner and the server could
//! read differently is refused.

use super::Refusal;

#[derive(Debug, Default)]
pub(super) struct Chunked {
    at: At,
    /// Of the chunk; while its data are read, what is left of them.
    size: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum At {
    /// Before the first digit of a size.
    #[default]
    Start,
    Size,
    /// Blanks after the size.
    Blank,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    /// At the beginning of a trailer line, or of the empty line that ends the body.
    LineStart,
    Trailer,
    TrailerLf,
    EndLf,
}

impl Chunked {
    /// How many of the next `available` bytes are data of the chunk.
    pub(super) fn skip(&mut self, available: usize) -> usize {
        if self.at != At::Data {
            return 0;
        }
        let count = available.min(usize::try_from(self.size).unwrap_or(usize::MAX));
        self.size -= count as u64;
        if self.size == 0 {
            self.at = At::DataCr;
        }
        count
    }

    /// The next byte of the framing; true at the end of the body.
    pub(super) fn step(&mut self, byte: u8) -> Result<bool, Refusal> {
        self.at = match (self.at, byte) {
            (At::Start | At::Size, digit) if digit.is_ascii_hexdigit() => self.digit(digit)?,
            (At::Size | At::Blank, b' ' | b'\t') => At::Blank,
            (At::Size | At::Blank, b';') => At::Extension,
            (At::Size | At::Blank | At::Extension, b'\r') => At::SizeLf,
            (At::Extension, other) if other != b'\n' => At::Extension,
            (At::SizeLf, b'\n') if self.size == 0 => At::LineStart,
            (At::SizeLf, b'\n') => At::Data,
            (At::DataCr, b'\r') => At::DataLf,
            (At::DataLf, b'\n') => {
                self.size = 0;
                At::Start
            }
            (At::LineStart, b'\r') => At::EndLf,
            (At::Trailer, b'\r') => At::TrailerLf,
            (At::LineStart | At::Trailer, other) if other != b'\n' => At::Trailer,
            (At::TrailerLf, b'\n') => At::LineStart,
            (At::EndLf, b'\n') => return Ok(true),
            (At::SizeLf | At::DataLf | At::TrailerLf | At::EndLf, _) => return Err(Refusal::BareCr),
            _ => return Err(Refusal::Chunk),
        };
        Ok(false)
    }

    fn digit(&mut self, digit: u8) -> Result<At, Refusal> {
        let value = char::from(digit).to_digit(16).ok_or(Refusal::Chunk)?;
        self.size = self.size.checked_mul(16).and_then(|s| s.checked_add(value.into())).ok_or(Refusal::Chunk)?;
        Ok(At::Size)
    }
}
