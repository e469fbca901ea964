//! The trust bundle: the root certificates that a trust domain's SVIDs are checked against.
//!
//! Decides which anchors are acceptable: signing certificates of the one trust domain. A rotation of the root is a
//! bundle with both roots for a while ([`TrustBundle::union`]). Called by [`crate::ca`], by [`crate::identity`], which
//! holds the current one, and by [`crate::verify`] on each handshake.

use std::fmt;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;

use crate::id::TrustDomain;
use crate::x509::{NotAnSvid, Signer};
use crate::{crypto, pem};

/// Why certificates are not a trust bundle.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    #[error("the trust bundle holds no certificate: expected one or more CERTIFICATE blocks in PEM")]
    Empty,
    #[error("the trust bundle is not readable as PEM: {0}")]
    Pem(String),
    #[error("certificate {position} of the trust bundle is not a trust anchor: {reason}")]
    NotAnAnchor {
        /// Counted from 1, as a person counts the blocks of the file.
        position: usize,
        #[source]
        reason: NotAnSvid,
    },
    #[error("certificate {position} of the trust bundle is of {found}, expected {expected}")]
    ForeignAnchor { position: usize, expected: TrustDomain, found: TrustDomain },
    #[error(
        "the first certificate of the trust bundle names no trust domain in a URI SAN, so the trust domain must be given"
    )]
    Unnamed,
    #[error("the trust anchors cannot be used: {0}")]
    Unusable(String),
}

/// The trust anchors of one trust domain. Cheap to clone.
#[derive(Clone)]
pub struct TrustBundle {
    trust_domain: TrustDomain,
    anchors: Arc<[CertificateDer<'static>]>,
    /// Both are made once per bundle, so that a handshake only verifies.
    roots: Arc<RootCertStore>,
    clients: Arc<dyn ClientCertVerifier>,
}

impl TrustBundle {
    /// Checks that each anchor may sign and, where it names a trust domain, that it is this one.
    pub fn new(trust_domain: TrustDomain, anchors: Vec<CertificateDer<'static>>) -> Result<Self, BundleError> {
        if anchors.is_empty() {
            return Err(BundleError::Empty);
        }
        let mut roots = RootCertStore::empty();
        for (anchor, position) in anchors.iter().zip(1..) {
            check_anchor(&trust_domain, anchor, position)?;
            roots.add(anchor.clone()).map_err(unusable)?;
        }
        let roots = Arc::new(roots);
        let clients = WebPkiClientVerifier::builder_with_provider(roots.clone(), crypto::provider().clone())
            .build()
            .map_err(unusable)?;
        Ok(Self { trust_domain, anchors: anchors.into(), roots, clients })
    }

    /// Reads anchors in PEM and takes the trust domain from the first one's URI SAN.
    pub fn from_pem(text: &str) -> Result<Self, BundleError> {
        let anchors = read(text)?;
        let first = anchors.first().ok_or(BundleError::Empty)?;
        let signer = Signer::parse(first).map_err(|reason| BundleError::NotAnAnchor { position: 1, reason })?;
        let id = signer.id.ok_or(BundleError::Unnamed)?;
        Self::new(id.trust_domain().clone(), anchors)
    }

    /// Reads anchors in PEM that must be of this trust domain.
    pub fn from_pem_for(trust_domain: &TrustDomain, text: &str) -> Result<Self, BundleError> {
        Self::new(trust_domain.clone(), read(text)?)
    }

    pub fn to_pem(&self) -> String {
        pem::encode_certificates(&self.anchors)
    }

    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    pub fn anchors(&self) -> &[CertificateDer<'static>] {
        &self.anchors
    }

    /// The anchors of both bundles, each once: what is distributed while a root is being replaced.
    pub fn union(&self, other: &Self) -> Result<Self, BundleError> {
        let mut anchors = self.anchors.to_vec();
        for anchor in other.anchors.iter() {
            if !anchors.contains(anchor) {
                anchors.push(anchor.clone());
            }
        }
        Self::new(self.trust_domain.clone(), anchors)
    }

    pub(crate) fn roots(&self) -> &RootCertStore {
        &self.roots
    }

    pub(crate) fn client_verifier(&self) -> &dyn ClientCertVerifier {
        &*self.clients
    }
}

/// Two bundles are the same if they hold the same anchors of the same trust domain in the same order.
impl PartialEq for TrustBundle {
    fn eq(&self, other: &Self) -> bool {
        self.trust_domain == other.trust_domain && self.anchors == other.anchors
    }
}

impl Eq for TrustBundle {}

impl fmt::Debug for TrustBundle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TrustBundle")
            .field("trust_domain", &self.trust_domain)
            .field("anchors", &self.anchors.len())
            .finish_non_exhaustive()
    }
}

fn read(text: &str) -> Result<Vec<CertificateDer<'static>>, BundleError> {
    pem::certificates(text).map_err(|error| BundleError::Pem(error.to_string()))
}

fn check_anchor(expected: &TrustDomain, anchor: &CertificateDer<'_>, position: usize) -> Result<(), BundleError> {
    let signer = Signer::parse(anchor).map_err(|reason| BundleError::NotAnAnchor { position, reason })?;
    match signer.id.map(|id| id.trust_domain().clone()) {
        Some(found) if found != *expected => {
            Err(BundleError::ForeignAnchor { position, expected: expected.clone(), found })
        }
        _ => Ok(()),
    }
}

fn unusable(error: impl fmt::Display) -> BundleError {
    BundleError::Unusable(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{HOUR, ca, id, now};

    #[test]
    fn survives_pem() {
        let bundle = ca("example.org").trust_bundle();
        assert_eq!(TrustBundle::from_pem(&bundle.to_pem()).unwrap(), bundle);
        assert_eq!(TrustBundle::from_pem_for(bundle.trust_domain(), &bundle.to_pem()).unwrap(), bundle);
    }

    #[test]
    fn a_union_holds_each_anchor_once() {
        let (old, new) = (ca("example.org").trust_bundle(), ca("example.org").trust_bundle());
        let both = old.union(&new).unwrap();
        assert_eq!(both.anchors().len(), 2);
        assert_eq!(both.union(&new).unwrap(), both);
        assert_eq!(TrustBundle::from_pem(&both.to_pem()).unwrap(), both);
    }

    #[test]
    fn anchors_of_two_trust_domains_are_refused() {
        let (one, two) = (ca("one.example").trust_bundle(), ca("two.example").trust_bundle());
        let error = one.union(&two).unwrap_err();
        assert_eq!(error.to_string(), "certificate 2 of the trust bundle is of two.example, expected one.example");
        assert!(matches!(
            TrustBundle::from_pem_for(two.trust_domain(), &one.to_pem()),
            Err(BundleError::ForeignAnchor { position: 1, .. })
        ));
    }

    #[test]
    fn a_leaf_is_no_anchor() {
        let ca = ca("example.org");
        let svid = ca.issue(&id("example.org", "shop", "orders"), HOUR, now()).unwrap();
        let text = pem::encode_certificates(svid.chain());
        assert!(matches!(
            TrustBundle::from_pem(&text),
            Err(BundleError::NotAnAnchor { position: 1, reason: NotAnSvid::SignerHasPath(_) })
        ));
    }

    #[test]
    fn no_certificate_is_refused() {
        assert!(matches!(TrustBundle::from_pem(""), Err(BundleError::Empty)));
        assert!(matches!(TrustBundle::from_pem("hello"), Err(BundleError::Empty)));
        let broken = "-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n";
        assert!(matches!(TrustBundle::from_pem(broken), Err(BundleError::Pem(_))));
    }
}
