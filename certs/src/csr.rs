//! The request for an SVID: a fresh key that never leaves this process, and the CSR that proves its possession.
//!
//! Leaves to the CA whose name the certificate gets: the CSR asks for none. Called on each renewal by whoever talks to
//! the identity service, and by [`crate::ca::Ca::issue`].

use rcgen::{CertificateParams, DistinguishedName};
use rustls::pki_types::CertificateDer;

use crate::key::PrivateKey;
use crate::svid::{Svid, SvidError};

/// A key could not be made, or the CSR not be signed with it.
#[derive(Debug, thiserror::Error)]
#[error("cannot make a key and its certificate signing request: {0}")]
pub struct CsrError(#[from] rcgen::Error);

/// A key pair that waits for its certificate.
#[derive(Debug)]
pub struct KeyRequest {
    key: PrivateKey,
    csr: Vec<u8>,
}

impl KeyRequest {
    /// Makes a fresh ECDSA P-256 key. A renewal uses a new key, so that a leaked one is worth nothing after its SVID.
    pub fn generate() -> Result<Self, CsrError> {
        let key = PrivateKey::generate()?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        let csr = params.serialize_request(&key)?.der().to_vec();
        Ok(Self { key, csr })
    }

    /// The PKCS #10 request (RFC 2986), to be sent to the identity service.
    pub fn csr_der(&self) -> &[u8] {
        &self.csr
    }

    /// Joins the issued chain (leaf first) with the key; fails if the leaf was issued for another key.
    pub fn complete(self, chain: Vec<CertificateDer<'static>>) -> Result<Svid, SvidError> {
        Svid::parse(chain, self.key.pkcs8())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{HOUR, ca, id, now};

    #[test]
    fn each_request_has_its_own_key() {
        let (one, two) = (KeyRequest::generate().unwrap(), KeyRequest::generate().unwrap());
        assert_ne!(one.key.pkcs8(), two.key.pkcs8());
        assert!(!format!("{one:?}").contains(&hex::encode(&*one.key.pkcs8())));
        assert!(format!("{one:?}").contains("redacted"));
    }

    #[test]
    fn a_chain_for_another_key_is_refused() {
        let ca = ca("example.org");
        let id = id("example.org", "shop", "orders");
        let other = KeyRequest::generate().unwrap();
        let chain = ca.sign(other.csr_der(), &id, HOUR, now()).unwrap();

        let ours = KeyRequest::generate().unwrap();
        assert!(matches!(ours.complete(chain.clone()), Err(SvidError::NotOurKey)));
        assert_eq!(other.complete(chain).unwrap().id(), &id);
    }

    #[test]
    fn an_empty_chain_is_refused() {
        let request = KeyRequest::generate().unwrap();
        assert!(matches!(request.complete(Vec::new()), Err(SvidError::EmptyChain)));
    }
}
