//! The server side of mutual TLS: nobody gets past it without an SVID of the trust domain.

use std::{sync::Arc, time::Duration};

use tokio::time::timeout;
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use weft_certs::{Identity, Refusal, SpiffeId, handshake_refusal, peer_id};

use super::{ALPN_H1, ALPN_H1_STREAMS, ALPN_H2};
use crate::net::{Hop, Socket};

/// A peer that has not finished its handshake by then is cut off.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

pub struct Acceptor(TlsAcceptor);

/// A connection whose peer is known.
pub struct Accepted {
    pub stream: TlsStream<Socket>,
    pub peer: SpiffeId,
    pub speaks: Hop,
}

impl Acceptor {
    pub fn new(identity: &Arc<Identity>) -> Self {
        Self(weft_certs::tls::server_config(identity, &[ALPN_H2, ALPN_H1_STREAMS, ALPN_H1]).into())
    }

    pub async fn accept(&self, stream: Socket) -> Result<Accepted, Refusal> {
        let handshake = timeout(HANDSHAKE_TIMEOUT, self.0.accept(stream)).await;
        let stream = handshake
            .map_err(|_| Refusal::Other(format!("no handshake within {HANDSHAKE_TIMEOUT:?}")))?
            .map_err(|e| handshake_refusal(&e))?;
        let (_, connection) = stream.get_ref();
        let peer = peer_id(connection).ok_or(Refusal::NoCertificate)?;
        let speaks = match connection.alpn_protocol() {
            Some(protocol) if protocol == ALPN_H2 => Hop::Http2,
            Some(protocol) if protocol == ALPN_H1_STREAMS => Hop::Http1Streams,
            Some(protocol) if protocol == ALPN_H1 => Hop::Http1,
            _ => return Err(Refusal::Other("the client offered no protocol of the mesh (ALPN)".into())),
        };
        Ok(Accepted { stream, peer, speaks })
    }
}
