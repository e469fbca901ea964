//! Accepting TLS connections, for both servers.
//!
//! Each handshake has its own task and five seconds, so that a slow or silent peer holds up nobody else; a failed one is
//! counted and explained in one log line. What is said on the connection is the servers' matter.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use rustls::ServerConfig;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{Semaphore, mpsc},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use weft_certs::{SpiffeId, handshake_refusal, peer_id};

use crate::{
    tasks::Tasks,
    telemetry::{HandshakeFailure, Metrics},
};

const HANDSHAKE: Duration = Duration::from_secs(5);
/// Handshakes at one time: each costs a signature, and peers that have proved nothing must not take all memory.
const HANDSHAKES: usize = 512;
/// After an error of `accept`, such as too many open files: time for some to be closed.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Who is on the other side; in the extensions of every request.
#[derive(Clone, Debug)]
pub struct Peer {
    pub address: SocketAddr,
    /// From its verified certificate, if it showed one.
    pub identity: Option<SpiffeId>,
}

pub struct Connection {
    stream: TlsStream<TcpStream>,
    peer: Peer,
}

/// One socket, and how handshakes on it are made and counted.
#[derive(Clone)]
pub struct Acceptor {
    /// In logs and metrics.
    pub name: &'static str,
    pub tls: Arc<ServerConfig>,
    pub metrics: Arc<Metrics>,
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
            let Ok(permit) = handshakes.clone().acquire_owned().await else { return };
            match listener.accept().await {
                Ok((stream, address)) => {
                    let (this, done) = (self.clone(), done.clone());
                    tasks.spawn(async move {
                        let connection = this.handshake(stream, address).await;
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

    async fn handshake(&self, stream: TcpStream, address: SocketAddr) -> Option<Connection> {
        // Messages here are small and answered at once; waiting to fill a packet only adds delay.
        let _ = stream.set_nodelay(true);
        let handshake = TlsAcceptor::from(self.tls.clone()).accept(stream);
        match tokio::time::timeout(HANDSHAKE, handshake).await {
            Ok(Ok(stream)) => {
                let identity = peer_id(stream.get_ref().1);
                Some(Connection { stream, peer: Peer { address, identity } })
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

    fn failed(&self, peer: SocketAddr, label: &'static str, reason: &str) {
        tracing::warn!(listener = self.name, %peer, reason, "connection refused");
        let labels = HandshakeFailure { listener: self.name, reason: label };
        self.metrics.handshakes_failed.get_or_create(&labels).inc();
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
