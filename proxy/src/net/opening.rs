//! The opening of a connection of which nobody has said what it carries: who speaks first, and what.
//!
//! The client's first bytes are read and the server is connected to at the same time. Bytes from the server end the
//! wait at once, so that protocols in which the server speaks first never stall; a slow client is waited for without a
//! limit, since its server would do the same.

use std::{
    future::Future,
    io,
    pin::{Pin, pin},
    time::Duration,
};

use bytes::BytesMut;
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    time::{Instant, sleep_until},
};

use super::detect::{self, Hello, Seen, classify};
use crate::error::ProxyError;

/// Where clients were heard first before, the server is connected to only when this one is silent for so long.
const CLIENTS_TURN: Duration = Duration::from_millis(200);
/// What begins like no request is one only if more of it comes within this time.
const UNDECIDED: Duration = Duration::from_millis(200);
/// A server that cannot be reached is answered for in HTTP, if the client speaks it within this time.
const UNREACHABLE: Duration = Duration::from_secs(1);

/// Who spoke first. What was read of the client is in `ahead`.
#[derive(Debug)]
pub enum Opening<S> {
    /// The client; the server may be connected by now.
    Client(Seen, Server<S>),
    /// The server, or it has closed; and what was read of it.
    Server(S, BytesMut),
}

/// A server that was being connected to.
#[derive(Debug)]
pub enum Server<S> {
    NotYet,
    Connected(S),
    Unreachable(ProxyError),
}

/// Reads what the client says first into `ahead` while `connect` goes on; `wait`: the client is expected to speak.
///
/// # Errors
/// The client broke off, or the server cannot be reached and the client says nothing.
pub async fn listen<S: AsyncRead + Unpin>(
    client: &mut (impl AsyncRead + Unpin),
    ahead: &mut BytesMut,
    expects_client: bool,
    connect: impl Future<Output = Result<S, ProxyError>>,
) -> Result<Opening<S>, Ended> {
    let mut connect = pin!(connect);
    let (mut server, mut said) = (Server::NotYet, BytesMut::new());
    let start = Instant::now() + if expects_client { CLIENTS_TURN } else { Duration::ZERO };
    let mut limit: Option<Instant> = None;
    if let Some(seen) = verdict(ahead, &mut limit) {
        return Ok(Opening::Client(seen, server));
    }
    loop {
        tokio::select! {
            biased;
            read = client.read_buf(ahead) => {
                let ended = read.map_err(Ended::Client)? == 0;
                if let Some(seen) = verdict(ahead, &mut limit).or_else(|| ended.then_some(Seen::Opaque)) {
                    return Ok(Opening::Client(seen, server));
                }
            }
            connected = from(start, connect.as_mut()), if matches!(server, Server::NotYet) => match connected {
                Ok(connected) => server = Server::Connected(connected),
                Err(error) => {
                    server = Server::Unreachable(error);
                    limit = Some(Instant::now() + UNREACHABLE);
                }
            },
            read = hear(&mut server, &mut said) => {
                // A server that breaks shows that again when it is read.
                let _ = read;
                if let Server::Connected(server) = server {
                    return Ok(Opening::Server(server, said));
                }
            }
            () = sleep_until(limit.unwrap_or_else(Instant::now)), if limit.is_some() => match server {
                Server::Unreachable(error) => return Err(Ended::Server(error)),
                server => return Ok(Opening::Client(Seen::Opaque, server)),
            },
        }
    }
}

/// What the client speaks, if that is certain; else by when it is to be.
fn verdict(ahead: &[u8], limit: &mut Option<Instant>) -> Option<Seen> {
    match classify(ahead) {
        Seen::Undecided { likely_http } => {
            *limit = (!likely_http && !ahead.is_empty()).then(|| Instant::now() + UNDECIDED);
            None
        }
        seen => Some(seen),
    }
}

impl<S> Server<S> {
    /// The connection, made now where it was not made meanwhile.
    ///
    /// # Errors
    /// The server cannot be reached.
    pub async fn or_connect(self, connect: impl Future<Output = Result<S, ProxyError>>) -> Result<S, Ended> {
        match self {
            Self::Connected(server) => Ok(server),
            Self::NotYet => connect.await.map_err(Ended::Server),
            Self::Unreachable(error) => Err(Ended::Server(error)),
        }
    }
}

/// Reads the client's hello of TLS to its end, into `ahead`.
///
/// # Errors
/// The client broke off.
pub async fn hello(
    client: &mut (impl AsyncRead + Unpin),
    ahead: &mut BytesMut,
    mesh_protocol: impl Fn(&[u8]) -> bool,
) -> Result<Hello, Ended> {
    loop {
        if let Some(hello) = detect::hello(ahead, &mesh_protocol) {
            return Ok(hello);
        }
        if client.read_buf(ahead).await.map_err(Ended::Client)? == 0 {
            return Err(Ended::Client(io::ErrorKind::UnexpectedEof.into()));
        }
    }
}

/// Why there is nothing to carry.
#[derive(Debug)]
pub enum Ended {
    Client(io::Error),
    Server(ProxyError),
}

async fn from<T>(start: Instant, future: Pin<&mut impl Future<Output = T>>) -> T {
    if start > Instant::now() {
        sleep_until(start).await;
    }
    future.await
}

async fn hear<S: AsyncRead + Unpin>(server: &mut Server<S>, said: &mut BytesMut) -> io::Result<usize> {
    match server {
        Server::Connected(server) => server.read_buf(said).await,
        Server::NotYet | Server::Unreachable(_) => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncWriteExt, DuplexStream, duplex};

    use super::*;
    use crate::error::Kind;

    async fn never() -> Result<DuplexStream, ProxyError> {
        std::future::pending().await
    }

    async fn refused() -> Result<DuplexStream, ProxyError> {
        Err(ProxyError::new(Kind::ConnectRefused, "nobody listens"))
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_speaks_first_ends_the_wait_at_once() {
        let ((_client, mut near), (mut server, far)) = (duplex(64), duplex(64));
        server.write_all(b"220 ready\r\n").await.unwrap();
        let started = Instant::now();
        let opening = listen(&mut near, &mut BytesMut::new(), false, async { Ok(far) }).await.unwrap();
        let Opening::Server(_, said) = opening else { panic!("{opening:?}") };
        assert_eq!((&said[..], started.elapsed()), (&b"220 ready\r\n"[..], Duration::ZERO));
    }

    #[tokio::test(start_paused = true)]
    async fn where_clients_speak_first_the_server_is_left_alone_for_a_while() {
        let (mut client, mut near) = duplex(64);
        client.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
        let mut ahead = BytesMut::new();
        let opening = listen(&mut near, &mut ahead, true, async { panic!("it is connected to") }).await;
        let opening: Opening<DuplexStream> = opening.unwrap();
        assert!(matches!(opening, Opening::Client(Seen::Http1, Server::NotYet)), "{opening:?}");
        assert_eq!(&ahead[..], b"GET / HTTP/1.1\r\n");
        // A silent one may wait for the server after all.
        let ((_client, mut near), (mut server, far)) = (duplex(64), duplex(64));
        server.write_all(b"hello").await.unwrap();
        let opening = listen(&mut near, &mut BytesMut::new(), true, async { Ok(far) }).await.unwrap();
        assert!(matches!(opening, Opening::Server(..)), "{opening:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_client_is_waited_for_but_not_one_that_has_said_something_else() {
        let (mut client, mut near) = duplex(64);
        let slow = tokio::spawn(async move {
            for part in [&b"GET / "[..], b"HTTP/1.1\r\n"] {
                tokio::time::sleep(Duration::from_secs(3600)).await;
                client.write_all(part).await.unwrap();
            }
            client
        });
        let opening = listen(&mut near, &mut BytesMut::new(), false, never()).await.unwrap();
        assert!(matches!(opening, Opening::Client(Seen::Http1, Server::NotYet)), "{opening:?}");
        drop(slow.await.unwrap());
        let (mut client, mut near) = duplex(64);
        client.write_all(b"ruok").await.unwrap();
        let opening = listen(&mut near, &mut BytesMut::new(), false, never()).await.unwrap();
        assert!(matches!(opening, Opening::Client(Seen::Opaque, Server::NotYet)), "{opening:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_cannot_be_reached_is_told_in_the_clients_own_protocol() {
        let (mut client, mut near) = duplex(64);
        let later = tokio::spawn(async move {
            tokio::time::sleep(UNREACHABLE / 2).await;
            client.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
            client
        });
        let opening = listen(&mut near, &mut BytesMut::new(), false, refused()).await.unwrap();
        assert!(matches!(opening, Opening::Client(Seen::Http1, Server::Unreachable(_))), "{opening:?}");
        drop(later.await.unwrap());
        let (_client, mut near) = duplex(64);
        let ended = listen(&mut near, &mut BytesMut::new(), false, refused()).await.unwrap_err();
        assert!(matches!(ended, Ended::Server(error) if error.kind == Kind::ConnectRefused));
    }

    #[tokio::test]
    async fn a_client_that_ends_without_a_word_may_still_listen() {
        let (client, mut near) = duplex(64);
        drop(client);
        let opening = listen(&mut near, &mut BytesMut::new(), false, never()).await.unwrap();
        assert!(matches!(opening, Opening::Client(Seen::Opaque, Server::NotYet)), "{opening:?}");
    }
}
