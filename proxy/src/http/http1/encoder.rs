//! How a body that goes out is framed on the wire (RFC 9112 §6 and §7).

use std::io::Write;

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, header};
use http_body::Frame;

use super::{Error, outgoing::Outgoing};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoder {
    /// Bytes that are still to come.
    Length(u64),
    Chunked,
    /// Of an answer to a caller that knows no chunks.
    UntilClose,
    /// A chunked body that was ended by its trailers.
    Ended,
}

impl Encoder {
    pub(super) fn encode(&mut self, frame: Frame<Bytes>, output: &mut Outgoing) -> Result<(), Error> {
        match (self, frame.into_data()) {
            (Self::Length(left), Ok(data)) => {
                *left = left.checked_sub(data.len() as u64).ok_or(Error::Body)?;
                output.put(data, b"");
            }
            (Self::UntilClose, Ok(data)) => output.put(data, b""),
            // An empty chunk would end the body.
            (Self::Chunked, Ok(data)) if !data.is_empty() => {
                // Writing to memory cannot fail.
                let _ = write!((&mut output.text).writer(), "{:x}\r\n", data.len());
                output.put(data, b"\r\n");
            }
            (encoder @ Self::Chunked, Err(frame)) => {
                if let Ok(trailers) = frame.into_trailers() {
                    output.text.extend_from_slice(b"0\r\n");
                    put_trailers(&mut output.text, &trailers);
                    *encoder = Self::Ended;
                }
            }
            // Trailers need chunks.
            (Self::Chunked | Self::Ended, _) | (Self::Length(_) | Self::UntilClose, Err(_)) => {}
        }
        Ok(())
    }

    /// The body is over.
    pub(super) fn end(&mut self, output: &mut Outgoing) -> Result<(), Error> {
        match self {
            Self::Length(1..) => return Err(Error::Body),
            Self::Length(0) | Self::UntilClose | Self::Ended => {}
            Self::Chunked => output.put_last_chunk(),
        }
        *self = Self::Ended;
        Ok(())
    }
}

/// Fields that frame or address the message, or are about the hop, may not come after it (RFC 9110 §6.5.1).
const NOT_BEHIND: [HeaderName; 8] = [
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::TRAILER,
    header::HOST,
    header::CONNECTION,
    header::UPGRADE,
    header::TE,
    header::EXPECT,
];

fn put_trailers(text: &mut BytesMut, trailers: &HeaderMap) {
    for (name, value) in trailers {
        if !NOT_BEHIND.contains(name) {
            put_field(text, name.as_str(), value.as_bytes());
        }
    }
    text.extend_from_slice(b"\r\n");
}

pub(super) fn put_field(text: &mut BytesMut, name: &str, value: &[u8]) {
    text.extend_from_slice(name.as_bytes());
    text.extend_from_slice(b": ");
    text.extend_from_slice(value);
    text.extend_from_slice(b"\r\n");
}
