//! The client side of mutual TLS: the endpoint must prove the SPIFFE ID that discovery says it has, not just any
//! identity of the mesh, before a byte of the request leaves.

use std::sync::Arc;

use tokio_rustls::{TlsConnector, client::TlsStream};
use weft_certs::{
    Identity, Refusal, SpiffeId, expect_peer, handshake_refusal,
    tls::{client_config, no_sni},
};

use super::{ALPN_H1, ALPN_H1_STREAMS, ALPN_H2};
use crate::net::{Hop, Socket};

pub struct Connector {
    h1: TlsConnector,
    h2: TlsConnector,
    h1_streams: TlsConnector,
}

impl Connector {
    pub fn new(identity: &Arc<Identity>) -> Self {
        let speaking = |protocol| client_config(identity, &[protocol]).into();
        Self { h1: speaking(ALPN_H1), h2: speaking(ALPN_H2), h1_streams: speaking(ALPN_H1_STREAMS) }
    }

    pub async fn connect(&self, stream: Socket, expected: &SpiffeId, hop: Hop) -> Result<TlsStream<Socket>, Refusal> {
        let connector = match hop {
            Hop::Http1 => &self.h1,
            Hop::Http2 => &self.h2,
            Hop::Http1Streams => &self.h1_streams,
        };
        let stream = connector.connect(no_sni(), stream).await.map_err(|e| handshake_refusal(&e))?;
        expect_peer(stream.get_ref().1, expected)
            .map_err(|wrong| Refusal::WrongIdentity { expected: wrong.expected, actual: wrong.actual })?;
        Ok(stream)
    }
}
