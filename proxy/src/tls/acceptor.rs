//! The server side of mutual TLS: nobody gets past it without an SVID of the trust domain.

use std::{sync::Arc, time::Duration};

use tokio::time::timeout;
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use weft_certs::{Identity, Refusal, SpiffeId, handshake_refusal, peer_id};

use super::{Carries, PROTOCOLS};
use crate::net::Socket;

/// A peer that has not finished its handshake by then is cut off.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

pub struct Acceptor(TlsAcceptor);

/// A connection whose peer is known.
pub struct Accepted {
    pub stream: TlsStream<Socket>,
    pub peer: SpiffeId,
    pub carries: Carries,
}

impl Acceptor {
    pub fn new(identity: &Arc<Identity>) -> Self {
        Self(weft_certs::tls::server_config(identity, &PROTOCOLS.map(|(name, _)| name)).into())
    }

    pub async fn accept(&self, stream: Socket) -> Result<Accepted, Refusal> {
        let handshake = timeout(HANDSHAKE_TIMEOUT, self.0.accept(stream)).await;
        let stream = handshake
            .map_err(|_| Refusal::Other(format!("no handshake within {HANDSHAKE_TIMEOUT:?}")))?
            .map_err(|e| handshake_refusal(&e))?;
        let (_, connection) = stream.get_ref();
        let peer = peer_id(connection).ok_or(Refusal::NoCertificate)?;
        let agreed = PROTOCOLS.iter().find(|(name, _)| connection.alpn_protocol() == Some(*name));
        let (_, carries) =
            agreed.ok_or_else(|| Refusal::Other("the client offered no protocol of the mesh (ALPN)".into()))?;
        Ok(Accepted { stream, peer, carries: *carries })
    }
}
