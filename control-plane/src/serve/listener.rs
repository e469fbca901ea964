//! Accepting TLS connections, for both servers.
//!
//! Each handshake has its own task and five seconds, so that a slow or silent peer holds up nobody else; a failed one is
//! counted and explained in one log line. Connections are bounded, so that idle ones cannot use up the descriptors of the
//! process, and each ends with the certificate that it was opened with. What is said on them is the servers' matter.

mod life;

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use rustls::ServerConfig;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::{Instant, Sleep},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use weft_certs::{Clock, SpiffeId, handshake_refusal, x509::Leaf};

use crate::{
    tasks::Tasks,
    telemetry::{HandshakeFailure, Metrics},
};
pub use life::Life;

const HANDSHAKE: Duration = Duration::from_secs(5);
/// Handshakes at one time: each costs a signature, and peers that have proved nothing must not take all memory.
const HANDSHAKES: usize = 512;
/// How long a peer without an SVID may stay: a first SVID, or a call of the admin API, takes less.
const STRANGER: Duration = Duration::from_secs(30);
/// After an error of `accept`, such as too many open files: time for some to be closed.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Who is on the other side; in the extensions of every request.
#[derive(Clone, Debug)]
pub struct Peer {
    pub address: SocketAddr,
    /// From its verified certificate, if it showed one.
    pub identity: Option<SpiffeId>,
    pub life: Life,
}

pub struct Connection {
    stream: TlsStream<TcpStream>,
    peer: Peer,
    /// When the end of its life is looked at again.
    check: Pin<Box<Sleep>>,
    _place: OwnedSemaphorePermit,
}

/// How many connections each server may have open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Places {
    pub grpc: usize,
    pub admin: usize,
}

impl Places {
    /// Within `descriptors`, of which at least an eighth is left for the store, DNS and the rest.
    pub fn within(descriptors: Option<u64>) -> Self {
        const MOST: u64 = 1 << 20;
        const MOST_ADMIN: usize = 256;
        let descriptors = usize::try_from(descriptors.unwrap_or(MOST).min(MOST)).unwrap_or(usize::MAX);
        Self { grpc: (descriptors / 4 * 3).max(1), admin: (descriptors / 8).clamp(1, MOST_ADMIN) }
    }
}

/// One socket, and how handshakes on it are made and counted.
#[derive(Clone)]
pub struct Acceptor {
    /// In logs and metrics.
    pub name: &'static str,
    pub tls: Arc<ServerConfig>,
    pub metrics: Arc<Metrics>,
    pub clock: Clock,
    /// One for each open connection; while there is none, new ones wait to be accepted.
    pub places: Arc<Semaphore>,
}

impl Acceptor {
    /// Starts to accept; connections whose handshake is done come out. Ends when the control plane stops.
    pub fn start(self, listener: TcpListener, tasks: &Tasks) -> mpsc::Receiver<Connection> {
        let (done, connections) = mpsc::channel(16);
        let handshakes = tasks.clone();
        tasks.spawn(async move { self.accept(listener, done, handshakes).await });
        connections
    }

    async fn accept(&self, listener: TcpListener, done: mpsc::Sender<Connection>, tasks: Tasks) {
        let handshakes = Arc::new(Semaphore::new(HANDSHAKES));
        loop {
            let Some(place) = self.place().await else { return };
            let Ok(permit) = handshakes.clone().acquire_owned().await else { return };
            match listener.accept().await {
                Ok((stream, address)) => {
                    let (this, done) = (self.clone(), done.clone());
                    tasks.spawn(async move {
                        let connection = this.handshake(stream, address, place).await;
                        drop(permit);
                        if let Some(connection) = connection {
                            // Fails only when the server is stopping.
                            let _ = done.send(connection).await;
                        }
                    });
                }
                Err(error) => {
                    tracing::warn!(listener = self.name, %error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_RETRY).await;
                }
            }
        }
    }

    async fn place(&self) -> Option<OwnedSemaphorePermit> {
        if self.places.available_permits() == 0 {
            tracing::warn!(listener = self.name, "as many connections as there may be are open, the next one waits");
        }
        self.places.clone().acquire_owned().await.ok()
    }

    async fn handshake(
        &self,
        stream: TcpStream,
        address: SocketAddr,
        place: OwnedSemaphorePermit,
    ) -> Option<Connection> {
        // Messages here are small and answered at once; waiting to fill a packet only adds delay.
        let _ = stream.set_nodelay(true);
        let handshake = TlsAcceptor::from(self.tls.clone()).accept(stream);
        match tokio::time::timeout(HANDSHAKE, handshake).await {
            Ok(Ok(stream)) => {
                let peer = self.peer(address, &stream);
                Some(Connection { stream, peer, check: Box::pin(tokio::time::sleep(Duration::ZERO)), _place: place })
            }
            Ok(Err(error)) => {
                let refusal = handshake_refusal(&error);
                self.failed(address, refusal.label(), &refusal.to_string());
                None
            }
            Err(_) => {
                self.failed(address, "timeout", "the TLS handshake took longer than 5 s");
                None
            }
        }
    }

    fn peer(&self, address: SocketAddr, stream: &TlsStream<TcpStream>) -> Peer {
        let certificates = stream.get_ref().1.peer_certificates().unwrap_or_default();
        let leaf = certificates.first().and_then(|leaf| Leaf::parse(leaf).ok());
        let end = leaf.as_ref().map_or_else(|| self.clock.now() + STRANGER, |leaf| leaf.not_after);
        Peer { address, identity: leaf.map(|leaf| leaf.id), life: Life::until(end, self.clock.clone()) }
    }

    fn failed(&self, peer: SocketAddr, label: &'static str, reason: &str) {
        tracing::warn!(listener = self.name, %peer, reason, "connection refused");
        let labels = HandshakeFailure { listener: self.name, reason: label };
        self.metrics.handshakes_failed.get_or_create(&labels).inc();
    }
}

impl Connection {
    /// Ready when its life is over.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            ready!(self.check.as_mut().poll(cx));
            let Some(left) = self.peer.life.remaining() else { return Poll::Ready(()) };
            self.check.as_mut().reset(Instant::now() + left);
        }
    }
}

impl tonic::transport::server::Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        // The servers read for as long as a connection is open, whatever else they do with it.
        if self.poll_end(cx).is_ready() {
            let reason = "the time of the connection is over: its peer has shown no SVID, or that one has expired";
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, reason)));
        }
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests;
