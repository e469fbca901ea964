//! An SVID: a certificate chain that proves a SPIFFE ID, with the private key that goes with it.
//!
//! Decides that what this process holds as its identity is complete: the leaf meets the standard, the chain is made of
//! signing certificates, and the key is the leaf's. Whether others trust it is their bundle's matter.
//! Made by [`crate::csr::KeyRequest::complete`] or read back from a state folder; held by [`crate::identity::Identity`].

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;
use zeroize::Zeroizing;

use crate::id::SpiffeId;
use crate::x509::{Leaf, NotAnSvid, Signer};
use crate::{crypto, pem};

/// Why a chain and a key are not an SVID that this process can use.
#[derive(Debug, thiserror::Error)]
pub enum SvidError {
    #[error("the certificate chain is empty")]
    EmptyChain,
    #[error("the leaf certificate is not an X.509 SVID: {0}")]
    Leaf(#[source] NotAnSvid),
    #[error("certificate {position} of the chain cannot have signed an SVID: {reason}")]
    Chain {
        /// Counted from the leaf, which is 0.
        position: usize,
        #[source]
        reason: NotAnSvid,
    },
    #[error("the certificate was issued for another key than this process's own")]
    NotOurKey,
    #[error("the private key cannot be used: {0}")]
    Key(String),
    #[error("the text holds no readable {what} in PEM: {reason}")]
    Pem { what: &'static str, reason: String },
}

/// A proof of identity: chain (leaf first) and private key. Cheap to clone.
#[derive(Clone)]
pub struct Svid {
    leaf: Leaf,
    /// Built once: loading the key is the costly part of what a handshake would otherwise repeat.
    certified: Arc<CertifiedKey>,
    pkcs8: Arc<Zeroizing<Vec<u8>>>,
}

impl Svid {
    /// Checks the chain (leaf first, without the root) and the PKCS #8 key against the X509-SVID standard and against
    /// each other. Expiry is not checked here: see [`Svid::is_valid_at`].
    pub fn parse(chain: Vec<CertificateDer<'static>>, pkcs8: Zeroizing<Vec<u8>>) -> Result<Self, SvidError> {
        let (leaf, signers) = chain.split_first().ok_or(SvidError::EmptyChain)?;
        let leaf = Leaf::parse(leaf).map_err(SvidError::Leaf)?;
        for (signer, position) in signers.iter().zip(1..) {
            Signer::parse(signer).map_err(|reason| SvidError::Chain { position, reason })?;
        }
        let certified = certify(chain, &pkcs8)?;
        Ok(Self { leaf, certified: Arc::new(certified), pkcs8: Arc::new(pkcs8) })
    }

    pub fn id(&self) -> &SpiffeId {
        &self.leaf.id
    }

    pub fn not_before(&self) -> SystemTime {
        self.leaf.not_before
    }

    pub fn not_after(&self) -> SystemTime {
        self.leaf.not_after
    }

    /// Leaf first, then the certificates that lead to a trust anchor; the anchor itself is not part of it.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.certified.cert
    }

    pub fn is_valid_at(&self, now: SystemTime) -> bool {
        self.not_before() <= now && now <= self.not_after()
    }

    /// Key and chain in one text, for a file that only its owner can read
    /// (see [`crate::file::write_private`]).
    pub fn to_pem(&self) -> Zeroizing<String> {
        let chain = pem::encode_certificates(self.chain());
        let key = pem::encode_private_key(&self.pkcs8);
        let mut text = Zeroizing::new(String::with_capacity(key.len() + chain.len()));
        text.push_str(&key);
        text.push_str(&chain);
        text
    }

    /// Reads what [`Svid::to_pem`] wrote.
    pub fn from_pem(text: &str) -> Result<Self, SvidError> {
        let unreadable =
            |what| move |error: rustls::pki_types::pem::Error| SvidError::Pem { what, reason: error.to_string() };
        let key = pem::private_key(text).map_err(unreadable("private key"))?;
        let chain = pem::certificates(text).map_err(unreadable("certificate"))?;
        Self::parse(chain, key)
    }

    /// What rustls presents in a handshake.
    pub(crate) fn certified_key(&self) -> &Arc<CertifiedKey> {
        &self.certified
    }
}

impl fmt::Debug for Svid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Svid")
            .field("id", &self.leaf.id)
            .field("not_before", &self.leaf.not_before)
            .field("not_after", &self.leaf.not_after)
            .field("key", &"redacted")
            .finish_non_exhaustive()
    }
}

fn certify(chain: Vec<CertificateDer<'static>>, pkcs8: &[u8]) -> Result<CertifiedKey, SvidError> {
    let key = PrivatePkcs8KeyDer::from(pkcs8).clone_key();
    CertifiedKey::from_der(chain, key.into(), crypto::provider()).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => SvidError::NotOurKey,
        other => SvidError::Key(other.to_string()),
    })
}

#[cfg(test)]
mod tests;
