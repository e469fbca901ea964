//! The handshake of WebSocket over HTTP/1.1 (RFC 6455 §4), on behalf of a caller that speaks HTTP/2, where it has none:
//! a key that the other side must have understood to make the answer out of it.

use base64::{Engine, prelude::BASE64_STANDARD};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use sha1::{Digest, Sha1};

/// What every server appends to the key.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

const KEY: HeaderName = header::SEC_WEBSOCKET_KEY;
const ACCEPT: HeaderName = header::SEC_WEBSOCKET_ACCEPT;

/// Whether this is the protocol that needs a key.
pub fn is_websocket(protocol: &HeaderValue) -> bool {
    protocol.as_bytes().eq_ignore_ascii_case(b"websocket")
}

/// Gives the request a key of its own.
pub fn set_key(headers: &mut HeaderMap, random: u128) -> HeaderValue {
    let key = HeaderValue::try_from(BASE64_STANDARD.encode(random.to_be_bytes()));
    // Base64 is ASCII.
    let key = key.unwrap_or(HeaderValue::from_static(""));
    headers.insert(KEY, key.clone());
    if !headers.contains_key(header::SEC_WEBSOCKET_VERSION) {
        headers.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    }
    key
}

/// Takes the answer to the key out of the response; whether it is the right one.
pub fn take_accept(headers: &mut HeaderMap, key: &HeaderValue) -> bool {
    let accept = BASE64_STANDARD.encode(Sha1::new().chain_update(key.as_bytes()).chain_update(GUID).finalize());
    headers.remove(ACCEPT).is_some_and(|given| given.as_bytes() == accept.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 6455 §1.3.
    #[test]
    fn the_answer_is_made_of_the_key() {
        let key = HeaderValue::from_static("dGhlIHNhbXBsZSBub25jZQ==");
        for (accept, is_right) in [(Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), true), (Some("x"), false), (None, false)] {
            let mut headers = HeaderMap::new();
            headers.extend(accept.map(|accept| (ACCEPT, HeaderValue::from_static(accept))));
            assert_eq!(take_accept(&mut headers, &key), is_right, "{accept:?}");
            assert!(headers.is_empty(), "the caller has not asked");
        }
    }

    #[test]
    fn a_key_is_sixteen_bytes_and_stands_in_the_request() {
        let mut headers = HeaderMap::new();
        headers.insert(KEY, HeaderValue::from_static("of the caller"));
        let key = set_key(&mut headers, u128::from_be_bytes(*b"the sample nonce"));
        assert_eq!(key, "dGhlIHNhbXBsZSBub25jZQ==");
        assert_eq!(headers.get_all(KEY).iter().collect::<Vec<_>>(), ["dGhlIHNhbXBsZSBub25jZQ=="]);
        assert_eq!(headers[header::SEC_WEBSOCKET_VERSION], "13");
    }
}
