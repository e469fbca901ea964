//! Which cryptography a handshake may use: one provider for the whole mesh.
//!
//! Called by [`crate::tls`] for every configuration, and by [`crate::svid`] to load a key.

use std::sync::{Arc, LazyLock};

use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{cipher_suite, default_provider, kx_group};

static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| {
    Arc::new(CryptoProvider {
        // AES-128 first: no attack on it is nearer than one on the rest of the handshake, and it is the fastest.
        cipher_suites: vec![
            cipher_suite::TLS13_AES_128_GCM_SHA256,
            cipher_suite::TLS13_AES_256_GCM_SHA384,
            cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
        ],
        // The hybrid first: traffic recorded today stays secret from a quantum computer of tomorrow. The other two
        // are for peers that do not know it.
        kx_groups: vec![kx_group::X25519MLKEM768, kx_group::X25519, kx_group::SECP256R1],
        ..default_provider()
    })
});

/// aws-lc-rs with weft's order of cipher suites and key exchange groups, TLS 1.3 only.
pub fn provider() -> &'static Arc<CryptoProvider> {
    &PROVIDER
}
