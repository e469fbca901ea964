//! What an application asks, as far as it decides anything here, and the answers that are made here.

use hickory_proto::{
    ProtoError,
    op::{self, Edns, Header, Message, MessageType, Metadata, OpCode, ResponseCode},
    rr::{DNSClass, Name, RData, Record, RecordType, rdata::SOA},
    serialize::binary::{BinDecodable, BinDecoder},
};

use super::layout::Layout;

/// The largest datagram that we take over a network: what passes without fragments (DNS flag day 2020).
const DATAGRAM: u16 = 1232;
/// What a client without EDNS takes (RFC 1035), and the most that one with it is sent: what it gets came over loopback.
const CLIENT_DATAGRAM: (u16, u16) = (512, 4096);
/// How long a client may remember that there is nothing, in seconds: a service may be created at any time.
const NOTHING_TTL: u32 = 5;

/// In an OPT record's TTL (RFC 6891, 6.1.3).
const DNSSEC_OK: u32 = 0x8000;
const EDNS_VERSION: u32 = 0x00FF_0000;
/// In a header's first byte of flags.
const TRUNCATED: u8 = 0x02;

/// One question, the flags with it, and what EDNS says of the client.
pub struct Query {
    pub question: op::Query,
    metadata: Metadata,
    edns: Option<ClientEdns>,
    /// Header and question as they came: an answer has the question in the client's own spelling.
    bytes: Vec<u8>,
}

#[derive(Clone, Copy)]
struct ClientEdns {
    datagram: u16,
    dnssec_ok: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    Udp,
    Tcp,
}

/// Why a message is not answered as a query.
#[derive(Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It is no query: an answer to it could go round for ever.
    Silence,
    /// The answer says why.
    Answer(Vec<u8>),
}

impl Query {
    /// # Errors
    /// The message is malformed or no query, or asks for something other than an answer to one question.
    pub fn read(message: &[u8]) -> Result<Self, Refusal> {
        let mut decoder = BinDecoder::new(message);
        let header = Header::read(&mut decoder).map_err(|_| Refusal::Silence)?;
        if header.message_type != MessageType::Query {
            return Err(Refusal::Silence);
        }
        let refuse = |code| Err(refusal(&header, code));
        if header.op_code != OpCode::Query {
            return refuse(ResponseCode::NotImp);
        }
        let (Ok(question), Ok(layout)) = (op::Query::read(&mut decoder), Layout::read(message)) else {
            return refuse(ResponseCode::FormErr);
        };
        let mut options = layout.records.iter().filter(|r| r.kind == RecordType::OPT);
        let (option, more) = (options.next(), options.next());
        let Some(bytes) = message.get(..layout.question_end).filter(|_| header.counts.queries == 1 && more.is_none())
        else {
            return refuse(ResponseCode::FormErr);
        };
        let edns = option.map(|record| ClientEdns { datagram: record.class, dnssec_ok: record.ttl & DNSSEC_OK != 0 });
        let query = Self { question, metadata: header.metadata, edns, bytes: bytes.to_vec() };
        if option.is_some_and(|record| record.ttl & EDNS_VERSION != 0) {
            return Err(query.refusal(ResponseCode::BADVERS));
        }
        if matches!(query.question.query_type(), RecordType::AXFR | RecordType::IXFR) {
            return Err(query.refusal(ResponseCode::Refused));
        }
        Ok(query)
    }

    pub fn name(&self) -> &Name {
        self.question.name()
    }

    pub fn kind(&self) -> RecordType {
        self.question.query_type()
    }

    pub fn is_internet(&self) -> bool {
        self.question.query_class() == DNSClass::IN
    }

    /// Header and question as they came.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The same question to a name server, with id 0 and in lower case: equal bytes may have the same answer. With EDNS
    /// if the client has it, so that a server without it answers, or fails, as it would without us.
    ///
    /// # Errors
    /// It cannot be written, which a question that was read always can.
    pub fn forwarded(&self) -> Result<Vec<u8>, ProtoError> {
        let mut message = Message::new(0, MessageType::Query, OpCode::Query);
        message.metadata.recursion_desired = self.metadata.recursion_desired;
        message.metadata.authentic_data = self.metadata.authentic_data;
        message.metadata.checking_disabled = self.metadata.checking_disabled;
        let mut question = self.question.clone();
        question.set_name(self.name().to_lowercase());
        message.add_query(question);
        message.edns = self.edns();
        message.to_vec()
    }

    /// An answer without records.
    pub fn answer(&self, code: ResponseCode) -> Message {
        let mut message = Message::response(self.metadata.id, OpCode::Query);
        message.metadata.recursion_desired = self.metadata.recursion_desired;
        message.metadata.checking_disabled = self.metadata.checking_disabled;
        message.metadata.recursion_available = true;
        message.metadata.response_code = code;
        message.add_query(self.question.clone());
        message.edns = self.edns();
        message
    }

    /// An answer that there is nothing, and that this may be remembered for a moment (RFC 2308). `zone` is the name
    /// itself or one above it.
    pub fn nothing(&self, code: ResponseCode, zone: Name) -> Message {
        let soa = SOA::new(zone.clone(), zone.clone(), 1, 3600, 600, 86_400, NOTHING_TTL);
        let mut message = self.answer(code);
        message.metadata.authoritative = true;
        message.add_authority(Record::from_rdata(zone, NOTHING_TTL, RData::SOA(soa)));
        message
    }

    /// What is sent of `answer`: all of it, or if that is more than a datagram to this client may be, nothing but that
    /// it is to ask by TCP.
    ///
    /// # Errors
    /// It cannot be written, which a question that was read always can.
    pub fn fit(&self, answer: Vec<u8>, transport: Transport) -> Result<Vec<u8>, ProtoError> {
        let limit = match transport {
            Transport::Tcp => u16::MAX,
            Transport::Udp => {
                let asked = self.edns.map_or(CLIENT_DATAGRAM.0, |edns| edns.datagram);
                asked.clamp(CLIENT_DATAGRAM.0, CLIENT_DATAGRAM.1)
            }
        };
        if answer.len() <= limit.into() {
            return Ok(answer);
        }
        let mut truncated = self.answer(ResponseCode::NoError).to_vec()?;
        // The flags and the code are the answer's.
        if let (Some(to), Some(from)) = (truncated.get_mut(2..4), answer.get(2..4)) {
            to.copy_from_slice(from);
        }
        if let Some(flags) = truncated.get_mut(2) {
            *flags |= TRUNCATED;
        }
        Ok(truncated)
    }

    fn edns(&self) -> Option<Edns> {
        self.edns.map(|client| {
            let mut edns = Edns::new();
            edns.set_max_payload(DATAGRAM).set_dnssec_ok(client.dnssec_ok);
            edns
        })
    }

    fn refusal(&self, code: ResponseCode) -> Refusal {
        self.answer(code).to_vec().map_or(Refusal::Silence, Refusal::Answer)
    }
}

/// Only the header: the question may be what is malformed.
fn refusal(header: &Header, code: ResponseCode) -> Refusal {
    let mut message = Message::error_msg(header.id, header.op_code, code);
    message.metadata.recursion_desired = header.recursion_desired;
    message.to_vec().map_or(Refusal::Silence, Refusal::Answer)
}
