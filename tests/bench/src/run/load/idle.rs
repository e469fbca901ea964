//! Idle connections: opened, used for one request all at the same time, and then kept.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, ensure};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::run::peers::SERVICE;

const PATIENCE: Duration = Duration::from_secs(60);
/// Fewer than the queue of a listener holds, so that no connection has to be asked for twice.
const OPENED_AT_ONCE: usize = 100;
/// An answer of 1 KiB with its head, in any proxy's words.
const LARGEST_ANSWER: usize = 4 << 10;

/// Closed when this is dropped.
pub struct IdleConnections(#[expect(dead_code, reason = "kept, not used")] Vec<TcpStream>);

impl IdleConnections {
    /// Returns when every connection has had its answer.
    pub async fn open(entry: SocketAddr, count: usize) -> anyhow::Result<Self> {
        let mut streams = Vec::with_capacity(count);
        while streams.len() < count {
            let some = (0..OPENED_AT_ONCE.min(count - streams.len())).map(|_| TcpStream::connect(entry));
            let opened = futures_util::future::try_join_all(some);
            streams.extend(timeout(PATIENCE, opened).await.context("connections are not accepted")??);
        }
        let mut burst = JoinSet::new();
        for stream in streams {
            burst.spawn(timeout(PATIENCE, exchange(stream)));
        }
        let mut kept = Vec::with_capacity(count);
        while let Some(ended) = burst.join_next().await {
            kept.push(ended?.with_context(|| format!("{} of {count} were answered in time", kept.len()))??);
        }
        // What a proxy frees it frees at once, or when a timer of a second has run.
        sleep(Duration::from_secs(2)).await;
        Ok(Self(kept))
    }
}

/// One request on a connection of its own.
pub async fn once(entry: SocketAddr) -> anyhow::Result<()> {
    let stream = TcpStream::connect(entry).await?;
    timeout(PATIENCE, exchange(stream)).await.context("no answer")?.map(drop)
}

async fn exchange(mut stream: TcpStream) -> anyhow::Result<TcpStream> {
    stream.write_all(format!("GET /1k HTTP/1.1\r\nhost: {SERVICE}\r\n\r\n").as_bytes()).await?;
    let mut answer = Vec::with_capacity(LARGEST_ANSWER);
    while !is_complete(&answer) {
        let read = stream.read_buf(&mut answer).await?;
        ensure!(read > 0, "the connection was closed: {}", String::from_utf8_lossy(&answer));
        ensure!(answer.len() <= LARGEST_ANSWER, "a long answer: {}", String::from_utf8_lossy(&answer));
    }
    ensure!(answer.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&answer));
    Ok(stream)
}

/// Whether it ends a head, and after it the file of 1 KiB, which holds nothing but `x`.
fn is_complete(answer: &[u8]) -> bool {
    let body = answer.iter().rev().take_while(|&&byte| byte == b'x').count();
    body >= 1 << 10 && answer.iter().rev().nth(body) == Some(&b'\n')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_complete_with_its_last_byte() {
        let mut answer = b"HTTP/1.1 200 OK\r\ncontent-length: 1024\r\n\r\n".to_vec();
        answer.extend([b'x'; 1023]);
        assert!(!is_complete(&answer));
        answer.push(b'x');
        assert!(is_complete(&answer));
    }
}
