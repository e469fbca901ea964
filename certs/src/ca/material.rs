//! The CA's certificates and keys, and the profile of each kind of certificate that weft makes.
//!
//! Decides lifetimes, key usages and names. Called by [`super::Ca`] and, for what is on disk, by [`super::folder`].

use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyUsagePurpose, PublicKeyData, SanType,
};
use rustls::pki_types::CertificateDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

use super::CaError;
use crate::id::{SpiffeId, TrustDomain};
use crate::key::PrivateKey;
use crate::x509::Signer;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const ROOT_LIFE: Duration = DAY.saturating_mul(3650);
const ISSUING_LIFE: Duration = DAY.saturating_mul(365);
/// The issuing CA is renewed when less than this is left: a third of its life.
const ISSUING_RENEWAL: Duration = DAY.saturating_mul(122);

/// Certificates start this much in the past, for verifiers whose clocks are behind; short-lived ones by a tenth of
/// their life, so that the time from issue to expiry stays most of what their validity says.
const SKEW: Duration = Duration::from_secs(60);

/// The two certificates and keys of a CA.
#[derive(Debug)]
pub struct Material {
    pub root: CertificateDer<'static>,
    pub root_key: PrivateKey,
    pub issuing: CertificateDer<'static>,
    pub issuing_key: PrivateKey,
}

impl Material {
    pub fn generate(trust_domain: &TrustDomain, now: SystemTime) -> Result<Self, CaError> {
        let id = trust_domain.id();
        let root_key = PrivateKey::generate()?;
        let root = Profile::Root(&id).params(now, now + ROOT_LIFE)?.self_signed(&root_key)?;
        let issuing_key = PrivateKey::generate()?;
        let mut material = Self { root: root.into(), root_key, issuing: CertificateDer::from(Vec::new()), issuing_key };
        material.certify_issuing(&id, now)?;
        Ok(material)
    }

    /// Gives the issuing CA a new certificate if its current one ends soon; the root is never renewed this way.
    /// Returns whether it did.
    pub fn renew_issuing(&mut self, trust_domain: &TrustDomain, now: SystemTime) -> Result<bool, CaError> {
        if now + ISSUING_RENEWAL < self.issuing_not_after()? {
            return Ok(false);
        }
        self.certify_issuing(&trust_domain.id(), now)?;
        Ok(true)
    }

    /// Whether the four parts belong together: each key to its certificate, and the issuing CA to the root.
    pub fn check(&self) -> Result<(), CaError> {
        let root = parse("root.pem", &self.root)?;
        let issuing = parse("issuing.pem", &self.issuing)?;
        signer("root.pem", &self.root)?;
        signer("issuing.pem", &self.issuing)?;
        if root.public_key().raw != self.root_key.subject_public_key_info() {
            return Err(damaged("root.key", "is not the key of root.pem"));
        }
        if issuing.public_key().raw != self.issuing_key.subject_public_key_info() {
            return Err(damaged("issuing.key", "is not the key of issuing.pem"));
        }
        issuing
            .verify_signature(Some(root.public_key()))
            .map_err(|_| damaged("issuing.pem", "is not signed by root.pem"))
    }

    /// The trust domain that the root names.
    pub fn trust_domain(&self) -> Result<TrustDomain, CaError> {
        match signer("root.pem", &self.root)?.id {
            Some(id) => Ok(id.trust_domain().clone()),
            None => Err(damaged("root.pem", "names no trust domain in a URI SAN")),
        }
    }

    pub fn issuing_not_after(&self) -> Result<SystemTime, CaError> {
        Ok(signer("issuing.pem", &self.issuing)?.not_after)
    }

    fn certify_issuing(&mut self, id: &SpiffeId, now: SystemTime) -> Result<(), CaError> {
        let root_end = signer("root.pem", &self.root)?.not_after;
        let end = (now + ISSUING_LIFE).min(root_end);
        let issuer = Issuer::from_ca_cert_der(&self.root, &self.root_key)?;
        let issuing = Profile::Issuing(id).params(now, end)?.signed_by(&self.issuing_key, &issuer)?;
        self.issuing = issuing.into();
        Ok(())
    }
}

/// The kinds of certificate that the CA makes, with the SPIFFE ID of each.
#[derive(Debug, Clone, Copy)]
pub enum Profile<'a> {
    Root(&'a SpiffeId),
    Issuing(&'a SpiffeId),
    Leaf(&'a SpiffeId),
}

impl Profile<'_> {
    /// A certificate from a little before `now` until `end`, with a random serial number.
    pub fn params(self, now: SystemTime, end: SystemTime) -> Result<CertificateParams, CaError> {
        let (Self::Root(id) | Self::Issuing(id) | Self::Leaf(id)) = self;
        let mut serial = [0; 16];
        getrandom::fill(&mut serial)?;
        let life = end.duration_since(now).unwrap_or_default();
        let mut params = CertificateParams::default();
        params.not_before = now.checked_sub(SKEW.min(life / 10)).unwrap_or(now).into();
        params.not_after = end.into();
        params.serial_number = Some(serial.to_vec().into());
        params.subject_alt_names = vec![SanType::URI(id.as_str().try_into()?)];
        params.distinguished_name = self.subject(&serial);
        params.is_ca = self.is_ca();
        params.key_usages = self.key_usages();
        params.extended_key_usages = self.extended_key_usages();
        params.use_authority_key_identifier_extension = true;
        Ok(params)
    }

    /// A leaf has no subject: its name is the SPIFFE ID. The two CAs do, with a part that tells one mesh's from
    /// another's, because chains are built by name.
    fn subject(self, serial: &[u8; 16]) -> DistinguishedName {
        let mut name = DistinguishedName::new();
        let role = match self {
            Self::Root(_) => "root",
            Self::Issuing(_) => "issuing",
            Self::Leaf(_) => return name,
        };
        let suffix = hex::encode(serial).split_off(24);
        name.push(DnType::OrganizationName, "weft");
        name.push(DnType::CommonName, format!("weft {role} CA {suffix}"));
        name
    }

    fn is_ca(self) -> IsCa {
        match self {
            Self::Root(_) => IsCa::Ca(BasicConstraints::Unconstrained),
            Self::Issuing(_) => IsCa::Ca(BasicConstraints::Constrained(0)),
            Self::Leaf(_) => IsCa::ExplicitNoCa,
        }
    }

    fn key_usages(self) -> Vec<KeyUsagePurpose> {
        match self {
            Self::Root(_) | Self::Issuing(_) => {
                vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign]
            }
            Self::Leaf(_) => vec![KeyUsagePurpose::DigitalSignature],
        }
    }

    fn extended_key_usages(self) -> Vec<ExtendedKeyUsagePurpose> {
        match self {
            Self::Root(_) | Self::Issuing(_) => Vec::new(),
            // One SVID serves both as client and as server.
            Self::Leaf(_) => vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth],
        }
    }
}

fn parse<'a>(what: &str, der: &'a CertificateDer<'static>) -> Result<X509Certificate<'a>, CaError> {
    let (_, certificate) =
        X509Certificate::from_der(der).map_err(|error| damaged(what, &format!("is not a certificate: {error}")))?;
    Ok(certificate)
}

fn signer(what: &str, der: &CertificateDer<'static>) -> Result<Signer, CaError> {
    Signer::parse(der).map_err(|reason| damaged(what, &format!("is not a signing certificate: {reason}")))
}

fn damaged(what: &str, reason: &str) -> CaError {
    CaError::Damaged { what: what.to_owned(), reason: reason.to_owned() }
}
