//! The header fields that a proxy adds, removes and rewrites (RFC 9110 §7.6, RFC 7239, Gateway API filters).
//!
//! Called by the outbound and the inbound path on each request and response. A message that has nothing to be removed
//! costs one look over its field names. URIs are rewritten in `rewrite`, what an inbound proxy says about the caller
//! is in `forwarded`, what it says about a request that its application has not answered in `mark`.

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{CONNECTION, COOKIE, TE},
};
use weft_proxy_api::route::HeaderModifier;

pub use forwarded::{
    ATTEMPT_COUNT, CLIENT_ID, MIRRORED, Peer, inbound_forwarded, set_client_id, strip_asserted, strip_asserted_by_peer,
};
pub use mark::Mark;
pub use rewrite::{InvalidRewrite, redirect_location, rewrite};

mod forwarded;
mod mark;
mod rewrite;

/// The SPIFFE ID of who answered, as the outbound side verified it; the calling application can rely on it.
pub const SERVER_ID: HeaderName = HeaderName::from_static("weft-server-id");
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// An id from outside goes into logs and headers; a longer one is replaced.
const MAX_REQUEST_ID: usize = 128;

/// Removes what is meant for one connection only: `Connection` and the fields that it lists, `Keep-Alive`,
/// `Proxy-Connection`, `Transfer-Encoding`, `Upgrade`, and `TE` except for `trailers`, which this proxy does support.
/// `Proxy-Authorization` and `Proxy-Authenticate` go too: this is the proxy that they would speak to (RFC 9110 §11.7).
/// `Trailer` stays, since trailers are passed on. To pass on an upgrade, see
/// `http::upgrade`: it is read before and asked for again after.
pub fn strip_hop_by_hop(headers: &mut HeaderMap) {
    if !headers.keys().any(is_hop_by_hop) {
        return;
    }
    let trailers = accepts_trailers(headers);
    let mut names = listed_in_connection(headers);
    names.extend(headers.keys().filter(|name| is_hop_by_hop(name)).cloned());
    for name in names {
        headers.remove(name);
    }
    if trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
}

/// Asked for every field of every message: `matches!` compares the length first, then at most one name.
fn is_hop_by_hop(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "connection"
            | "keep-alive"
            | "proxy-connection"
            | "proxy-authorization"
            | "proxy-authenticate"
            | "te"
            | "transfer-encoding"
            | "upgrade"
    )
}

/// The names that `Connection` lists, without those that are removed anyway. Fields that frame, address or vouch for
/// the message are for all recipients and cannot be listed: otherwise a caller could make a proxy drop what another
/// proxy said about it.
fn listed_in_connection(headers: &HeaderMap) -> Vec<HeaderName> {
    list(headers, &CONNECTION)
        .filter(|token| !token.eq_ignore_ascii_case(b"close"))
        .filter_map(|token| HeaderName::from_bytes(token).ok())
        .filter(|name| !is_hop_by_hop(name) && !is_for_all_recipients(name))
        .collect()
}

fn is_for_all_recipients(name: &HeaderName) -> bool {
    let name = name.as_str();
    matches!(name, "host" | "content-length" | "cache-control" | "forwarded" | "traceparent" | "x-request-id")
        || name.starts_with("x-forwarded-")
        || forwarded::is_asserted(name)
}

fn accepts_trailers(headers: &HeaderMap) -> bool {
    // Parameters (`;q=`) are not part of the token.
    let mut codings = list(headers, &TE).filter_map(|item| item.split(|byte| *byte == b';').next());
    codings.any(|coding| coding.trim_ascii().eq_ignore_ascii_case(b"trailers"))
}

/// The items of a field that is a list, over all its lines.
fn list<'h>(headers: &'h HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'h [u8]> {
    let lines = headers.get_all(name).iter();
    lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b',')).map(<[u8]>::trim_ascii)
}

/// Whether `Connection` lists this option, in any case.
pub fn connection_lists(headers: &HeaderMap, option: &[u8]) -> bool {
    list(headers, &CONNECTION).any(|item| item.eq_ignore_ascii_case(option))
}

/// HTTP/2 may split cookies over several fields, HTTP/1.1 may not (RFC 9113 §8.2.3): call this when the request goes out
/// over HTTP/1.1.
pub fn join_cookies(headers: &mut HeaderMap) {
    let mut cookies = headers.get_all(COOKIE).iter();
    let (Some(first), Some(second)) = (cookies.next(), cookies.next()) else { return };
    let mut joined = first.as_bytes().to_vec();
    for cookie in std::iter::once(second).chain(cookies) {
        joined.extend_from_slice(b"; ");
        joined.extend_from_slice(cookie.as_bytes());
    }
    // What was made of valid values is one.
    if let Ok(joined) = HeaderValue::from_bytes(&joined) {
        headers.insert(COOKIE, joined);
    }
}

/// A header modifier of Gateway API: set, then add, then remove.
pub fn apply(modifier: &HeaderModifier, headers: &mut HeaderMap) {
    for (name, value) in &modifier.set {
        headers.insert(name, value.clone());
    }
    for (name, value) in &modifier.add {
        headers.append(name, value.clone());
    }
    for name in &modifier.remove {
        headers.remove(name);
    }
}

/// The request's id, which it is given if it has none that can be used: a random UUID.
pub fn request_id(headers: &mut HeaderMap) -> HeaderValue {
    let usable =
        |id: &HeaderValue| (1..=MAX_REQUEST_ID).contains(&id.len()) && id.as_bytes().iter().all(u8::is_ascii_graphic);
    if let Some(id) = headers.get(REQUEST_ID).filter(|id| usable(id)) {
        return id.clone();
    }
    let id = uuid(rand::random());
    headers.insert(REQUEST_ID, id.clone());
    id
}

/// `random` as a UUID of version 4.
fn uuid(random: u128) -> HeaderValue {
    const VERSION: u128 = 0x4 << 76;
    const VARIANT: u128 = 0x2 << 62;
    let bits = (random & !(0xf << 76) & !(0x3 << 62)) | VERSION | VARIANT;
    let mut digits = [0; 32];
    // Sixteen bytes are thirty-two digits.
    let _ = hex::encode_to_slice(bits.to_be_bytes(), &mut digits);
    let mut text = [b'-'; 36];
    for (place, from) in [(0..8, 0..8), (9..13, 8..12), (14..18, 12..16), (19..23, 16..20), (24..36, 20..32)] {
        if let (Some(place), Some(from)) = (text.get_mut(place), digits.get(from)) {
            place.copy_from_slice(from);
        }
    }
    HeaderValue::from_bytes(&text).unwrap_or(HeaderValue::from_static("0"))
}

#[cfg(test)]
mod tests;
