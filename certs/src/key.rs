//! A private key of this process: made here, wiped when dropped, never printed.
//!
//! Called by [`crate::ca`] (the keys of the CA) and [`crate::csr`] (the key of an SVID).

use std::fmt;

use rcgen::{KeyPair, PublicKeyData, SignatureAlgorithm, SigningKey};
use rustls::pki_types::PrivatePkcs8KeyDer;
use zeroize::Zeroizing;

/// An ECDSA P-256 key: what every TLS stack of the field verifies fastest, and the SPIFFE implementations' default.
pub struct PrivateKey(Zeroizing<KeyPair>);

impl PrivateKey {
    pub fn generate() -> Result<Self, rcgen::Error> {
        KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).map(Self::new)
    }

    pub fn from_pkcs8(pkcs8: &[u8]) -> Result<Self, rcgen::Error> {
        KeyPair::from_pkcs8_der_and_sign_algo(&PrivatePkcs8KeyDer::from(pkcs8), &rcgen::PKCS_ECDSA_P256_SHA256)
            .map(Self::new)
    }

    pub fn pkcs8(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(self.0.serialized_der().to_vec())
    }

    pub fn to_pem(&self) -> Zeroizing<String> {
        crate::pem::encode_private_key(self.0.serialized_der())
    }

    fn new(pair: KeyPair) -> Self {
        Self(Zeroizing::new(pair))
    }
}

impl PublicKeyData for PrivateKey {
    fn der_bytes(&self) -> &[u8] {
        self.0.der_bytes()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        self.0.algorithm()
    }
}

impl SigningKey for PrivateKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        self.0.sign(message)
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey(redacted)")
    }
}
