//! What a connection carries, from the first bytes that its client sends.
//!
//! Pure: bytes in, a verdict out. Who waits for the bytes, and what happens meanwhile, is decided by `outbound` and
//! `inbound`. HTTP/1.1 is whatever an application could take for it: the strict reader behind this refuses what is
//! malformed, and must not be passed by for a stray byte.

use rustls::server::Acceptor;

/// What every HTTP/2 connection begins with (RFC 9113 §3.4).
pub const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The first line of a request is not longer.
const MAX_LINE: usize = 64 << 10;
/// The methods that are registered at IANA and in use. Others are known by their whole first line.
const METHODS: [&[u8]; 18] = [
    b"GET",
    b"HEAD",
    b"POST",
    b"PUT",
    b"DELETE",
    b"OPTIONS",
    b"PATCH",
    b"CONNECT",
    b"TRACE",
    b"QUERY",
    b"PROPFIND",
    b"PROPPATCH",
    b"MKCOL",
    b"COPY",
    b"MOVE",
    b"LOCK",
    b"UNLOCK",
    b"REPORT",
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    Http1,
    Http2,
    /// A handshake of TLS.
    Tls,
    /// Nothing that is parsed.
    Opaque,
    /// More bytes tell. `likely_http`: so far it looks like a request.
    Undecided {
        likely_http: bool,
    },
}

/// What these bytes are the beginning of.
pub fn classify(seen: &[u8]) -> Seen {
    if seen.starts_with(HTTP2_PREFACE) {
        return Seen::Http2;
    }
    if HTTP2_PREFACE.starts_with(seen) {
        return Seen::Undecided { likely_http: !seen.is_empty() };
    }
    match seen {
        // A record of the handshake, of TLS 1.x (RFC 8446 §5.1).
        [0x16, 0x03, ..] => Seen::Tls,
        [0x16] => Seen::Undecided { likely_http: false },
        _ => request_line(seen),
    }
}

fn request_line(seen: &[u8]) -> Seen {
    // Empty lines, and in careless servers any blank, may come first (RFC 9112 §2.2).
    let line = seen.trim_ascii_start();
    if let Some(end) = line.iter().position(|byte| *byte == b'\n') {
        let line = line.get(..end).unwrap_or_default();
        return if line.windows(5).any(|word| word == b"HTTP/") { Seen::Http1 } else { Seen::Opaque };
    }
    let is_control = |byte: &u8| byte.is_ascii_control() && !matches!(byte, b'\t' | b'\r');
    if line.iter().any(is_control) || seen.len() >= MAX_LINE {
        return Seen::Opaque;
    }
    let begins = |method: &&[u8]| {
        let shorter = line.len().min(method.len());
        line.get(..shorter) == method.get(..shorter) && line.get(method.len()).is_none_or(|byte| *byte == b' ')
    };
    Seen::Undecided { likely_http: !line.is_empty() && METHODS.iter().any(begins) }
}

/// What a client says at the beginning of TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The name of the server that it asks for (RFC 6066, section 3).
    pub server_name: Option<String>,
    /// Whether it offers a protocol of the mesh (ALPN).
    pub is_of_the_mesh: bool,
}

/// The client's hello; `None`: it is not complete yet. What is no hello at all is one that says nothing.
pub fn hello(seen: &[u8], mesh_protocol: impl Fn(&[u8]) -> bool) -> Option<Hello> {
    const NOTHING: Hello = Hello { server_name: None, is_of_the_mesh: false };
    let mut acceptor = Acceptor::default();
    let mut rest = seen;
    while !rest.is_empty() {
        match acceptor.read_tls(&mut rest) {
            Ok(1..) => {}
            Ok(0) | Err(_) => return Some(NOTHING),
        }
        match acceptor.accept() {
            Ok(Some(accepted)) => {
                let hello = accepted.client_hello();
                let mut protocols = hello.alpn().into_iter().flatten();
                return Some(Hello {
                    server_name: hello.server_name().map(str::to_owned),
                    is_of_the_mesh: protocols.any(mesh_protocol),
                });
            }
            Ok(None) => {}
            Err(_) => return Some(NOTHING),
        }
    }
    (seen.len() >= MAX_LINE).then_some(NOTHING)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;
    use rustls::{ClientConfig, ClientConnection, RootCertStore};

    use super::*;

    const LIKELY: Seen = Seen::Undecided { likely_http: true };
    const UNLIKELY: Seen = Seen::Undecided { likely_http: false };

    #[test]
    fn beginnings_are_told_apart() {
        let table: &[(&[u8], Seen)] = &[
            (b"", UNLIKELY),
            (b"GET / HTTP/1.1\r\n", Seen::Http1),
            (b"GET / HTTP/1.0\nX: y\n\n", Seen::Http1),
            (b"PURGE /cache HTTP/1.1\r\n", Seen::Http1),
            // What a careless server takes for a request must reach the strict reader.
            (b"\r\n \tGET / HTTP/1.1\r\n", Seen::Http1),
            (b"get\t/\tHTTP/1.1\r\n", Seen::Http1),
            (b"G", LIKELY),
            (b"POST", LIKELY),
            (b"POST /a/long/path", LIKELY),
            (b"POSTAL", UNLIKELY),
            (b"PURGE /cache", UNLIKELY),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0", Seen::Http2),
            (b"PRI * HT", LIKELY),
            (b"P", LIKELY),
            (b"\x16\x03\x01\x02", Seen::Tls),
            (b"\x16", UNLIKELY),
            (b"\x16\x04", Seen::Opaque),
            // Redis, SMTP, PostgreSQL, AMQP, ZooKeeper, SSH, MQTT.
            (b"*1\r\n$4\r\nPING\r\n", Seen::Opaque),
            (b"EHLO there\r\n", Seen::Opaque),
            (b"\0\0\0\x08\x04\xd2\x16\x2f", Seen::Opaque),
            (b"AMQP\0\0\x09\x01", Seen::Opaque),
            (b"ruok", UNLIKELY),
            (b"SSH-2.0-OpenSSH_9.2\r\n", Seen::Opaque),
            (b"\x10\x0c\0\x04MQTT", Seen::Opaque),
        ];
        for (bytes, expected) in table {
            assert_eq!(classify(bytes), *expected, "{:?}", String::from_utf8_lossy(bytes));
        }
        assert_eq!(classify(&[b'a'; MAX_LINE]), Seen::Opaque);
    }

    proptest! {
        /// However a request is cut into pieces, no piece of its first line makes it opaque.
        #[test]
        fn a_request_is_never_mistaken(path in "[!-~]{1,80}", cut in 0_usize..100) {
            let request = format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n");
            let piece = &request.as_bytes()[..cut.min(request.len())];
            prop_assert!(matches!(classify(piece), Seen::Http1 | LIKELY | UNLIKELY), "{piece:?}");
            prop_assert!(piece.is_empty() || classify(piece) != UNLIKELY);
        }

        #[test]
        fn no_bytes_at_all_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            classify(&bytes);
            hello(&bytes, |_| true);
        }
    }

    fn client_hello(name: &'static str, protocols: &[&[u8]]) -> Vec<u8> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let mut config = builder.with_root_certificates(RootCertStore::empty()).with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        let mut connection = ClientConnection::new(config.into(), name.try_into().unwrap()).unwrap();
        let mut bytes = Vec::new();
        connection.write_tls(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn a_hello_tells_the_server_name_and_whether_it_is_of_the_mesh() {
        let of_mesh = |protocol: &[u8]| protocol.starts_with(b"weft-");
        let bytes = client_hello("shop.example.com", &[b"h2", b"weft-h2"]);
        let expected = Hello { server_name: Some("shop.example.com".into()), is_of_the_mesh: true };
        assert_eq!(hello(&bytes, of_mesh), Some(expected.clone()));
        assert_eq!(classify(&bytes), Seen::Tls);
        for cut in 1..bytes.len() {
            assert_eq!(hello(&bytes[..cut], of_mesh), None, "{cut}");
        }
        let outside = client_hello("shop.example.com", &[b"h2"]);
        assert_eq!(hello(&outside, of_mesh), Some(Hello { is_of_the_mesh: false, ..expected }));
        let nothing = Some(Hello { server_name: None, is_of_the_mesh: false });
        assert_eq!(hello(b"\x16\x03\x01\x00\x04oops", of_mesh), nothing);
    }
}
