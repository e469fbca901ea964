//! The client side of mutual TLS: the endpoint must prove the SPIFFE ID that discovery says it has, not just any
//! identity of the mesh, before a byte of the request leaves.

use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};
use weft_certs::{
    Identity, Refusal, SpiffeId, expect_peer, handshake_refusal,
    tls::{client_config, no_sni},
};

use super::{ALPN_H1, ALPN_H2};
use crate::net::Hop;

pub struct Connector {
    h1: TlsConnector,
    h2: TlsConnector,
}

impl Connector {
    pub fn new(identity: &Arc<Identity>) -> Self {
        Self { h1: client_config(identity, &[ALPN_H1]).into(), h2: client_config(identity, &[ALPN_H2]).into() }
    }

    pub async fn connect(
        &self,
        stream: TcpStream,
        expected: &SpiffeId,
        hop: Hop,
    ) -> Result<TlsStream<TcpStream>, Refusal> {
        let connector = match hop {
            Hop::Http1 => &self.h1,
            Hop::Http2 => &self.h2,
        };
        let stream = connector.connect(no_sni(), stream).await.map_err(|e| handshake_refusal(&e))?;
        expect_peer(stream.get_ref().1, expected)
            .map_err(|wrong| Refusal::WrongIdentity { expected: wrong.expected, actual: wrong.actual })?;
        Ok(stream)
    }
}
