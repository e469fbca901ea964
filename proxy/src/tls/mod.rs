//! Mutual TLS between sidecars: who may connect, and whether the one that answers is the one that was meant.

pub mod acceptor;
pub mod connector;

use crate::net::Hop;

/// What a connection between sidecars carries. Its name in ALPN says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carries {
    Http(Hop),
    /// A connection of the application, as it is.
    Bytes,
}

/// ALPN of HTTP/1.1 between sidecars. Names of our own: a TLS client that is not a sidecar is told apart at once.
pub const ALPN_H1: &[u8] = b"weft-http/1.1";
/// ALPN of HTTP/2 between sidecars.
pub const ALPN_H2: &[u8] = b"weft-h2";
/// ALPN of HTTP/1.1 messages in the streams of HTTP/2 between sidecars: the receiver speaks HTTP/1.1 to its application.
pub const ALPN_H1_STREAMS: &[u8] = b"weft-http/1.1-over-h2";
/// ALPN of a connection of the application, carried as bytes between sidecars.
pub const ALPN_TCP: &[u8] = b"weft-tcp";

const PROTOCOLS: [(&[u8], Carries); 4] = [
    (ALPN_H2, Carries::Http(Hop::Http2)),
    (ALPN_H1_STREAMS, Carries::Http(Hop::Http1Streams)),
    (ALPN_H1, Carries::Http(Hop::Http1)),
    (ALPN_TCP, Carries::Bytes),
];

/// Whether a client that offers this protocol is a sidecar.
pub fn is_of_the_mesh(protocol: &[u8]) -> bool {
    PROTOCOLS.iter().any(|(name, _)| *name == protocol)
}
