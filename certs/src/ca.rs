//! The mesh's own certificate authority: a root, an issuing CA below it, and what the issuing CA signs.
//!
//! Decides what a signed SVID looks like and how long it lives. *Who* gets which name is decided before, by the identity
//! service: [`Ca::sign`] takes the name from its caller and only the public key from the request.
//! Called by the control plane.

mod folder;
mod material;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use rcgen::{Issuer, PublicKeyData, SubjectPublicKeyInfo};
use rustls::pki_types::CertificateDer;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer;

use crate::bundle::{BundleError, TrustBundle};
use crate::csr::{CsrError, KeyRequest};
use crate::id::{SpiffeId, TrustDomain};
use crate::key::PrivateKey;
use crate::svid::{Svid, SvidError};
use material::{Material, Profile};

/// Why a request was refused: the fault is the requester's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CsrRefused {
    #[error("the certificate signing request is not readable: {0}")]
    Malformed(String),
    #[error("the certificate signing request is not signed with its own key, so possession of that key is not proved")]
    NotPossessed,
    #[error(
        "the key of the certificate signing request is of an unsupported kind: use ECDSA P-256, ECDSA P-384 or Ed25519"
    )]
    UnsupportedKey,
}

/// Why the CA cannot be opened, or cannot sign.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    #[error(transparent)]
    Csr(#[from] CsrRefused),
    #[error("{id} is not a workload's identity in {trust_domain}, the trust domain of this CA")]
    ForeignId { id: SpiffeId, trust_domain: TrustDomain },
    #[error("the issuing CA's certificate has expired; the log says why it could not be renewed from the root")]
    Expired,
    #[error("the CA cannot sign: {0}")]
    Sign(#[from] rcgen::Error),
    #[error("the CA cannot make a key: {0}")]
    Key(#[from] CsrError),
    #[error("the system gives no random numbers: {0}")]
    Random(#[from] getrandom::Error),
    #[error("the CA made an SVID that it would not accept itself: {0}")]
    Svid(#[from] SvidError),
    #[error("the CA's root cannot be a trust anchor: {0}")]
    Bundle(#[from] BundleError),
    #[error("cannot {action} {path}: {source}", path = path.display())]
    Io { action: &'static str, path: PathBuf, source: std::io::Error },
    #[error(
        "the CA folder {} lacks {}: restore them from a backup. A new CA would be a new mesh, whose trust anchor every \
         workload then needs",
        dir.display(), missing.join(", ")
    )]
    Incomplete { dir: PathBuf, missing: Vec<&'static str> },
    #[error(
        "the CA folder {} belongs to the trust domain {found}, expected {expected}: \
         set the trust domain to {found}, or use another folder", dir.display()
    )]
    ForeignFolder { dir: PathBuf, expected: TrustDomain, found: String },
    #[error("{} can be read by others than its owner: run chmod 600 on it", path.display())]
    Exposed { path: PathBuf },
    #[error("the CA is damaged: {what} {reason}")]
    Damaged { what: String, reason: String },
}

/// A certificate authority that can sign SVIDs of one trust domain.
pub struct Ca {
    trust_domain: TrustDomain,
    bundle: TrustBundle,
    /// `None`: it exists in memory only, and its issuing CA is never renewed.
    dir: Option<PathBuf>,
    /// Replaced as a whole by a renewal; whoever signs meanwhile goes on with the one before.
    issuing: RwLock<Arc<Issuing>>,
}

struct Issuing {
    certificate: CertificateDer<'static>,
    not_after: SystemTime,
    issuer: Issuer<'static, PrivateKey>,
}

impl Ca {
    /// Makes a new CA that exists in memory only: a root for ten years and an issuing CA for one.
    pub fn create(trust_domain: TrustDomain, now: SystemTime) -> Result<Self, CaError> {
        let material = Material::generate(&trust_domain, now)?;
        Self::new(trust_domain, material, None)
    }

    /// Opens the CA in `dir`, or makes one there if the folder is missing or empty.
    ///
    /// The folder has mode 0700 and holds `root.pem`, `root.key`, `issuing.pem` and `issuing.key`, each of mode 0600. It
    /// appears as a whole: it is filled under another name beside `dir` and then renamed, so `dir` itself cannot be a
    /// mount point. A folder that is damaged, incomplete or of another trust domain is refused and left as it is.
    ///
    /// An issuing CA past two thirds of its life gets a new certificate from the root, with the same key.
    pub fn open_or_create(dir: &Path, trust_domain: TrustDomain, now: SystemTime) -> Result<Self, CaError> {
        let material = folder::open_or_create(dir, &trust_domain, now)?;
        Self::new(trust_domain, material, Some(dir))
    }

    /// Opens the CA in `dir` like [`Ca::open_or_create`], but never makes one: for a mesh that has a root already.
    pub fn open(dir: &Path, trust_domain: TrustDomain, now: SystemTime) -> Result<Self, CaError> {
        let material = folder::open(dir, &trust_domain, now)?;
        Self::new(trust_domain, material, Some(dir))
    }

    fn new(trust_domain: TrustDomain, material: Material, dir: Option<&Path>) -> Result<Self, CaError> {
        Ok(Self {
            bundle: TrustBundle::new(trust_domain.clone(), vec![material.root.clone()])?,
            trust_domain,
            dir: dir.map(Path::to_owned),
            issuing: RwLock::new(Arc::new(Issuing::new(material)?)),
        })
    }

    /// Gives the issuing CA a new certificate from the root, with the same key, once it is past two thirds of its life.
    /// Returns whether it did. To be called now and then, for as long as the CA is used; it reads the folder.
    pub fn renew(&self, now: SystemTime) -> Result<bool, CaError> {
        let Some(dir) = &self.dir else { return Ok(false) };
        let material = folder::open(dir, &self.trust_domain, now)?;
        if self.bundle.anchors() != [material.root.clone()] {
            let reason = "is not the root that this CA was opened with".to_owned();
            return Err(CaError::Damaged { what: dir.join("root.pem").display().to_string(), reason });
        }
        let fresh = Issuing::new(material)?;
        let mut issuing = self.issuing.write().unwrap_or_else(PoisonError::into_inner);
        let is_new = fresh.certificate != issuing.certificate;
        if is_new {
            *issuing = Arc::new(fresh);
        }
        Ok(is_new)
    }

    /// Signs an SVID for `id` and returns its chain, leaf first, then the issuing CA.
    ///
    /// `csr_der` is a PKCS #10 request. It proves possession of its key by its own signature; the names and extensions
    /// that it asks for are ignored. The SVID starts a little in the past, for peers whose clocks are behind, ends
    /// `lifetime` after `now`, and never outlives the issuing CA.
    pub fn sign(
        &self,
        csr_der: &[u8],
        id: &SpiffeId,
        lifetime: Duration,
        now: SystemTime,
    ) -> Result<Vec<CertificateDer<'static>>, CaError> {
        let key = proved_key(csr_der)?;
        if id.trust_domain() != &self.trust_domain || id.path().is_empty() {
            return Err(CaError::ForeignId { id: id.clone(), trust_domain: self.trust_domain.clone() });
        }
        let issuing = self.issuing();
        if now >= issuing.not_after {
            return Err(CaError::Expired);
        }
        let end = now.checked_add(lifetime).map_or(issuing.not_after, |end| end.min(issuing.not_after));
        let params = Profile::Leaf(id).params(now, end)?;
        let leaf = params.signed_by(&key, &issuing.issuer)?;
        Ok(vec![leaf.into(), issuing.certificate.clone()])
    }

    /// Whether [`Ca::sign`] would take this request, for callers that have to spend something before they sign.
    pub fn check_request(csr_der: &[u8]) -> Result<(), CsrRefused> {
        proved_key(csr_der).map(drop)
    }

    /// Makes a key and signs an SVID for it: for the control plane's own identity.
    pub fn issue(&self, id: &SpiffeId, lifetime: Duration, now: SystemTime) -> Result<Svid, CaError> {
        let request = KeyRequest::generate()?;
        let chain = self.sign(request.csr_der(), id, lifetime, now)?;
        Ok(request.complete(chain)?)
    }

    /// What workloads need to verify each other: the root.
    pub fn trust_bundle(&self) -> TrustBundle {
        self.bundle.clone()
    }

    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// When the issuing CA's certificate ends; no SVID outlives it.
    pub fn issuing_not_after(&self) -> SystemTime {
        self.issuing().not_after
    }

    fn issuing(&self) -> Arc<Issuing> {
        self.issuing.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Issuing {
    fn new(material: Material) -> Result<Self, CaError> {
        Ok(Self {
            not_after: material.issuing_not_after()?,
            issuer: Issuer::from_ca_cert_der(&material.issuing, material.issuing_key)?,
            certificate: material.issuing,
        })
    }
}

impl fmt::Debug for Ca {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ca")
            .field("trust_domain", &self.trust_domain)
            .field("issuing_not_after", &self.issuing_not_after())
            .finish_non_exhaustive()
    }
}

/// The public key of a request whose signature proves that the requester has the private one.
fn proved_key(csr_der: &[u8]) -> Result<SubjectPublicKeyInfo, CsrRefused> {
    let (rest, csr) =
        X509CertificationRequest::from_der(csr_der).map_err(|error| CsrRefused::Malformed(error.to_string()))?;
    if !rest.is_empty() {
        return Err(CsrRefused::Malformed("bytes follow its end".to_owned()));
    }
    let key = SubjectPublicKeyInfo::from_der(csr.certification_request_info.subject_pki.raw)
        .map_err(|_| CsrRefused::UnsupportedKey)?;
    let supported = [&rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_ECDSA_P384_SHA384, &rcgen::PKCS_ED25519];
    if !supported.contains(&key.algorithm()) {
        return Err(CsrRefused::UnsupportedKey);
    }
    csr.verify_signature().map_err(|_| CsrRefused::NotPossessed)?;
    Ok(key)
}

#[cfg(test)]
mod tests;
