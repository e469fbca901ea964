//! What must hold before a figure means anything: the peer answers, and between its two sides there is mutual TLS with the
//! cipher suite of all others.
//!
//! A connection to the inbound proxy without a client certificate, or without TLS, must get no answer from the
//! application; one with a certificate must. A benchmark against plaintext would be a lie.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use rustls::{
    CipherSuite, ClientConfig, DigitallySignedStruct, Error, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::CryptoProvider,
    pki_types::{CertificateDer, ServerName, UnixTime},
    version::TLS13,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    time::{sleep, timeout},
};
use tokio_rustls::TlsConnector;

use super::{
    certificates::NAME,
    load::{Load, Target},
    peers::Running,
    site::Site,
};

const PATIENCE: Duration = Duration::from_secs(20);
const HTTP1: &[u8] = b"GET /1k HTTP/1.1\r\nhost: web\r\nconnection: close\r\n\r\n";
/// The preface and empty settings, which a server answers with its own.
const HTTP2: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
/// What is silent for so long has not answered.
const SILENCE: Duration = Duration::from_secs(3);

/// Waits until the application is reached: a mesh may still be learning of it.
pub async fn answers(site: &Site, load: &Load, target: &Target) -> anyhow::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match load.once(site, target).await {
            Err(_) if Instant::now() < deadline => sleep(Duration::from_millis(20)).await,
            result => return result,
        }
    }
}

/// Holds for peers whose inbound proxy speaks HTTP, or carries it as bytes.
pub async fn wants_certificates(running: &Running) -> anyhow::Result<()> {
    let Some((inbound, identity)) = &running.inbound else { return Ok(()) };
    // In TLS 1.3 a client learns only from its first read that it was refused. Whoever is let in reads an answer, or
    // the first frame of HTTP/2.
    let stranger = without_certificate(identity.alpn_protocols.clone())?;
    let answer = ask_over_tls(*inbound, stranger).await.unwrap_or_default();
    ensure!(answer.is_empty(), "the inbound proxy lets a client without a certificate in");
    let answer = ask(TcpStream::connect(inbound).await?, HTTP1).await;
    ensure!(!answer.starts_with(b"HTTP/1.1 2"), "the inbound proxy answers without TLS");
    let answer = ask_over_tls(*inbound, identity.clone()).await.context("with a certificate")?;
    ensure!(!answer.is_empty(), "the inbound proxy lets a client with a certificate wait");
    Ok(())
}

async fn ask_over_tls(inbound: SocketAddr, identity: Arc<ClientConfig>) -> anyhow::Result<Vec<u8>> {
    let stream = TcpStream::connect(inbound).await?;
    let is_http2 = identity.alpn_protocols.iter().any(|protocol| protocol.ends_with(b"h2"));
    let handshake = TlsConnector::from(identity).connect(ServerName::try_from(NAME)?, stream);
    let stream = timeout(SILENCE, handshake).await.context("the handshake does not end")??;
    let suite = stream.get_ref().1.negotiated_cipher_suite().map(|suite| suite.suite());
    ensure!(suite == Some(CipherSuite::TLS13_AES_128_GCM_SHA256), "the inbound proxy chooses {suite:?}");
    Ok(ask(stream, if is_http2 { HTTP2 } else { HTTP1 }).await)
}

async fn ask(mut stream: impl AsyncRead + AsyncWrite + Unpin, request: &[u8]) -> Vec<u8> {
    let mut answer = vec![0; 16];
    let exchange = async {
        stream.write_all(request).await?;
        stream.read(&mut answer).await
    };
    // Refused, closed or silent: what counts is what was read.
    let read = timeout(SILENCE, exchange).await;
    answer.truncate(read.map_or(0, |read| read.unwrap_or(0)));
    answer
}

/// Accepts any server, and shows nothing.
fn without_certificate(alpn: Vec<Vec<u8>>) -> anyhow::Result<Arc<ClientConfig>> {
    let provider = weft_certs::crypto::provider().clone();
    let mut config = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyServer(provider)))
        .with_no_client_auth();
    config.alpn_protocols = alpn;
    Ok(Arc::new(config))
}

#[derive(Debug)]
struct AnyServer(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _leaf: &CertificateDer<'_>,
        _chain: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _leaf: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.2 is not offered".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, leaf, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
