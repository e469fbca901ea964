//! One request head, byte by byte: enough of it to know how the body is framed.

use super::Refusal;

const CONTENT_LENGTH: &[u8] = b"content-length";
const TRANSFER_ENCODING: &[u8] = b"transfer-encoding";
const CONNECT: &[u8] = b"CONNECT ";
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0";

/// How the bytes after the head are to be read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Framing {
    Length(u64),
    Chunked,
    Opaque,
}

#[derive(Debug, Default)]
pub(super) struct Head {
    at: At,
    /// The beginning of the request line, the name of the current field, or the value of a field that frames.
    word: Word,
    length: Option<u64>,
    chunked: bool,
    opaque: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum At {
    /// Before the request line, where empty lines are skipped.
    #[default]
    Start,
    RequestLine,
    LineStart,
    Name,
    Value(Field),
    /// After a CR, which must be followed by LF; what the line was.
    Cr(Line),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    ContentLength,
    TransferEncoding,
    Other,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    BeforeHead,
    Request,
    Field(Field),
    /// A line without a colon; the server refuses it.
    NoField,
    /// The end of the head.
    Blank,
}

impl Head {
    /// How many of the next bytes say nothing about the framing.
    pub(super) fn skippable(&self, bytes: &[u8]) -> usize {
        match self.at {
            At::Value(Field::Other) => memchr::memchr2(b'\r', b'\n', bytes).unwrap_or(bytes.len()),
            _ => 0,
        }
    }

    /// The next byte; `Some` at the end of the head.
    pub(super) fn step(&mut self, byte: u8) -> Result<Option<Framing>, Refusal> {
        if let At::Cr(line) = self.at {
            return if byte == b'\n' { self.end(line) } else { Err(Refusal::BareCr) };
        }
        match byte {
            b'\r' => {
                self.at = At::Cr(self.line());
                Ok(None)
            }
            b'\n' => self.end(self.line()),
            byte => self.take(byte).map(|()| None),
        }
    }

    fn line(&self) -> Line {
        match self.at {
            At::Start => Line::BeforeHead,
            At::RequestLine => Line::Request,
            At::LineStart => Line::Blank,
            At::Name => Line::NoField,
            At::Value(field) => Line::Field(field),
            At::Cr(line) => line,
        }
    }

    fn take(&mut self, byte: u8) -> Result<(), Refusal> {
        match self.at {
            At::Start => {
                self.at = At::RequestLine;
                self.word.restart(byte);
            }
            At::RequestLine => {
                self.word.push(byte);
            }
            At::LineStart if matches!(byte, b' ' | b'\t') => return Err(Refusal::FoldedLine),
            At::LineStart => {
                self.at = At::Name;
                self.word.restart(byte);
            }
            At::Name if byte == b':' => self.at = At::Value(self.begin_field()?),
            At::Name => {
                self.word.push(byte);
            }
            At::Value(Field::ContentLength) if !self.word.push(byte) => return Err(Refusal::ContentLength),
            At::Value(Field::TransferEncoding) if !self.word.push(byte) => return Err(Refusal::TransferEncoding),
            At::Value(_) | At::Cr(_) => {}
        }
        Ok(())
    }

    /// At the colon: which field it is, and whether it may still come.
    fn begin_field(&mut self) -> Result<Field, Refusal> {
        let field = if self.word.is(CONTENT_LENGTH) {
            Field::ContentLength
        } else if self.word.is(TRANSFER_ENCODING) {
            Field::TransferEncoding
        } else {
            Field::Other
        };
        match field {
            Field::ContentLength if self.chunked => return Err(Refusal::BothLengths),
            Field::ContentLength if self.length.is_some() => return Err(Refusal::ContentLength),
            Field::TransferEncoding if self.length.is_some() => return Err(Refusal::BothLengths),
            Field::TransferEncoding if self.chunked => return Err(Refusal::TransferEncoding),
            _ => {}
        }
        self.word = Word::default();
        Ok(field)
    }

    /// At the end of a line.
    fn end(&mut self, line: Line) -> Result<Option<Framing>, Refusal> {
        match line {
            Line::BeforeHead => {
                self.at = At::Start;
                return Ok(None);
            }
            Line::Blank => return Ok(Some(self.framing())),
            Line::Request => self.opaque = self.word.starts_with(CONNECT) || self.word.is(HTTP2_PREFACE),
            Line::Field(Field::ContentLength) => {
                self.length = Some(self.word.number().ok_or(Refusal::ContentLength)?);
            }
            Line::Field(Field::TransferEncoding) if self.word.is(b"chunked") => self.chunked = true,
            Line::Field(Field::TransferEncoding) => return Err(Refusal::TransferEncoding),
            Line::Field(Field::Other) | Line::NoField => {}
        }
        self.at = At::LineStart;
        Ok(None)
    }

    fn framing(&self) -> Framing {
        match (self.opaque, self.chunked, self.length) {
            (true, ..) => Framing::Opaque,
            (_, true, _) => Framing::Chunked,
            (_, _, length) => Framing::Length(length.unwrap_or(0)),
        }
    }
}

/// Longer than every word that is looked for, and than the largest number with some blanks around it.
const WORD: usize = 32;

#[derive(Debug, Default)]
struct Word {
    bytes: [u8; WORD],
    /// Counts on beyond the array, so that a longer word equals none.
    len: usize,
}

impl Word {
    fn restart(&mut self, byte: u8) {
        self.len = 0;
        self.push(byte);
    }

    /// Whether there was room.
    fn push(&mut self, byte: u8) -> bool {
        let place = self.bytes.get_mut(self.len);
        self.len += 1;
        place.map(|place| *place = byte).is_some()
    }

    fn is(&self, word: &[u8]) -> bool {
        self.whole().is_some_and(|bytes| bytes.trim_ascii().eq_ignore_ascii_case(word))
    }

    fn starts_with(&self, word: &[u8]) -> bool {
        self.bytes.starts_with(word) && self.len >= word.len()
    }

    fn number(&self) -> Option<u64> {
        let digits = self.whole()?.trim_ascii();
        let all_digits = digits.iter().all(u8::is_ascii_digit);
        std::str::from_utf8(digits).ok().filter(|_| all_digits)?.parse().ok()
    }

    fn whole(&self) -> Option<&[u8]> {
        self.bytes.get(..self.len)
    }
}
