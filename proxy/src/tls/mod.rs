//! Mutual TLS between sidecars: who may connect, and whether the one that answers is the one that was meant.

pub mod acceptor;
pub mod connector;

/// ALPN of HTTP/1.1 between sidecars. Names of our own: a TLS client that is not a sidecar is told apart at once.
pub const ALPN_H1: &[u8] = b"weft-http/1.1";
/// ALPN of HTTP/2 between sidecars.
pub const ALPN_H2: &[u8] = b"weft-h2";
/// ALPN of HTTP/1.1 messages in the streams of HTTP/2 between sidecars: the receiver speaks HTTP/1.1 to its application.
pub const ALPN_H1_STREAMS: &[u8] = b"weft-http/1.1-over-h2";
