//! A relay between a sidecar and its control plane that counts what passes, TLS and HTTP/2 framing included.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

pub struct Relay {
    pub address: SocketAddr,
    counts: Arc<Counts>,
    accepting: JoinHandle<()>,
}

#[derive(Default)]
struct Counts {
    to_sidecar: AtomicU64,
    to_control_plane: AtomicU64,
}

/// Bytes that have passed in each direction.
#[derive(Clone, Copy, Debug)]
pub struct Passed {
    pub to_sidecar: u64,
    pub to_control_plane: u64,
}

impl Passed {
    /// What has passed from then until `later`.
    pub fn until(self, later: Self) -> Self {
        Self {
            to_sidecar: later.to_sidecar - self.to_sidecar,
            to_control_plane: later.to_control_plane - self.to_control_plane,
        }
    }
}

impl Relay {
    pub async fn to(control_plane: SocketAddr) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let counts = Arc::new(Counts::default());
        let accepting = tokio::spawn(accept(listener, control_plane, counts.clone()));
        Ok(Self { address, counts, accepting })
    }

    pub fn passed(&self) -> Passed {
        Passed {
            to_sidecar: self.counts.to_sidecar.load(Ordering::Relaxed),
            to_control_plane: self.counts.to_control_plane.load(Ordering::Relaxed),
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, control_plane: SocketAddr, counts: Arc<Counts>) {
    while let Ok((sidecar, _)) = listener.accept().await {
        let counts = counts.clone();
        // A connection that fails ends; the sidecar makes another.
        tokio::spawn(async move {
            let upstream = TcpStream::connect(control_plane).await?;
            sidecar.set_nodelay(true)?;
            upstream.set_nodelay(true)?;
            let ((from_sidecar, to_sidecar), (from_upstream, to_upstream)) =
                (sidecar.into_split(), upstream.into_split());
            tokio::try_join!(
                copy(from_sidecar, to_upstream, &counts.to_control_plane),
                copy(from_upstream, to_sidecar, &counts.to_sidecar),
            )
        });
    }
}

async fn copy(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    count: &AtomicU64,
) -> std::io::Result<()> {
    let mut buffer = vec![0; 16 << 10];
    loop {
        let read = from.read(&mut buffer).await?;
        let Some(bytes) = buffer.get(..read).filter(|bytes| !bytes.is_empty()) else { return to.shutdown().await };
        count.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        to.write_all(bytes).await?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn both_directions_are_counted() {
        let server = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        let relay = Relay::to(server.local_addr().expect("bound")).await.expect("loopback");
        let mut near = TcpStream::connect(relay.address).await.expect("the relay listens");
        let (mut far, _) = server.accept().await.expect("the relay connects");
        let mut buffer = [0; 5];
        near.write_all(b"abc").await.expect("open");
        far.read_exact(&mut buffer[..3]).await.expect("three bytes");
        far.write_all(b"defgh").await.expect("open");
        near.read_exact(&mut buffer).await.expect("five bytes");
        let passed = relay.passed();
        assert_eq!((passed.to_control_plane, passed.to_sidecar, &buffer), (3, 5, b"defgh"));
    }
}
