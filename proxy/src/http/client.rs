//! Connections to endpoints: TCP, mutual TLS where the endpoint has an identity, HTTP/1.1 or HTTP/2 on top.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{net::TcpStream, time::timeout};
use weft_certs::{Identity, Refusal, SpiffeId};

use super::{
    body::Body,
    http1,
    pool::STREAMS_PER_CONNECTION,
    server::{H2_CONNECTION_WINDOW, H2_STREAM_WINDOW, MAX_HEADER_LIST},
};
use crate::{
    error::{Kind, ProxyError},
    net::{self, Coalesced, Hop, Io, Socket},
    telemetry::{Metrics, metrics::Direction},
    tls::connector::Connector,
};

/// What is connected to: an address, and who must answer there.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Target {
    pub address: SocketAddr,
    /// `None`: plaintext, as to the local application or to an endpoint outside the mesh.
    pub identity: Option<SpiffeId>,
}

pub struct Client {
    tls: Connector,
    metrics: Arc<Metrics>,
}

pub const BROKEN_REQUEST: &str = "the request's body broke off or is malformed";
/// A dead peer is noticed well before a request times out on it.
const H2_KEEP_ALIVE: Duration = Duration::from_secs(10);
const H2_KEEP_ALIVE_LIMIT: Duration = Duration::from_secs(5);

impl Client {
    pub fn new(identity: &Arc<Identity>, metrics: Arc<Metrics>) -> Self {
        Self { tls: Connector::new(identity), metrics }
    }

    /// An HTTP/1.1 connection, made within `limit`, TLS included.
    pub async fn http1(&self, target: &Target, limit: Duration) -> Result<http1::Connection, ProxyError> {
        within(target, limit, async { Ok(http1::Connection::new(self.open(target, Hop::Http1).await?)) }).await
    }

    /// An HTTP/2 connection that carries `hop`, made within `limit`, TLS included.
    pub async fn http2(
        &self,
        target: &Target,
        hop: Hop,
        limit: Duration,
    ) -> Result<http2::SendRequest<Body>, ProxyError> {
        within(target, limit, async {
            let io = Coalesced::new(self.open(target, hop).await?, Bytes::new());
            let sending = io.clone();
            let (sender, connection) = http2::Builder::new(sending)
                .timer(TokioTimer::new())
                .keep_alive_interval(H2_KEEP_ALIVE)
                .keep_alive_timeout(H2_KEEP_ALIVE_LIMIT)
                .keep_alive_while_idle(true)
                .initial_stream_window_size(H2_STREAM_WINDOW)
                .initial_connection_window_size(H2_CONNECTION_WINDOW)
                .max_header_list_size(MAX_HEADER_LIST)
                .max_concurrent_reset_streams(STREAMS_PER_CONNECTION * 10)
                .handshake(TokioIo::new(io))
                .await
                .map_err(|e| no_http(target, &e))?;
            // A broken connection shows at the request that meets it.
            tokio::spawn(async move { connection.await.ok() });
            Ok(sender)
        })
        .await
    }

    async fn open(&self, target: &Target, hop: Hop) -> Result<Io, ProxyError> {
        let tcp = TcpStream::connect(target.address).await.map_err(|e| not_connected(target, &e))?;
        net::tune(&tcp);
        let socket = Socket(tcp);
        match &target.identity {
            None => Ok(Io::Plain(socket)),
            Some(expected) => {
                let tls = self.tls.connect(socket, expected, hop).await;
                Ok(Io::TlsClient(Box::new(tls.map_err(|refusal| self.not_trusted(target, &refusal))?)))
            }
        }
    }

    /// Why a request that was begun on an HTTP/1.1 connection got no answer.
    pub fn broken(&self, target: &Target, error: &http1::Error) -> ProxyError {
        match error {
            http1::Error::Body => ProxyError::new(Kind::BadRequest, BROKEN_REQUEST),
            error => self.broken_off(target, error),
        }
    }

    /// The same for an HTTP/2 connection, which does not say which side it was.
    pub fn broken_off(&self, target: &Target, error: &(dyn std::error::Error + 'static)) -> ProxyError {
        let refusal = weft_certs::handshake_refusal(error);
        if let Refusal::Alert(_) = refusal {
            // In TLS 1.3 a server refuses our certificate only after our side of the handshake is done.
            return self.not_trusted(target, &refusal);
        }
        let cause = std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
        ProxyError::new(Kind::Reset, format_args!("{} broke the connection off: {error}{cause}", target.address))
    }

    /// Mutual TLS failed, on one side or the other: counted, and said in one line.
    pub fn not_trusted(&self, target: &Target, refusal: &Refusal) -> ProxyError {
        self.metrics.handshake_refused(Direction::Outbound, refusal.label());
        let details = format!("mutual TLS with {} failed: {refusal}", target.address);
        tracing::warn!(endpoint = %target.address, reason = refusal.label(), "{details}");
        let kind = match refusal {
            // The connection ended or was not TLS at all: nothing is known about the peer's identity.
            Refusal::Other(_) => Kind::ConnectFailed,
            _ => Kind::PeerNotTrusted,
        };
        ProxyError::new(kind, details)
    }
}

/// Runs a connect, and gives it up after `limit`.
pub async fn within<T>(
    target: &Target,
    limit: Duration,
    connect: impl Future<Output = Result<T, ProxyError>>,
) -> Result<T, ProxyError> {
    timeout(limit, connect).await.unwrap_or_else(|_| {
        let details = format_args!("no connection to {} within {limit:?}", target.address);
        Err(ProxyError::new(Kind::ConnectTimeout, details))
    })
}

fn no_http(target: &Target, error: &hyper::Error) -> ProxyError {
    ProxyError::new(Kind::ConnectFailed, format_args!("no HTTP with {}: {error}", target.address))
}

fn not_connected(target: &Target, error: &std::io::Error) -> ProxyError {
    let kind = match error.kind() {
        std::io::ErrorKind::ConnectionRefused => Kind::ConnectRefused,
        std::io::ErrorKind::TimedOut => Kind::ConnectTimeout,
        _ => Kind::ConnectFailed,
    };
    ProxyError::new(kind, format_args!("cannot connect to {}: {error}", target.address))
}
