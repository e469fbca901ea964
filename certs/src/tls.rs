//! The TLS configurations of the mesh: TLS 1.3 only, SPIFFE identities on both sides, no resumption.
//!
//! Decides how a connection starts; whom it accepts is [`crate::verify`]'s. Each configuration is made once and lives
//! as long as the process: the SVID and the trust bundle are read from the [`Identity`] on every handshake.
//! Called by the proxy's acceptor and connector, by the control plane's servers, and by the CLI.

use std::net::Ipv4Addr;
use std::sync::Arc;

use rustls::client::{ResolvesClientCert, Resumption};
use rustls::pki_types::ServerName;
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::version::TLS13;
use rustls::{ClientConfig, ConfigBuilder, ServerConfig, SignatureScheme, WantsVerifier};

use crate::bundle::TrustBundle;
use crate::crypto::provider;
use crate::id::SpiffeId;
use crate::identity::Identity;
use crate::verify::{ClientVerifier, ServerVerifier, Trust};

/// A server that admits only clients with an SVID of its trust domain.
///
/// In TLS 1.3 a refused client learns so only after its own side of the handshake is finished: its first read fails.
pub fn server_config(identity: &Arc<Identity>, alpn: &[&[u8]]) -> Arc<ServerConfig> {
    server(identity, alpn, true)
}

/// A server that also admits clients without a certificate, such as the identity service, where a join token may stand
/// in for one. A certificate that is shown must still be valid.
pub fn server_config_optional_client(identity: &Arc<Identity>, alpn: &[&[u8]]) -> Arc<ServerConfig> {
    server(identity, alpn, false)
}

/// A client that shows its SVID and accepts any server of its trust domain: the caller must then check with
/// [`crate::expect_peer`] that it is the right one.
pub fn client_config(identity: &Arc<Identity>, alpn: &[&[u8]]) -> Arc<ClientConfig> {
    let verifier = ServerVerifier { trust: Trust::Live(identity.clone()), expected: None };
    let config = client_builder(verifier).with_client_cert_resolver(CurrentSvid::of(identity));
    finish_client(config, alpn)
}

/// A client without an identity of its own, for a sidecar's first contact and for the CLI. Only the server `expected`
/// is accepted, and the handshake itself fails for any other: nothing secret is sent to it.
pub fn bootstrap_client_config(bundle: TrustBundle, expected: SpiffeId, alpn: &[&[u8]]) -> Arc<ClientConfig> {
    let verifier = ServerVerifier { trust: Trust::Given(Arc::new(bundle)), expected: Some(expected) };
    finish_client(client_builder(verifier).with_no_client_auth(), alpn)
}

/// A server name for connectors that demand one. As an IP address it sends no SNI, which weft's servers do not need
/// and which would show an observer whom the connection is for.
pub fn no_sni() -> ServerName<'static> {
    ServerName::IpAddress(Ipv4Addr::UNSPECIFIED.into())
}

fn server(identity: &Arc<Identity>, alpn: &[&[u8]], mandatory: bool) -> Arc<ServerConfig> {
    let verifier = ClientVerifier { trust: Trust::Live(identity.clone()), mandatory };
    let builder = tls13(ServerConfig::builder_with_provider(provider().clone()));
    let mut config =
        builder.with_client_cert_verifier(Arc::new(verifier)).with_cert_resolver(CurrentSvid::of(identity));
    config.alpn_protocols = protocols(alpn);
    // No resumption: a resumed session skips the certificates, and with them the check of the peer's expiry and of the
    // trust bundle of this moment. Short-lived SVIDs would mean little if a session could outlive them.
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Arc::new(config)
}

fn client_builder(verifier: ServerVerifier) -> ConfigBuilder<ClientConfig, rustls::client::WantsClientCert> {
    tls13(ClientConfig::builder_with_provider(provider().clone()))
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
}

fn finish_client(mut config: ClientConfig, alpn: &[&[u8]]) -> Arc<ClientConfig> {
    config.alpn_protocols = protocols(alpn);
    // For the same reason as on the server: see there.
    config.resumption = Resumption::disabled();
    Arc::new(config)
}

#[expect(
    clippy::expect_used,
    reason = "fails only if the provider, a constant of this crate, lacks TLS 1.3; every test would show it"
)]
fn tls13<S: rustls::ConfigSide>(builder: ConfigBuilder<S, rustls::WantsVersions>) -> ConfigBuilder<S, WantsVerifier> {
    builder.with_protocol_versions(&[&TLS13]).expect("the provider has cipher suites and groups for TLS 1.3")
}

fn protocols(alpn: &[&[u8]]) -> Vec<Vec<u8>> {
    alpn.iter().map(|protocol| protocol.to_vec()).collect()
}

/// Presents the SVID of the moment, on either side.
#[derive(Debug)]
struct CurrentSvid(Arc<Identity>);

impl CurrentSvid {
    fn of(identity: &Arc<Identity>) -> Arc<Self> {
        Arc::new(Self(identity.clone()))
    }
}

impl ResolvesServerCert for CurrentSvid {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.svid().certified_key().clone())
    }
}

impl ResolvesClientCert for CurrentSvid {
    fn resolve(&self, _hints: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.0.svid().certified_key().clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests;
