//! New connections with mutual TLS, one request on each, straight to the inbound proxy. No load generator at hand shows
//! a client certificate per connection and counts, so that this is one.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use rustls::ClientConfig;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
    time::timeout,
};
use tokio_rustls::TlsConnector;

use super::{Latency, Sample, Target};
use crate::run::{certificates, peers::SERVICE};

const PATIENCE: Duration = Duration::from_secs(10);

pub async fn run(target: &Target, duration: Duration, callers: u32) -> anyhow::Result<Sample> {
    let (inbound, identity) = target.inbound.clone().context("this peer has no inbound proxy")?;
    let start = Instant::now();
    let mut running = JoinSet::new();
    for _ in 0..callers {
        running.spawn(call(inbound, identity.clone(), start + duration));
    }
    let (mut latencies, mut failed) = (Vec::new(), 0);
    while let Some(ended) = running.join_next().await {
        let (answered, broken) = ended?;
        latencies.extend(answered);
        failed += broken;
    }
    let (requests, seconds) = (latencies.len() as u64, start.elapsed().as_secs_f64());
    Ok(Sample { requests, seconds, failed, latency: Latency::of(latencies) })
}

async fn call(inbound: SocketAddr, identity: Arc<ClientConfig>, end: Instant) -> (Vec<u32>, u64) {
    let (mut answered, mut failed) = (Vec::new(), 0);
    while Instant::now() < end {
        let start = Instant::now();
        match timeout(PATIENCE, exchange(inbound, identity.clone())).await {
            Ok(Ok(())) => answered.push(start.elapsed().as_micros().try_into().unwrap_or(u32::MAX)),
            Ok(Err(_)) | Err(_) => failed += 1,
        }
    }
    (answered, failed)
}

/// One connection, one request for 1 KiB.
pub async fn exchange(inbound: SocketAddr, identity: Arc<ClientConfig>) -> anyhow::Result<()> {
    let stream = TcpStream::connect(inbound).await?;
    stream.set_nodelay(true)?;
    let mut stream = TlsConnector::from(identity).connect(certificates::NAME.try_into()?, stream).await?;
    let request = format!("GET /1k HTTP/1.1\r\nhost: {SERVICE}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    // An end without close_notify is an error to rustls, and a habit of some servers.
    let end = stream.read_to_end(&mut answer).await;
    ensure!(answer.starts_with(b"HTTP/1.1 200 "), "{end:?}: {}", String::from_utf8_lossy(&answer));
    Ok(())
}
