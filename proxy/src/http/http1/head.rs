//! The heads of requests and answers on the wire (RFC 9112 §2 to §6).

use std::{mem::MaybeUninit, time::Duration};

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri, header, uri::PathAndQuery};

use super::{
    Refusal, date,
    decoder::{Chunked, Decoder},
    encoder::{Encoder, put_field},
};
use crate::http::{headers::connection_lists, server::MAX_HEAD};

pub(super) const MAX_FIELDS: usize = 128;

/// A request's head.
#[derive(Debug)]
pub(super) struct RequestHead {
    pub(super) method: Method,
    pub(super) uri: Uri,
    pub(super) headers: HeaderMap,
    pub(super) is_http11: bool,
    pub(super) framing: Decoder,
    pub(super) keep_alive: bool,
}

/// An answer's head.
#[derive(Debug)]
pub(super) struct AnswerHead {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) framing: Decoder,
    /// Whether the connection can be used again when the body has ended.
    pub(super) keep_alive: bool,
    /// For how long it may rest until then, where the other side says so.
    pub(super) rest: Option<Duration>,
}

/// Takes a request's head off the input, when all of it is there. RFC 9112 §2.2 lets a recipient take a lone LF for the
/// end of a line; then a proxy before this one that does not would have seen other fields, so here it is refused.
pub(super) fn take_request(input: &mut BytesMut) -> Result<Option<RequestHead>, Refusal> {
    take_head(input, false)?.map(|text| parse_request(&text)).transpose()
}

/// Takes an answer's head off the input, when all of it is there. Interim answers are skipped: the caller gets its own
/// `100 Continue` from the side that serves it. Some applications end lines with a lone LF; nobody has read the answer
/// before, and whoever reads it next gets it with CRLF.
pub(super) fn take_answer(input: &mut BytesMut, method: &Method) -> Result<Option<AnswerHead>, Refusal> {
    while let Some(text) = take_head(input, true)? {
        let head = parse_answer(&text, method)?;
        if !head.status.is_informational() || head.status == StatusCode::SWITCHING_PROTOCOLS {
            return Ok(Some(head));
        }
    }
    Ok(None)
}

/// All up to and with the empty line; empty lines before it are skipped (RFC 9112 §2.2).
fn take_head(input: &mut BytesMut, allow_lone_lf: bool) -> Result<Option<Bytes>, Refusal> {
    let blank = input.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
    let allowed = input.get(..MAX_HEAD).unwrap_or(input);
    let mut length = None;
    for end in memchr::memchr_iter(b'\n', allowed) {
        let (line, behind) = allowed.split_at_checked(end).ok_or(Refusal::Head)?;
        if !allow_lone_lf && !line.ends_with(b"\r") {
            return Err(Refusal::LoneLf);
        }
        length = match behind {
            _ if end < blank => None,
            [_, b'\r', b'\n', ..] => Some(end + 3),
            [_, b'\n', ..] if allow_lone_lf => Some(end + 2),
            _ => None,
        };
        if length.is_some() {
            break;
        }
    }
    match length {
        Some(length) => Ok(Some(input.split_to(length).freeze())),
        None if input.len() < MAX_HEAD => Ok(None),
        None => Err(Refusal::HeadTooLarge),
    }
}

type Fields<'h> = [MaybeUninit<httparse::Header<'h>>; MAX_FIELDS];

fn complete(parsed: httparse::Result<usize>) -> Result<(), Refusal> {
    match parsed {
        Ok(httparse::Status::Complete(_)) => Ok(()),
        Err(httparse::Error::TooManyHeaders) => Err(Refusal::TooManyFields),
        Ok(httparse::Status::Partial) | Err(_) => Err(Refusal::Head),
    }
}

fn parse_request(text: &Bytes) -> Result<RequestHead, Refusal> {
    let mut fields: Fields<'_> = [MaybeUninit::uninit(); MAX_FIELDS];
    let mut request = httparse::Request::new(&mut []);
    complete(request.parse_with_uninit_headers(text, &mut fields))?;
    let method = Method::from_bytes(request.method.unwrap_or_default().as_bytes()).map_err(|_| Refusal::Head)?;
    let target = text.slice_ref(request.path.unwrap_or_default().as_bytes());
    let uri = Uri::from_maybe_shared(target).map_err(|_| Refusal::Target)?;
    let is_http11 = request.version == Some(1);
    let headers = header_map(text, request.headers)?;
    let framing = request_framing(&method, &headers, is_http11)?;
    let keep_alive = stays_open(&headers, is_http11);
    Ok(RequestHead { method, uri, headers, is_http11, framing, keep_alive })
}

/// RFC 9112 §6.3, and nothing leniently: whoever reads the same bytes and believes the other field sees other requests.
fn request_framing(method: &Method, headers: &HeaderMap, is_http11: bool) -> Result<Decoder, Refusal> {
    let length = one_length(headers, false)?;
    match (is_chunked(headers, is_http11)?, length) {
        (true, Some(_)) => Err(Refusal::BothLengths),
        // What follows is for the tunnel.
        _ if method == Method::CONNECT => Ok(Decoder::Length(0)),
        (true, None) => Ok(Decoder::Chunked(Chunked::Size)),
        (false, length) => Ok(Decoder::Length(length.unwrap_or(0))),
    }
}

fn parse_answer(text: &Bytes, method: &Method) -> Result<AnswerHead, Refusal> {
    let mut fields: Fields<'_> = [MaybeUninit::uninit(); MAX_FIELDS];
    let mut answer = httparse::Response::new(&mut []);
    let parser = httparse::ParserConfig::default();
    complete(parser.parse_response_with_uninit_headers(&mut answer, text, &mut fields))?;
    let status = answer.code.and_then(|code| StatusCode::from_u16(code).ok()).ok_or(Refusal::Head)?;
    let is_http11 = answer.version == Some(1);
    let rest = answer.headers.iter().find(|field| field.name.eq_ignore_ascii_case("keep-alive"));
    let rest = rest.and_then(|field| time_to_rest(field.value));
    let mut headers = header_map(text, answer.headers)?;
    let framing = answer_framing(status, &mut headers, method, is_http11)?;
    let keep_alive = framing != Decoder::UntilClose && stays_open(&headers, is_http11) && rest != Some(Duration::ZERO);
    Ok(AnswerHead { status, headers, framing, keep_alive, rest })
}

/// For how long the connection is surely not closed: a second less than `Keep-Alive` says (RFC 2068 §19.7.1.1), since the
/// other side began to count earlier, and this side's next request takes a while.
fn time_to_rest(value: &[u8]) -> Option<Duration> {
    let mut parameters = value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    let timeout = parameters.find_map(|parameter| {
        let (name, value) = parameter.split_at_checked(b"timeout=".len())?;
        name.eq_ignore_ascii_case(b"timeout=").then_some(value)
    })?;
    let seconds: u64 = std::str::from_utf8(timeout).ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds.saturating_sub(1)))
}

/// RFC 9112 §6.3. An answer that is framed twice is not believed.
fn answer_framing(
    status: StatusCode,
    headers: &mut HeaderMap,
    method: &Method,
    is_http11: bool,
) -> Result<Decoder, Refusal> {
    if status == StatusCode::SWITCHING_PROTOCOLS {
        return Ok(Decoder::UntilClose);
    }
    let has_no_body = method == Method::HEAD || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let length = one_length(headers, true)?;
    match (is_chunked(headers, is_http11)?, length) {
        (true, Some(_)) => Err(Refusal::BothLengths),
        _ if has_no_body => Ok(Decoder::Length(0)),
        (true, None) => Ok(Decoder::Chunked(Chunked::Size)),
        (false, Some(length)) => {
            // The same length said twice is said once.
            headers.insert(header::CONTENT_LENGTH, length.into());
            Ok(Decoder::Length(length))
        }
        (false, None) => Ok(Decoder::UntilClose),
    }
}

/// The values share the memory that the head was read into.
fn header_map(text: &Bytes, fields: &[httparse::Header<'_>]) -> Result<HeaderMap, Refusal> {
    let mut headers = HeaderMap::with_capacity(fields.len() + 6); // the proxies on the way add some
    for field in fields {
        let name = HeaderName::from_bytes(field.name.as_bytes());
        let value = HeaderValue::from_maybe_shared(text.slice_ref(field.value));
        match (name, value) {
            (Ok(name), Ok(value)) => headers.append(name, value),
            _ => return Err(Refusal::Head),
        };
    }
    Ok(headers)
}

/// The length of the body, where one is said. The same one may be said again only where `repeated` is true.
fn one_length(headers: &HeaderMap, repeated: bool) -> Result<Option<u64>, Refusal> {
    let mut lines = headers.get_all(header::CONTENT_LENGTH).iter();
    let Some(first) = lines.next() else { return Ok(None) };
    let length = digits(first).ok_or(Refusal::ContentLength)?;
    match lines.all(|line| repeated && digits(line) == Some(length)) {
        true => Ok(Some(length)),
        false => Err(Refusal::ContentLength),
    }
}

fn digits(value: &HeaderValue) -> Option<u64> {
    let all_digits = !value.is_empty() && value.as_bytes().iter().all(u8::is_ascii_digit);
    value.to_str().ok().filter(|_| all_digits)?.parse().ok()
}

fn is_chunked(headers: &HeaderMap, is_http11: bool) -> Result<bool, Refusal> {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => Ok(false),
        (Some(coding), None) if is_http11 && coding.as_bytes().eq_ignore_ascii_case(b"chunked") => Ok(true),
        _ => Err(Refusal::TransferEncoding),
    }
}

fn stays_open(headers: &HeaderMap, is_http11: bool) -> bool {
    if is_http11 { !connection_lists(headers, b"close") } else { connection_lists(headers, b"keep-alive") }
}

/// Writes a request's head; returns how its body is framed, when it has one. `exact` is the length that the body itself
/// is known to have.
pub(super) fn put_request<B>(request: &Request<B>, exact: Option<u64>, text: &mut BytesMut) -> Option<Encoder> {
    let (method, headers) = (request.method(), request.headers());
    let path = request.uri().path_and_query().map_or("/", PathAndQuery::as_str);
    text.reserve(512);
    text.extend_from_slice(method.as_str().as_bytes());
    text.put_u8(b' ');
    text.extend_from_slice(path.as_bytes());
    text.extend_from_slice(b" HTTP/1.1\r\n");
    put_fields(text, headers);
    if headers.contains_key(header::TE) {
        put_field(text, "connection", b"te"); // RFC 9110 §10.1.4
    }
    let said = said_length(headers);
    let encoder = said.or(exact).map_or(Encoder::Chunked, Encoder::Length);
    let has_body = encoder != Encoder::Length(0);
    // An empty body is said where one would be expected (RFC 9110 §8.6).
    if has_body || said.is_some() || matches!(*method, Method::POST | Method::PUT | Method::PATCH) {
        put_framing(text, encoder);
    }
    text.extend_from_slice(b"\r\n");
    has_body.then_some(encoder)
}

/// How an answer goes out.
pub(super) struct Manner {
    pub(super) is_http11: bool,
    /// The answer to `HEAD` has the fields of the body that it does not have.
    pub(super) to_head: bool,
    /// What follows the answer to `CONNECT` is the tunnel's, when it is granted.
    pub(super) to_connect: bool,
    pub(super) keep_alive: bool,
}

/// Writes an answer's head; returns how its body is framed, when it has one, and whether the connection stays open.
/// `exact` is the length that the body itself is known to have.
pub(super) fn put_answer(
    status: StatusCode,
    headers: &HeaderMap,
    exact: Option<u64>,
    manner: &Manner,
    text: &mut BytesMut,
) -> (Option<Encoder>, bool) {
    text.reserve(512);
    text.extend_from_slice(if manner.is_http11 { b"HTTP/1.1 " } else { b"HTTP/1.0 " });
    text.extend_from_slice(status.as_str().as_bytes());
    text.put_u8(b' ');
    text.extend_from_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    text.extend_from_slice(b"\r\n");
    put_fields(text, headers);
    if !headers.contains_key(header::DATE) {
        put_field(text, "date", date::now().as_bytes());
    }
    let tunnels = manner.to_connect && status.is_success();
    let never_has_body = matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let without_body = tunnels || never_has_body || status.is_informational();
    let said = said_length(headers);
    let encoder = match said.or(exact) {
        _ if without_body => None,
        Some(length) => Some(Encoder::Length(length)),
        None if manner.is_http11 => Some(Encoder::Chunked),
        None => Some(Encoder::UntilClose),
    };
    match (encoder, said) {
        // The body that the answer to another request would have.
        (None, Some(length)) if status == StatusCode::NOT_MODIFIED => put_framing(text, Encoder::Length(length)),
        (Some(Encoder::Length(0)), None) if manner.to_head => {}
        (Some(encoder), _) => put_framing(text, encoder),
        (None, _) => {}
    }
    let keep_alive = manner.keep_alive && encoder != Some(Encoder::UntilClose) && stays_open(headers, true);
    match (keep_alive, manner.is_http11) {
        // A handler says so when it closes, or switches.
        _ if tunnels || headers.contains_key(header::CONNECTION) => {}
        (false, true) => put_field(text, "connection", b"close"),
        (true, false) => put_field(text, "connection", b"keep-alive"),
        _ => {}
    }
    text.extend_from_slice(b"\r\n");
    (encoder.filter(|_| !manner.to_head), keep_alive)
}

/// All fields but those that frame the body: these are written from how it is framed indeed, and once.
fn put_fields(text: &mut BytesMut, headers: &HeaderMap) {
    for (name, value) in headers {
        if name != header::CONTENT_LENGTH && name != header::TRANSFER_ENCODING {
            put_field(text, name.as_str(), value.as_bytes());
        }
    }
}

/// The length that the fields say, where they say one. What is sent is held to it.
fn said_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH).and_then(digits)
}

fn put_framing(text: &mut BytesMut, encoder: Encoder) {
    match encoder {
        Encoder::Length(length) => put_field(text, "content-length", itoa::Buffer::new().format(length).as_bytes()),
        Encoder::Chunked => put_field(text, "transfer-encoding", b"chunked"),
        Encoder::UntilClose | Encoder::Ended => {}
    }
}
