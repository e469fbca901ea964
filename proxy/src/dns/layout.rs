//! Where the parts of a DNS message are (RFC 1035, 4.1), so that it can be passed on as the bytes that it is.
//!
//! Records are found, not read: what their data mean is for those who asked. A reader that knows the types refuses
//! whole messages for one record that it does not like, and writes others back differently. Names are skipped without
//! following their pointers, so that no message takes longer than its length.

use std::ops::Range;

use hickory_proto::{
    op::Header,
    rr::RecordType,
    serialize::binary::{BinDecodable, BinDecoder, DecodeError},
};

/// Bytes of a message's header.
pub const HEADER: usize = 12;

pub struct Layout {
    pub header: Header,
    /// Where the question ends and the records begin.
    pub question_end: usize,
    pub records: Vec<Record>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    Answer,
    Authority,
    Additional,
}

pub struct Record {
    pub section: Section,
    pub kind: RecordType,
    /// The class; in an OPT record the sender's largest datagram.
    pub class: u16,
    pub ttl: u32,
    pub ttl_at: usize,
    pub data: Range<usize>,
}

impl Layout {
    /// # Errors
    /// The message ends early, a name is malformed, or there is more than one question.
    pub fn read(message: &[u8]) -> Result<Self, DecodeError> {
        let mut decoder = BinDecoder::new(message);
        let header = Header::read(&mut decoder)?;
        match header.counts.queries {
            0 => {}
            // There is nothing before it that its name could be shortened to.
            1 if skip_name(&mut decoder)? == Name::Whole => decoder.read_slice(4).map(drop)?,
            _ => return Err(DecodeError::InsufficientBytes),
        }
        let question_end = decoder.index();
        let counts = &header.counts;
        let sections = [
            (Section::Answer, counts.answers),
            (Section::Authority, counts.authorities),
            (Section::Additional, counts.additionals),
        ];
        let mut records = Vec::new();
        for (section, count) in sections {
            for _ in 0..count {
                records.push(Record::find(&mut decoder, section)?);
            }
        }
        Ok(Self { header, question_end, records })
    }
}

impl Record {
    fn find(decoder: &mut BinDecoder<'_>, section: Section) -> Result<Self, DecodeError> {
        skip_name(decoder)?;
        let kind = RecordType::from(decoder.read_u16()?.unverified());
        let class = decoder.read_u16()?.unverified();
        let ttl_at = decoder.index();
        let ttl = decoder.read_u32()?.unverified();
        let length = usize::from(decoder.read_u16()?.unverified());
        let start = decoder.index();
        decoder.read_slice(length)?;
        Ok(Self { section, kind, class, ttl, ttl_at, data: start..start + length })
    }
}

#[derive(PartialEq, Eq)]
enum Name {
    Whole,
    /// Its end is elsewhere in the message.
    Shortened,
}

fn skip_name(decoder: &mut BinDecoder<'_>) -> Result<Name, DecodeError> {
    loop {
        match decoder.pop()?.unverified() {
            0 => return Ok(Name::Whole),
            length @ 1..=63 => decoder.read_slice(length.into()).map(drop)?,
            0xC0.. => return decoder.pop().map(|_| Name::Shortened),
            unknown => return Err(DecodeError::UnrecognizedLabelCode(unknown)),
        }
    }
}
