//! Connections to endpoints: TCP, mutual TLS where the endpoint has an identity, HTTP/1.1 or HTTP/2 on top.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::time::timeout;
use weft_certs::{Identity, Refusal, SpiffeId};

use super::{
    body::Body,
    headers::Mark,
    http1,
    pool::STREAMS_PER_CONNECTION,
    server::{H2_CONNECTION_WINDOW, H2_STREAM_WINDOW, MAX_HEADER_LIST},
};
use crate::{
    error::{Kind, ProxyError},
    net::{Coalesced, Dialer, Hop, Io},
    policy::bulkhead::limit::Place,
    telemetry::{Metrics, metrics::Direction},
    tls::{Carries, connector::Connector},
};

/// What is connected to: an address, and who must answer there.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Target {
    pub address: SocketAddr,
    /// `None`: plaintext, as to the local application or to an endpoint outside the mesh.
    pub identity: Option<SpiffeId>,
}

pub struct Client {
    dialer: Dialer,
    tls: Connector,
    metrics: Arc<Metrics>,
}

pub use settings::Settings;

mod settings;

pub const BROKEN_REQUEST: &str = "the request's body broke off or is malformed";
/// A peer outside the mesh may be far away, and slow.
const OUTSIDE_LIMIT: Duration = Duration::from_secs(30);
/// A dead peer is noticed well before a request times out on it.
const H2_KEEP_ALIVE: Duration = Duration::from_secs(10);
const H2_KEEP_ALIVE_LIMIT: Duration = Duration::from_secs(5);

impl Client {
    pub fn new(identity: &Arc<Identity>, metrics: Arc<Metrics>, dialer: Dialer) -> Self {
        Self { dialer, tls: Connector::new(identity), metrics }
    }

    /// Whether a connection that was made from `peer` to `to` is one of this sidecar's own.
    pub fn is_own(&self, peer: SocketAddr, to: SocketAddr) -> bool {
        self.dialer.is_own(peer, to)
    }

    /// A connection to an address outside the mesh.
    pub async fn outside(&self, address: SocketAddr) -> Result<Io, ProxyError> {
        let target = Target { address, identity: None };
        within(&target, OUTSIDE_LIMIT, self.open(&target, Carries::Bytes, None)).await
    }

    /// An HTTP/1.1 connection, made within `limit`, TLS included. `place` is its place among those that there may be.
    pub async fn http1(
        &self,
        target: &Target,
        limit: Duration,
        place: Option<Place>,
    ) -> Result<http1::Connection, ProxyError> {
        let open = self.open(target, Carries::Http(Hop::Http1), place);
        within(target, limit, async { Ok(http1::Connection::new(open.await?)) }).await
    }

    /// A connection for bytes, made within `limit`, TLS included.
    pub async fn bytes(&self, target: &Target, limit: Duration, place: Option<Place>) -> Result<Io, ProxyError> {
        within(target, limit, self.open(target, Carries::Bytes, place)).await
    }

    /// An HTTP/2 connection that carries `hop`, made within `limit`, TLS included.
    pub async fn http2(
        &self,
        target: &Target,
        hop: Hop,
        limit: Duration,
        place: Option<Place>,
    ) -> Result<(http2::SendRequest<Body>, Settings), ProxyError> {
        within(target, limit, async {
            let io = Coalesced::new(self.open(target, Carries::Http(hop), place).await?, Bytes::new());
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
            Ok((sender, Settings::watched(connection)))
        })
        .await
    }

    async fn open(&self, target: &Target, carries: Carries, place: Option<Place>) -> Result<Io, ProxyError> {
        let socket = self.dialer.dial(target.address).await.map_err(|e| not_connected(target, &e))?;
        let socket = match place {
            Some(place) => socket.placed(place),
            None => socket,
        };
        match &target.identity {
            None => Ok(Io::Plain(socket)),
            Some(expected) => {
                let tls = self.tls.connect(socket, expected, carries).await;
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

    /// Why an extended `CONNECT` was not sent: the other side does not take it, or has closed the connection.
    pub fn no_connect(&self, target: &Target, takes: Option<bool>) -> ProxyError {
        let address = target.address;
        match takes {
            Some(_) => ProxyError::new(
                Kind::Unsupported,
                format_args!(
                    "{address} does not take CONNECT with a protocol (RFC 8441), as for WebSocket over HTTP/2"
                ),
            ),
            None => ProxyError::new(Kind::Reset, format_args!("{address} closed the connection at once")),
        }
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

/// What another sidecar has said about its application instead of an answer.
pub fn marked(target: &Target, mark: Mark) -> ProxyError {
    let address = target.address;
    match mark {
        Mark::Unprocessed => {
            let details = format_args!("{address} is there, and the application behind it could not be reached");
            ProxyError::new(Kind::ConnectRefused, details)
        }
        Mark::Unanswered => {
            let details = format_args!(
                "{address} is there, and the application behind it closed the connection before it answered"
            );
            ProxyError::new(Kind::Reset, details)
        }
    }
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
