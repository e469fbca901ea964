//! The bare relay: what a pair of proxies costs when it does nothing but relay, made of the libraries that weft is made
//! of (tokio on one thread, hyper, rustls with aws-lc-rs).
//!
//! No policy, no metrics, no rewriting of headers: the floor that weft's features are held against. It trusts its peers and its
//! flags, and ends when something is wrong with either; nobody should put it into a network. `outbound` accepts
//! plaintext and speaks mutual TLS, `inbound` the other way round. Started by the orchestrator, once per side.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a measuring tool may panic")]

use std::{
    io,
    net::SocketAddr,
    path::PathBuf,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use bytes::Bytes;
use clap::{Args, Parser, ValueEnum};
use http::{
    HeaderValue, Request, Response, Uri,
    header::{CONNECTION, HOST},
};
use hyper::{
    body::{Body, Frame, Incoming, SizeHint},
    client::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    client::Resumption,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
    server::WebPkiClientVerifier,
    version::TLS13,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// What every certificate of the benchmark is for.
const NAME: &str = "bench.weft.local";
// As large as weft's, so that flow control costs the same.
const STREAMS: u32 = 250;
const STREAM_WINDOW: u32 = 256 << 10;
const CONNECTION_WINDOW: u32 = 1 << 20;

/// A relay without features: the floor of the benchmark.
#[derive(Parser)]
#[command(name = "weft-bench-bare")]
enum Cli {
    /// Plaintext in, mutual TLS out
    Outbound(Relay),
    /// Mutual TLS in, plaintext out
    Inbound(Relay),
    /// Plaintext in, plaintext out
    Plain(Relay),
}

#[derive(Args)]
struct Relay {
    #[arg(long)]
    listen: SocketAddr,
    /// Where every request goes
    #[arg(long)]
    to: SocketAddr,
    /// What is spoken by whoever connects
    #[arg(long, value_enum, default_value_t = Protocol::H1)]
    accept: Protocol,
    /// What is spoken to `--to`
    #[arg(long, value_enum, default_value_t = Protocol::H1)]
    speak: Protocol,
    #[arg(long, default_value = "cert.pem")]
    cert: PathBuf,
    #[arg(long, default_value = "key.pem")]
    key: PathBuf,
    #[arg(long, default_value = "ca.pem")]
    ca: PathBuf,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Protocol {
    H1,
    H2,
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let (relay, accepts_tls, speaks_tls) = match Cli::parse() {
        Cli::Outbound(relay) => (relay, false, true),
        Cli::Inbound(relay) => (relay, true, false),
        Cli::Plain(relay) => (relay, false, false),
    };
    let acceptor = accepts_tls.then(|| TlsAcceptor::from(Arc::new(server_config(&relay))));
    let connector = speaks_tls.then(|| TlsConnector::from(Arc::new(client_config(&relay))));
    let upstream = Arc::new(Upstream { to: relay.to, speak: relay.speak, connector, idle: Mutex::default() });
    let listener = TcpListener::bind(relay.listen).await.unwrap();
    println!("weft-bench-bare ready listen={}", listener.local_addr().unwrap());
    loop {
        // A caller may be gone before it is accepted, and there may be too many of them for a moment.
        let Ok((stream, _)) = listener.accept().await else { continue };
        stream.set_nodelay(true).unwrap();
        let (acceptor, upstream) = (acceptor.clone(), upstream.clone());
        tokio::spawn(async move {
            match acceptor {
                None => serve(stream, relay.accept, upstream).await,
                Some(acceptor) => {
                    if let Ok(stream) = acceptor.accept(stream).await {
                        serve(stream, relay.accept, upstream).await;
                    }
                }
            }
        });
    }
}

async fn serve(io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, accept: Protocol, upstream: Arc<Upstream>) {
    let service = service_fn(move |request| upstream.clone().forward(request));
    let io = TokioIo::new(io);
    // How a connection ends is its owner's matter.
    let _ = match accept {
        Protocol::H1 => hyper::server::conn::http1::Builder::new().serve_connection(io, service).await,
        Protocol::H2 => {
            let mut http2 = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            http2.max_concurrent_streams(STREAMS);
            http2.initial_stream_window_size(STREAM_WINDOW).initial_connection_window_size(CONNECTION_WINDOW);
            http2.serve_connection(io, service).await
        }
    };
}

/// The other side: its idle connections, last used first; of HTTP/2 the one connection that all share.
struct Upstream {
    to: SocketAddr,
    speak: Protocol,
    connector: Option<TlsConnector>,
    idle: Mutex<Vec<Connection>>,
}

enum Connection {
    H1(http1::SendRequest<Incoming>),
    H2(http2::SendRequest<Incoming>),
}

impl Upstream {
    async fn forward(self: Arc<Self>, mut request: Request<Incoming>) -> hyper::Result<Response<Relayed>> {
        // The one header that is not left alone: passed on, it would end the connection of the other side.
        request.headers_mut().remove(CONNECTION);
        match self.speak {
            Protocol::H1 => to_origin_form(&mut request),
            Protocol::H2 => to_absolute_form(&mut request),
        }
        match self.connection().await {
            Connection::H2(mut connection) => Ok(connection.send_request(request).await?.map(Relayed::shared)),
            Connection::H1(mut connection) => {
                let response = connection.send_request(request).await?;
                Ok(response.map(|body| Relayed { body, ended: false, owner: Some((self, connection)) }))
            }
        }
    }

    async fn connection(&self) -> Connection {
        loop {
            let last = self.take();
            match last {
                None => return self.connect().await.expect("the other side does not answer"),
                Some(Connection::H1(mut idle)) => {
                    if idle.ready().await.is_ok() {
                        return Connection::H1(idle);
                    }
                }
                Some(Connection::H2(shared)) if !shared.is_closed() => return Connection::H2(shared),
                Some(Connection::H2(_)) => self.idle.lock().unwrap().clear(),
            }
        }
    }

    fn take(&self) -> Option<Connection> {
        let mut idle = self.idle.lock().unwrap();
        match idle.last() {
            Some(Connection::H2(shared)) => Some(Connection::H2(shared.clone())),
            _ => idle.pop(),
        }
    }

    async fn connect(&self) -> io::Result<Connection> {
        let stream = TcpStream::connect(self.to).await?;
        stream.set_nodelay(true)?;
        let connection = match &self.connector {
            None => self.handshake(stream).await,
            Some(tls) => self.handshake(tls.connect(ServerName::try_from(NAME).unwrap(), stream).await?).await,
        };
        let connection = connection.map_err(io::Error::other)?;
        if let Connection::H2(shared) = &connection {
            self.idle.lock().unwrap().push(Connection::H2(shared.clone()));
        }
        Ok(connection)
    }

    async fn handshake(&self, io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> hyper::Result<Connection> {
        let io = TokioIo::new(io);
        if self.speak == Protocol::H1 {
            let (sender, connection) = http1::handshake(io).await?;
            tokio::spawn(connection);
            return Ok(Connection::H1(sender));
        }
        let mut http2 = http2::Builder::new(TokioExecutor::new());
        http2.initial_stream_window_size(STREAM_WINDOW).initial_connection_window_size(CONNECTION_WINDOW);
        let (sender, connection) = http2.handshake(io).await?;
        tokio::spawn(connection);
        Ok(Connection::H2(sender))
    }
}

/// HTTP/1.1 says in `Host` what HTTP/2 says in the URI.
fn to_origin_form(request: &mut Request<Incoming>) {
    if let Some(authority) = request.uri().authority() {
        let host = HeaderValue::from_str(authority.as_str()).unwrap();
        request.headers_mut().insert(HOST, host);
        let path = request.uri().path_and_query().cloned().expect("requests have a path");
        *request.uri_mut() = Uri::from(path);
    }
}

/// And the other way round.
fn to_absolute_form(request: &mut Request<Incoming>) {
    if request.uri().authority().is_some() {
        return;
    }
    let host = request.headers_mut().remove(HOST).expect("HTTP/1.1 requests have a Host");
    let path = request.uri().path_and_query().cloned().expect("requests have a path");
    let uri = Uri::builder().scheme("http").authority(host.as_bytes()).path_and_query(path).build().unwrap();
    *request.uri_mut() = uri;
}

/// A body on its way back. Its end returns the connection that it came on.
struct Relayed {
    body: Incoming,
    ended: bool,
    owner: Option<(Arc<Upstream>, http1::SendRequest<Incoming>)>,
}

impl Relayed {
    fn shared(body: Incoming) -> Self {
        Self { body, ended: false, owner: None }
    }
}

impl Body for Relayed {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        self.ended |= matches!(frame, Poll::Ready(None));
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Relayed {
    fn drop(&mut self) {
        if let Some((upstream, connection)) = self.owner.take()
            && (self.ended || self.body.is_end_stream())
        {
            upstream.idle.lock().unwrap().push(Connection::H1(connection));
        }
    }
}

fn server_config(relay: &Relay) -> ServerConfig {
    let clients = WebPkiClientVerifier::builder_with_provider(roots(relay), provider()).build().unwrap();
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .with_client_cert_verifier(clients)
        .with_single_cert(certificates(&relay.cert), key(relay))
        .unwrap();
    config.alpn_protocols = alpn(relay.accept);
    // As in weft: a session that is resumed skips the certificates.
    config.send_tls13_tickets = 0;
    config
}

fn client_config(relay: &Relay) -> ClientConfig {
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .with_root_certificates(roots(relay))
        .with_client_auth_cert(certificates(&relay.cert), key(relay))
        .unwrap();
    config.alpn_protocols = alpn(relay.speak);
    config.resumption = Resumption::disabled();
    config
}

fn provider() -> Arc<CryptoProvider> {
    let mut provider = aws_lc_rs::default_provider();
    provider.cipher_suites = vec![aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256];
    Arc::new(provider)
}

fn alpn(protocol: Protocol) -> Vec<Vec<u8>> {
    match protocol {
        Protocol::H1 => vec![b"http/1.1".to_vec()],
        Protocol::H2 => vec![b"h2".to_vec()],
    }
}

fn roots(relay: &Relay) -> Arc<RootCertStore> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(certificates(&relay.ca));
    Arc::new(roots)
}

fn certificates(file: &PathBuf) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_file_iter(file).expect("a PEM file").map(Result::unwrap).collect()
}

fn key(relay: &Relay) -> PrivateKeyDer<'static> {
    PrivateKeyDer::from_pem_file(&relay.key).expect("a key in PEM")
}
