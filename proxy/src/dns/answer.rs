//! The answer of a name server: whether it is one, for how long it may be used again, and how it is passed on.

use std::{ops::Range, time::Duration};

use hickory_proto::{
    op::{MessageType, ResponseCode},
    rr::RecordType,
};

use super::{
    layout::{HEADER, Layout, Record, Section},
    query::Query,
};

/// The TTL of everything in an answer that has run out, in seconds (RFC 8767).
const STALE_TTL: u32 = 30;
/// Records may say any time; a day without asking is enough.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);
/// "There is no such name" is remembered for an hour at most (RFC 2308).
const LONGEST_NEGATIVE: u32 = 60 * 60;

#[derive(Debug)]
pub struct Answer {
    bytes: Box<[u8]>,
    question_end: usize,
    ttls: Box<[Ttl]>,
    pub code: ResponseCode,
    pub truncated: bool,
    /// None: it is not to be used again.
    pub lifetime: Option<Duration>,
}

#[derive(Debug)]
struct Ttl {
    at: usize,
    seconds: u32,
}

/// How old an answer is when it is passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Age {
    Of(Duration),
    /// Its time has run out.
    Stale,
}

impl Answer {
    /// None if the message is not the answer to `asked`: malformed, or with another id or question.
    pub fn read(asked: &[u8], message: &[u8]) -> Option<Self> {
        let layout = Layout::read(message).ok()?;
        if layout.header.message_type != MessageType::Response || message.get(..2)? != asked.get(..2)? {
            return None;
        }
        let code = layout.header.response_code;
        if layout.header.counts.queries == 0 {
            return (code != ResponseCode::NoError).then(|| Self::refused(asked, message, code)).flatten();
        }
        let question = HEADER..layout.question_end;
        // Ends where a question ends, so that equal bytes are the same question; a length of a label is no letter.
        if !message.get(question.clone())?.eq_ignore_ascii_case(asked.get(question)?) {
            return None;
        }
        let ttls = layout.records.iter().filter(|r| r.kind != RecordType::OPT);
        let ttls = ttls.map(|record| Ttl { at: record.ttl_at, seconds: seconds(record, message) }).collect();
        Some(Self {
            bytes: message.into(),
            question_end: layout.question_end,
            ttls,
            code,
            truncated: layout.header.truncation,
            lifetime: lifetime(&layout, message),
        })
    }

    /// A server that refuses may leave the question out; the client gets it.
    fn refused(asked: &[u8], message: &[u8], code: ResponseCode) -> Option<Self> {
        let question_end = Layout::read(asked).ok()?.question_end;
        let mut bytes = asked.get(..question_end)?.to_vec();
        bytes.get_mut(2..4)?.copy_from_slice(message.get(2..4)?);
        bytes.get_mut(4..HEADER)?.copy_from_slice(&[0, 1, 0, 0, 0, 0, 0, 0]);
        Some(Self { bytes: bytes.into(), question_end, ttls: [].into(), code, truncated: false, lifetime: None })
    }

    /// Whether another server may know better.
    pub fn is_failure(&self) -> bool {
        use ResponseCode::{FormErr, NotImp, Refused, ServFail};
        matches!(self.code, FormErr | NotImp | Refused | ServFail)
    }

    pub fn size(&self) -> usize {
        self.bytes.len() + size_of_val(&*self.ttls)
    }

    /// The answer to `query`, which asked for it: its id and its spelling of the question, and what is left of the TTLs.
    pub fn to(&self, query: &Query, age: Age) -> Vec<u8> {
        let mut bytes = self.bytes.to_vec();
        write(&mut bytes, 0..2, query.bytes());
        write(&mut bytes, HEADER..self.question_end, query.bytes());
        for ttl in &self.ttls {
            let left = match age {
                Age::Of(age) => ttl.seconds.saturating_sub(u32::try_from(age.as_secs()).unwrap_or(u32::MAX)),
                Age::Stale => STALE_TTL,
            };
            if let Some(place) = bytes.get_mut(ttl.at..ttl.at + 4) {
                place.copy_from_slice(&left.to_be_bytes());
            }
        }
        bytes
    }
}

/// The same place in both.
fn write(to: &mut [u8], place: Range<usize>, from: &[u8]) {
    if let (Some(to), Some(from)) = (to.get_mut(place.clone()), from.get(place)) {
        to.copy_from_slice(from);
    }
}

/// The least of the answer's TTLs; where there is no answer, what the zone says of that (RFC 2308).
fn lifetime(layout: &Layout, message: &[u8]) -> Option<Duration> {
    let header = &layout.header;
    if header.truncation || !matches!(header.response_code, ResponseCode::NoError | ResponseCode::NXDomain) {
        return None;
    }
    let counts = |r: &&Record| r.section == Section::Answer || is_negative_ttl(r);
    let least = layout.records.iter().filter(counts).map(|r| seconds(r, message)).min()?;
    (least > 0).then(|| Duration::from_secs(least.into()).min(LONGEST))
}

/// The TTL that counts: of a zone's SOA the time for which there is nothing. One with the highest bit is 0 (RFC 2181).
fn seconds(record: &Record, message: &[u8]) -> u32 {
    let ttl = if record.ttl > i32::MAX as u32 { 0 } else { record.ttl };
    if !is_negative_ttl(record) {
        return ttl;
    }
    // The last field of the SOA.
    let minimum = message.get(record.data.clone()).and_then(|data| data.last_chunk().copied()).map(u32::from_be_bytes);
    ttl.min(minimum.unwrap_or(0)).min(LONGEST_NEGATIVE)
}

fn is_negative_ttl(record: &Record) -> bool {
    record.section == Section::Authority && record.kind == RecordType::SOA
}
