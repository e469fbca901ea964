//! What stands in for an application that knows of its proxy: wrk cannot ask one for a tunnel.

use std::net::SocketAddr;

use anyhow::{Context, ensure};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional_with_sizes},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

const BUFFER: usize = 64 << 10;

/// Carries every connection through a tunnel of its own. Its CPU time is nobody's: it runs in this process.
pub struct Tunnel {
    pub address: SocketAddr,
    accepting: JoinHandle<()>,
}

impl Tunnel {
    /// Tunnels to `authority`, which the proxy is asked for with CONNECT.
    pub async fn through(proxy: SocketAddr, authority: String) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let accepting = tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let authority = authority.clone();
                // One that fails ends, which the load counts.
                tokio::spawn(async move { carry(near, proxy, &authority).await });
            }
        });
        Ok(Self { address, accepting })
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn carry(mut near: TcpStream, proxy: SocketAddr, authority: &str) -> anyhow::Result<()> {
    let mut far = TcpStream::connect(proxy).await?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    far.write_all(format!("CONNECT {authority} HTTP/1.1\r\nhost: {authority}\r\n\r\n").as_bytes()).await?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(far.read_u8().await.context("the proxy closes the connection")?);
        ensure!(head.len() < BUFFER, "the proxy's answer does not end");
    }
    ensure!(head.starts_with(b"HTTP/1.1 200"), "the proxy says: {}", String::from_utf8_lossy(&head));
    copy_bidirectional_with_sizes(&mut near, &mut far, BUFFER, BUFFER).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_proxy_is_asked_and_what_follows_its_consent_is_carried() {
        let proxy = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        let tunnel = Tunnel::through(proxy.local_addr().expect("bound"), "web:80".to_owned()).await.expect("loopback");
        let mut near = TcpStream::connect(tunnel.address).await.expect("it listens");
        let (mut far, _) = proxy.accept().await.expect("it connects");
        let expected = b"CONNECT web:80 HTTP/1.1\r\nhost: web:80\r\n\r\n";
        let mut asked = [0; 41];
        far.read_exact(&mut asked).await.expect("a request");
        assert_eq!(&asked, expected);
        far.write_all(b"HTTP/1.1 200 OK\r\n\r\nabc").await.expect("open");
        let mut answer = [0; 3];
        near.read_exact(&mut answer).await.expect("open");
        assert_eq!(&answer, b"abc");
    }
}
