//! How a body that comes in is framed on the wire (RFC 9112 §6.3 and §7.1).

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use http_body::Frame;

use super::{Error, Refusal, head::MAX_FIELDS};
use crate::http::server::MAX_HEAD;

/// A chunk's size, with extensions that nobody uses.
const MAX_SIZE_LINE: usize = 1 << 10;

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Decoder {
    /// Bytes that are still to come.
    Length(u64),
    Chunked(Chunked),
    UntilClose,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Chunked {
    Size,
    Data(u64),
    /// The line end behind a chunk's data.
    DataEnd,
    Trailers,
    Ended,
}

/// What the input holds next.
#[derive(Debug)]
pub(super) enum Decoded {
    Frame(Frame<Bytes>),
    End,
    /// Nothing whole. So many bytes are still to come for sure, or more.
    More(u64),
}

impl Decoder {
    pub(super) fn decode(&mut self, input: &mut BytesMut) -> Result<Decoded, Error> {
        match self {
            Self::Length(0) => Ok(Decoded::End),
            Self::Length(left) => Ok(data(left, input)),
            Self::Chunked(chunked) => chunked.decode(input),
            Self::UntilClose if input.is_empty() => Ok(Decoded::More(u64::MAX)),
            Self::UntilClose => Ok(Decoded::Frame(Frame::data(input.split().freeze()))),
        }
    }

    /// Whether nothing comes any more, without a look at further input.
    pub(super) fn is_ended(&self) -> bool {
        matches!(self, Self::Length(0) | Self::Chunked(Chunked::Ended))
    }

    /// The other side has closed the connection.
    pub(super) fn closed(&mut self) -> Result<(), Error> {
        match self {
            Self::UntilClose => {
                *self = Self::Length(0);
                Ok(())
            }
            Self::Length(_) | Self::Chunked(_) => Err(Error::Closed),
        }
    }
}

fn data(left: &mut u64, input: &mut BytesMut) -> Decoded {
    if input.is_empty() {
        return Decoded::More(*left);
    }
    let count = input.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
    *left -= count as u64;
    Decoded::Frame(Frame::data(input.split_to(count).freeze()))
}

impl Chunked {
    fn decode(&mut self, input: &mut BytesMut) -> Result<Decoded, Error> {
        loop {
            match self {
                Self::Size => {
                    let Some((line, size)) = size_line(input)? else { return Ok(Decoded::More(0)) };
                    input.advance(line);
                    *self = if size == 0 { Self::Trailers } else { Self::Data(size) };
                }
                Self::Data(0) => *self = Self::DataEnd,
                Self::Data(left) => return Ok(data(left, input)),
                Self::DataEnd => match input.get(..2) {
                    Some(b"\r\n") => {
                        input.advance(2);
                        *self = Self::Size;
                    }
                    None if b"\r\n".starts_with(input) => return Ok(Decoded::More(0)),
                    _ => return Err(Refusal::Chunk.into()),
                },
                Self::Trailers => {
                    let Some(trailers) = trailers(input)? else { return Ok(Decoded::More(0)) };
                    *self = Self::Ended;
                    if !trailers.is_empty() {
                        return Ok(Decoded::Frame(Frame::trailers(trailers)));
                    }
                }
                Self::Ended => return Ok(Decoded::End),
            }
        }
    }
}

/// The length of the line that begins a chunk, and the chunk's size, when all of the line is there. Nothing is read
/// leniently here: httparse lets a line without a size pass, and extensions with a lone LF.
fn size_line(input: &[u8]) -> Result<Option<(usize, u64)>, Refusal> {
    let end = memchr::memchr2(b'\r', b'\n', input);
    let line = input.get(..end.unwrap_or(input.len())).unwrap_or_default();
    let count = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let (digits, rest) = line.split_at_checked(count).ok_or(Refusal::Chunk)?;
    let is_extension = rest.iter().find(|byte| !matches!(byte, b' ' | b'\t')).is_none_or(|first| *first == b';');
    // Sixteen digits are all that a size can have.
    if line.len() > MAX_SIZE_LINE || count > 16 || count == 0 && !input.is_empty() || !is_extension {
        return Err(Refusal::Chunk);
    }
    let size = digits.iter().fold(0, |size, digit| size << 4 | u64::from(char::from(*digit).to_digit(16).unwrap_or(0)));
    match end.and_then(|end| input.get(end..)) {
        None | Some(b"\r") => Ok(None),
        Some([b'\r', b'\n', ..]) => Ok(Some((line.len() + 2, size))),
        Some(_) => Err(Refusal::Chunk),
    }
}

/// The trailer section, when all of it is there. What frames a message does not come behind it.
fn trailers(input: &mut BytesMut) -> Result<Option<HeaderMap>, Refusal> {
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let (length, fields) = match httparse::parse_headers(input, &mut fields) {
        Ok(httparse::Status::Complete((length, fields))) if !has_lone_lf(input.get(..length)) => (length, fields),
        Ok(httparse::Status::Partial) if input.len() < MAX_HEAD && !has_lone_lf(Some(input)) => return Ok(None),
        _ => return Err(Refusal::Trailers),
    };
    let mut trailers = HeaderMap::with_capacity(fields.len());
    for field in fields {
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| Refusal::Trailers)?;
        if name == header::CONTENT_LENGTH || name == header::TRANSFER_ENCODING {
            return Err(Refusal::Trailers);
        }
        trailers.append(name, HeaderValue::from_bytes(field.value).map_err(|_| Refusal::Trailers)?);
    }
    input.advance(length);
    Ok(Some(trailers))
}

fn has_lone_lf(text: Option<&[u8]>) -> bool {
    let text = text.unwrap_or_default();
    memchr::memchr_iter(b'\n', text).any(|end| !text.get(..end).is_some_and(|line| line.ends_with(b"\r")))
}
