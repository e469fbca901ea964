//! The gRPC channel to the control plane: over TLS that checks the control plane's SPIFFE ID, not its host name.

use std::{io, sync::Arc, time::Duration};

use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};
use tonic::transport::{Channel, Endpoint};
use weft_certs::{Identity, SpiffeId, TrustBundle, expect_peer, handshake_refusal, tls::no_sni};

const ALPN: &[&[u8]] = &[b"h2"];
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// A channel for first contact, when this process has no SVID yet. Connects on first use.
pub fn bootstrap(address: &str, bundle: TrustBundle) -> Channel {
    let expected = SpiffeId::control_plane(bundle.trust_domain());
    let tls = weft_certs::tls::bootstrap_client_config(bundle, expected.clone(), ALPN).into();
    open(address, tls, expected)
}

/// A channel that shows this process's SVID. Connects on first use, and again when the connection is lost.
pub fn authenticated(address: &str, identity: &Arc<Identity>) -> Channel {
    let expected = SpiffeId::control_plane(identity.bundle().trust_domain());
    open(address, weft_certs::tls::client_config(identity, ALPN).into(), expected)
}

fn open(address: &str, tls: TlsConnector, expected: SpiffeId) -> Channel {
    let address: Arc<str> = address.into();
    let connector = tower::service_fn(move |_| connect(address.clone(), tls.clone(), expected.clone()));
    // The name is never resolved: the connector knows where to go.
    Endpoint::from_static("http://control-plane")
        .connect_timeout(CONNECT_LIMIT)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(CONNECT_LIMIT)
        .keep_alive_while_idle(true)
        .connect_with_connector_lazy(connector)
}

async fn connect(
    address: Arc<str>,
    tls: TlsConnector,
    expected: SpiffeId,
) -> io::Result<TokioIo<TlsStream<TcpStream>>> {
    let refused = |reason: String| io::Error::other(format!("the control plane at {address}: {reason}"));
    let tcp = TcpStream::connect(&*address)
        .await
        .map_err(|e| io::Error::new(e.kind(), format!("the control plane at {address}: {e}")))?;
    let _ = tcp.set_nodelay(true);
    let stream = tls.connect(no_sni(), tcp).await.map_err(|e| refused(handshake_refusal(&e).to_string()))?;
    expect_peer(stream.get_ref().1, &expected).map_err(|e| refused(e.to_string()))?;
    Ok(TokioIo::new(stream))
}

/// The cause of a failed call, down to the one that a person can act on.
pub fn reason(status: &tonic::Status) -> String {
    let mut cause: &dyn std::error::Error = status;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    if std::ptr::addr_eq(cause, status) { status.message().to_owned() } else { cause.to_string() }
}
