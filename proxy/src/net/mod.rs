//! Sockets: where connections come from, and what is spoken on them.

mod coalesced;
pub mod copy;
pub mod detect;
mod dial;
mod io;
pub mod listener;
pub mod opening;
mod original_dst;

use std::time::Duration;

pub use coalesced::Coalesced;
pub use dial::Dialer;
pub use io::{Io, Socket};
pub use original_dst::{canonical, original_dst};

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

/// The protocol of one hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Hop {
    Http1,
    Http2,
    /// Messages of HTTP/1.1 in the streams of HTTP/2: between sidecars, so that many requests share a connection.
    Http1Streams,
}

/// Small writes go out at once, and a peer whose machine is gone is noticed within half a minute, also while nothing is
/// sent. Failing to say so costs latency or memory, not correctness.
pub fn tune(stream: &TcpStream) {
    let keepalive =
        TcpKeepalive::new().with_time(Duration::from_secs(15)).with_interval(Duration::from_secs(5)).with_retries(3);
    let _ = SockRef::from(stream).set_tcp_keepalive(&keepalive);
    let _ = stream.set_nodelay(true);
}
