//! Peers that are not sidecars: with certificates of any origin, and with bytes of any shape.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use rustls::{ClientConfig, ServerConfig, pki_types::CertificateDer};
use tokio::{
    io::AsyncReadExt,
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tokio_rustls::{TlsAcceptor, TlsConnector, client::TlsStream};
use weft_certs::{Identity, Svid, TrustBundle, tls::no_sni};
use x509_parser::prelude::{FromDer, X509Certificate};

/// A TLS connection without a look at who answers: that is up to `config`.
pub async fn connect(address: SocketAddr, config: Arc<ClientConfig>) -> io::Result<TlsStream<TcpStream>> {
    TlsConnector::from(config).connect(no_sni(), TcpStream::connect(address).await?).await
}

pub fn identity(svid: Svid, bundle: TrustBundle) -> Arc<Identity> {
    Identity::new(svid, bundle)
}

/// The serial number of an SVID's leaf, in hexadecimal digits.
pub fn leaf_serial(leaf: &CertificateDer<'_>) -> String {
    let (_, certificate) = X509Certificate::from_der(leaf).unwrap();
    certificate.raw_serial_as_string()
}

/// A TLS server in a sidecar's place, which counts the bytes that are sent to it once the handshake is done.
pub struct Impostor {
    address: SocketAddr,
    received: Arc<AtomicUsize>,
    serving: JoinHandle<()>,
}

impl Impostor {
    pub async fn start(config: Arc<ServerConfig>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let received = Arc::<AtomicUsize>::default();
        let serving = tokio::spawn(accept(listener, config.into(), received.clone()));
        Self { address, received, serving }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn received(&self) -> usize {
        self.received.load(Ordering::SeqCst)
    }
}

impl Drop for Impostor {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn accept(listener: TcpListener, tls: TlsAcceptor, received: Arc<AtomicUsize>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (tls, received) = (tls.clone(), received.clone());
        tokio::spawn(async move {
            let Ok(mut stream) = tls.accept(stream).await else { return };
            let mut buffer = [0; 1024];
            while let Ok(count @ 1..) = stream.read(&mut buffer).await {
                received.fetch_add(count, Ordering::SeqCst);
            }
        });
    }
}
