//! Outgoing connections, and how the sidecar knows its own when one comes back to it.
//!
//! Where the namespace's traffic is redirected, the sidecar's own connections must not be, or it would serve itself
//! without end. A redirection that forgets to exempt the sidecar's user is found out at the first such connection.

use std::{
    collections::HashSet,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use socket2::{Domain, SockAddr, Type};
use tokio::net::TcpStream;

use super::{Socket, canonical};

/// Shared by all workers.
#[derive(Clone, Debug, Default)]
pub struct Dialer {
    /// Own connections; `None` where nothing is redirected.
    own: Option<Own>,
}

/// Where each comes from, and where it goes to: the application's own may come from the same port to another place.
type Own = Arc<Mutex<HashSet<Ends>>>;
type Ends = (SocketAddr, SocketAddr);

/// Held by an outgoing connection.
#[derive(Debug)]
pub(super) struct Dialed {
    own: Own,
    ends: Ends,
}

impl Dialer {
    /// For a sidecar that redirected connections come to.
    pub fn redirected() -> Self {
        Self { own: Some(Own::default()) }
    }

    pub async fn dial(&self, to: SocketAddr) -> io::Result<Socket> {
        let Some(own) = &self.own else { return Ok(socket(TcpStream::connect(to).await?, None)) };
        // Known before anybody can accept it.
        let socket = socket2::Socket::new(Domain::for_address(to), Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        match socket.connect(&SockAddr::from(to)) {
            Err(error) if error.raw_os_error() != Some(rustix::io::Errno::INPROGRESS.raw_os_error()) => {
                return Err(error);
            }
            _ => {}
        }
        let dialed = socket.local_addr().ok().and_then(|from| from.as_socket()).map(|from| Dialed::new(own, from, to));
        let stream = TcpStream::from_std(socket.into())?;
        stream.writable().await?;
        match stream.take_error()? {
            Some(error) => Err(error),
            None => Ok(self::socket(stream, dialed)),
        }
    }

    /// Whether a connection that was made from `peer` to `to` is one of this sidecar's.
    pub fn is_own(&self, peer: SocketAddr, to: SocketAddr) -> bool {
        self.own.as_ref().is_some_and(|own| lock(own).contains(&(canonical(peer), canonical(to))))
    }
}

impl Dialed {
    fn new(own: &Own, from: SocketAddr, to: SocketAddr) -> Self {
        let ends = (canonical(from), canonical(to));
        lock(own).insert(ends);
        Self { own: own.clone(), ends }
    }
}

impl Drop for Dialed {
    fn drop(&mut self) {
        lock(&self.own).remove(&self.ends);
    }
}

fn socket(stream: TcpStream, dialed: Option<Dialed>) -> Socket {
    super::tune(&stream);
    match dialed {
        Some(dialed) => Socket::dialed(stream, dialed),
        None => Socket::new(stream),
    }
}

fn lock(own: &Own) -> MutexGuard<'_, HashSet<Ends>> {
    own.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn own_connections_are_known_for_as_long_as_they_live() {
        let dialer = Dialer::redirected();
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let listener = TcpListener::bind(address).await.unwrap();
            let to = listener.local_addr().unwrap();
            let socket = dialer.dial(to).await.unwrap();
            let (_accepted, peer) = listener.accept().await.unwrap();
            let elsewhere = "192.0.2.1:80".parse().unwrap();
            assert!(dialer.is_own(peer, to) && !dialer.is_own(peer, elsewhere), "{address}");
            assert!(!Dialer::default().is_own(peer, to));
            drop(socket);
            assert!(!dialer.is_own(peer, to), "{address}");
            drop(listener);
            let refused = dialer.dial(to).await.unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused, "{address}");
        }
    }
}
