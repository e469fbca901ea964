//! What this proxy says about the caller of a request, and what nobody else may say.

use std::net::IpAddr;

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{FORWARDED, HOST},
    request::Parts,
};

/// The SPIFFE ID of the caller, as the inbound proxy verified it; the application can rely on it.
pub const CLIENT_ID: HeaderName = HeaderName::from_static("weft-client-id");
/// Says on a request that it is a copy, and of which rule's requests.
pub const MIRRORED: HeaderName = HeaderName::from_static("weft-mirrored");
/// Which attempt of a request this is, where it is not the first; the application can rely on it.
pub const ATTEMPT_COUNT: HeaderName = HeaderName::from_static("weft-attempt-count");
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// What is said about every request of one connection, written once.
#[derive(Clone, Debug)]
pub struct Peer {
    address: HeaderValue,
    forwarded: HeaderValue,
    scheme: HeaderValue,
}

impl Peer {
    /// `scheme` is `https` when the connection is encrypted, else `http`.
    pub fn new(address: IpAddr, scheme: &'static str) -> Self {
        let address = address.to_canonical();
        let node = match address {
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(address) => format!("\"[{address}]\""),
        };
        // Addresses and schemes are ASCII, so that none of these can fail.
        let value = |text: String| HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("unknown"));
        Self {
            address: value(address.to_string()),
            forwarded: value(format!("for={node};proto={scheme}")),
            scheme: HeaderValue::from_static(scheme),
        }
    }
}

/// Adds the peer to `x-forwarded-for` and `Forwarded` (RFC 7239). The scheme and the host that the first proxy saw
/// stay: `x-forwarded-proto` and `x-forwarded-host` are set only if absent.
pub fn inbound_forwarded(parts: &mut Parts, peer: &Peer) {
    append(&mut parts.headers, X_FORWARDED_FOR, &peer.address);
    append(&mut parts.headers, FORWARDED, &peer.forwarded);
    parts.headers.entry(X_FORWARDED_PROTO).or_insert_with(|| peer.scheme.clone());
    if parts.headers.contains_key(X_FORWARDED_HOST) {
        return;
    }
    let authority = || parts.uri.authority().and_then(|a| HeaderValue::from_str(a.as_str()).ok());
    if let Some(host) = parts.headers.get(HOST).cloned().or_else(authority) {
        parts.headers.insert(X_FORWARDED_HOST, host);
    }
}

/// Appends to a list that applications expect in one line. Without a list, which is the rule, nothing is copied.
fn append(headers: &mut HeaderMap, name: HeaderName, item: &HeaderValue) {
    let mut list = Vec::new();
    for line in headers.get_all(&name) {
        list.extend_from_slice(line.as_bytes());
        list.extend_from_slice(b", ");
    }
    let value = if list.is_empty() {
        item.clone()
    } else {
        list.extend_from_slice(item.as_bytes());
        // All parts were header values.
        HeaderValue::from_maybe_shared(bytes::Bytes::from(list)).unwrap_or_else(|_| item.clone())
    };
    headers.insert(name, value);
}

/// Removes what only a proxy of the mesh may assert: `weft-*` and `x-forwarded-client-cert`. To be called on what comes
/// from an application, or from outside, before anything of the mesh's own is set.
pub fn strip_asserted(headers: &mut HeaderMap) {
    while let Some(name) = headers.keys().find(|name| is_asserted(name.as_str())).cloned() {
        headers.remove(name);
    }
}

/// The same for what comes from another sidecar, which may say that the request is a copy, and which attempt this is.
pub fn strip_asserted_by_peer(headers: &mut HeaderMap) {
    let may_stay = |name: &HeaderName| *name == MIRRORED || *name == ATTEMPT_COUNT;
    while let Some(name) = headers.keys().find(|name| is_asserted(name.as_str()) && !may_stay(name)).cloned() {
        headers.remove(name);
    }
}

pub(super) fn is_asserted(name: &str) -> bool {
    if !name.starts_with(['w', 'x']) {
        return false;
    }
    // Applications behind CGI, WSGI and the like cannot tell `_` from `-`.
    let same = |own: &str| {
        name.len() >= own.len() && name.bytes().zip(own.bytes()).all(|(a, b)| a == b || a == b'_' && b == b'-')
    };
    same("weft-") || name.len() == X_FORWARDED_CLIENT_CERT.len() && same(X_FORWARDED_CLIENT_CERT)
}

const X_FORWARDED_CLIENT_CERT: &str = "x-forwarded-client-cert";

/// Tells the application who called, in the place of whatever the caller said. `None`: a caller without identity.
pub fn set_client_id(headers: &mut HeaderMap, id: Option<&HeaderValue>) {
    match id {
        Some(id) => headers.insert(CLIENT_ID, id.clone()),
        None => headers.remove(CLIENT_ID),
    };
}
