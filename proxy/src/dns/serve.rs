//! Queries from the sockets, answers to them, and how many there may be at a time.

use std::{convert::Infallible, io, sync::Arc, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream, UdpSocket},
    sync::Semaphore,
    task::JoinSet,
    time::timeout,
};

use super::{Server, query::Transport, sockets::Pair, stream};
use crate::net::listener;

/// Queries by UDP at a time.
pub const QUERIES: usize = 1024;
/// Connections at a time. Each has one query at a time.
pub const CONNECTIONS: usize = 64;
/// For a whole query to come, and for a whole answer to be taken.
const IDLE: Duration = Duration::from_secs(10);
/// More than any query needs; what is longer is malformed.
const DATAGRAM: usize = 4096;

/// Never ends.
///
/// # Errors
/// The runtime does not take the sockets, or a task that listens has broken off.
pub async fn serve(server: Arc<Server>, sockets: Vec<Pair>) -> io::Result<Infallible> {
    let (queries, connections) = (Arc::new(Semaphore::new(QUERIES)), Arc::new(Semaphore::new(CONNECTIONS)));
    let mut tasks = JoinSet::new();
    for pair in sockets {
        let (udp, tcp) = (UdpSocket::from_std(pair.udp)?, TcpListener::from_std(pair.tcp)?);
        tasks.spawn(serve_udp(server.clone(), udp, queries.clone()));
        tasks.spawn(serve_tcp(server.clone(), tcp, connections.clone()));
    }
    match tasks.join_next().await {
        Some(Err(ended)) => Err(io::Error::other(ended)),
        _ => Ok(std::future::pending().await),
    }
}

async fn serve_udp(server: Arc<Server>, socket: UdpSocket, places: Arc<Semaphore>) {
    let socket = Arc::new(socket);
    let mut buffer = vec![0; DATAGRAM];
    loop {
        let (length, client) = match socket.recv_from(&mut buffer).await {
            Ok(received) => received,
            Err(error) => {
                tracing::warn!(%error, "a DNS query could not be received");
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            }
        };
        let Ok(place) = places.clone().try_acquire_owned() else {
            server.metrics.refused.inc();
            continue;
        };
        let query = buffer.get(..length).unwrap_or_default().to_vec();
        let (server, socket) = (server.clone(), socket.clone());
        tokio::spawn(async move {
            if let Some(answer) = server.answer(&query, Transport::Udp).await
                && let Err(error) = socket.send_to(&answer, client).await
            {
                tracing::debug!(%client, %error, "a DNS answer could not be sent");
            }
            drop(place);
        });
    }
}

async fn serve_tcp(server: Arc<Server>, socket: TcpListener, places: Arc<Semaphore>) {
    loop {
        let (connection, client) = listener::accept(&socket).await;
        let Ok(place) = places.clone().try_acquire_owned() else {
            server.metrics.refused.inc();
            continue;
        };
        let server = server.clone();
        tokio::spawn(async move {
            let Err(error) = converse(&server, connection).await;
            tracing::debug!(%client, %error, "a DNS connection ended");
            drop(place);
        });
    }
}

/// Until the client closes the connection, or is slower than it may be.
async fn converse(server: &Server, mut connection: TcpStream) -> io::Result<Infallible> {
    loop {
        let query = timeout(IDLE, stream::read(&mut connection)).await??;
        if let Some(answer) = server.answer(&query, Transport::Tcp).await {
            timeout(IDLE, stream::write(&mut connection, &answer)).await??;
        }
    }
}
