//! The client side of mutual TLS: the endpoint must prove the SPIFFE ID that discovery says it has, not just any
//! identity of the mesh, before a byte of the request leaves.

use std::sync::Arc;

use tokio_rustls::{TlsConnector, client::TlsStream};
use weft_certs::{
    Identity, Refusal, SpiffeId, expect_peer, handshake_refusal,
    tls::{client_config, no_sni},
};

use super::{ALPN_H1, ALPN_H1_STREAMS, ALPN_H2, ALPN_TCP, Carries};
use crate::net::{Hop, Socket};

pub struct Connector {
    h1: TlsConnector,
    h2: TlsConnector,
    h1_streams: TlsConnector,
    tcp: TlsConnector,
}

impl Connector {
    pub fn new(identity: &Arc<Identity>) -> Self {
        let speaking = |protocol| client_config(identity, &[protocol]).into();
        Self {
            h1: speaking(ALPN_H1),
            h2: speaking(ALPN_H2),
            h1_streams: speaking(ALPN_H1_STREAMS),
            tcp: speaking(ALPN_TCP),
        }
    }

    pub async fn connect(
        &self,
        stream: Socket,
        expected: &SpiffeId,
        carries: Carries,
    ) -> Result<TlsStream<Socket>, Refusal> {
        let connector = match carries {
            Carries::Http(Hop::Http1) => &self.h1,
            Carries::Http(Hop::Http2) => &self.h2,
            Carries::Http(Hop::Http1Streams) => &self.h1_streams,
            Carries::Bytes => &self.tcp,
        };
        let stream = connector.connect(no_sni(), stream).await.map_err(|e| handshake_refusal(&e))?;
        expect_peer(stream.get_ref().1, expected)
            .map_err(|wrong| Refusal::WrongIdentity { expected: wrong.expected, actual: wrong.actual })?;
        Ok(stream)
    }
}
