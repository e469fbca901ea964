//! Where a connection was meant to go before it was redirected here.

use std::net::{IpAddr, SocketAddr};

use socket2::SockRef;
use tokio::net::TcpStream;

/// The destination that the kernel's connection tracking remembers (`SO_ORIGINAL_DST`); `None`: the connection was made
/// to this listener itself.
pub fn original_dst(stream: &TcpStream) -> Option<SocketAddr> {
    let local = canonical(stream.local_addr().ok()?);
    let socket = SockRef::from(stream);
    let original = match local.ip() {
        // Also on a socket of IPv6 that has taken a connection of IPv4.
        IpAddr::V4(_) => socket.original_dst_v4(),
        IpAddr::V6(_) => socket.original_dst_v6(),
    };
    let original = canonical(original.ok()?.as_socket()?);
    (original != local).then_some(original)
}

/// An address of IPv4 in its own form, and none of IPv6 with what is no part of its identity.
pub fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_connection_that_was_not_redirected_has_none() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let listener = TcpListener::bind(address).await.unwrap();
            let _caller = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let (stream, _) = listener.accept().await.unwrap();
            assert_eq!(original_dst(&stream), None, "{address}");
        }
    }

    #[test]
    fn mapped_addresses_are_those_of_ipv4() {
        let mapped = canonical("[::ffff:10.0.0.5]:80".parse().unwrap());
        assert_eq!(mapped, "10.0.0.5:80".parse().unwrap());
    }
}
