//! What the X509-SVID standard demands of a certificate, section by section: leaves and signing certificates.
//!
//! Decides whether one certificate by itself has the required shape. Signatures, validity time and trust are
//! [`crate::verify`]'s. Called by [`crate::svid`] for our own certificates, by [`crate::bundle`] for anchors and by
//! [`crate::verify`] for a peer's, so that we never issue or hold what we would refuse.

use std::time::{Duration, SystemTime};

use rustls::pki_types::CertificateDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::error::X509Error;
use x509_parser::extensions::{GeneralName, KeyUsage};
use x509_parser::prelude::FromDer;
use x509_parser::time::ASN1Time;

use crate::id::{IdError, SpiffeId};

/// Why a certificate is not an X.509 SVID, or not one that may sign SVIDs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAnSvid {
    #[error("it is not a well-formed X.509 v3 certificate: {0}")]
    Malformed(String),
    #[error("it has no URI SAN, so it names no SPIFFE ID")]
    NoUriSan,
    #[error("it has {0} URI SANs, exactly one is allowed")]
    ManyUriSans(usize),
    #[error("its URI SAN is not a SPIFFE ID: {0}")]
    BadId(#[from] IdError),
    #[error("its SPIFFE ID {0} has no path, so it names a trust domain and not a workload")]
    NoPath(SpiffeId),
    #[error("it is a CA certificate, a workload's must not be")]
    LeafIsCa,
    #[error("it has no key usage extension")]
    NoKeyUsage,
    #[error("its key usage extension is not marked critical")]
    KeyUsageNotCritical,
    #[error("its key usage lacks digitalSignature")]
    NoDigitalSignature,
    #[error("its key usage has {0}, a workload's must not")]
    LeafMaySign(&'static str),
    #[error("its extended key usage lacks {0}")]
    NoExtendedUsage(&'static str),
    #[error("it signs others, but is not a CA certificate")]
    SignerNotCa,
    #[error("it signs others, but its key usage lacks keyCertSign")]
    SignerMayNotSign,
    #[error("it signs others, but its SPIFFE ID {0} has a path")]
    SignerHasPath(SpiffeId),
}

/// The facts of a leaf certificate that meets the standard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf {
    pub id: SpiffeId,
    pub not_before: SystemTime,
    pub not_after: SystemTime,
}

impl Leaf {
    /// Checks every MUST that the standard has for leaves (sections 2, 3, 4 and 5.2).
    pub fn parse(der: &CertificateDer<'_>) -> Result<Self, NotAnSvid> {
        let certificate = parse(der)?;
        let id = spiffe_id(&certificate)?.ok_or(NotAnSvid::NoUriSan)?;
        if id.path().is_empty() {
            return Err(NotAnSvid::NoPath(id));
        }
        if is_ca(&certificate)? {
            return Err(NotAnSvid::LeafIsCa);
        }
        check_leaf_key_usage(key_usage(&certificate)?)?;
        check_extended_key_usage(&certificate)?;
        Ok(Self {
            id,
            not_before: system_time(certificate.validity().not_before),
            not_after: system_time(certificate.validity().not_after),
        })
    }
}

/// The facts of a certificate that may sign SVIDs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signer {
    /// Its SPIFFE ID. The standard lets a signing certificate go without; weft's own always have one.
    pub id: Option<SpiffeId>,
    pub not_after: SystemTime,
}

impl Signer {
    /// Checks every MUST that the standard has for signing certificates.
    pub fn parse(der: &CertificateDer<'_>) -> Result<Self, NotAnSvid> {
        let certificate = parse(der)?;
        let id = spiffe_id(&certificate)?;
        if let Some(id) = id.as_ref().filter(|id| !id.path().is_empty()) {
            return Err(NotAnSvid::SignerHasPath(id.clone()));
        }
        if !is_ca(&certificate)? {
            return Err(NotAnSvid::SignerNotCa);
        }
        if !key_usage(&certificate)?.key_cert_sign() {
            return Err(NotAnSvid::SignerMayNotSign);
        }
        Ok(Self { id, not_after: system_time(certificate.validity().not_after) })
    }
}

fn parse<'a>(der: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, NotAnSvid> {
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        Ok(_) => Err(NotAnSvid::Malformed("bytes follow its end".to_owned())),
        Err(error) => Err(NotAnSvid::Malformed(error.to_string())),
    }
}

/// The SPIFFE ID, if the certificate has one. More than one URI SAN is an error, as is a URI that is no SPIFFE ID;
/// other kinds of SAN are allowed and ignored.
fn spiffe_id(certificate: &X509Certificate<'_>) -> Result<Option<SpiffeId>, NotAnSvid> {
    let names = certificate.subject_alternative_name().map_err(malformed)?;
    let mut uris = Vec::new();
    for name in names.iter().flat_map(|san| &san.value.general_names) {
        match name {
            GeneralName::URI(uri) => uris.push(*uri),
            // An unreadable name could be a URI, and would then not be counted.
            GeneralName::Invalid(..) => {
                return Err(NotAnSvid::Malformed("one of its SANs is unreadable".to_owned()));
            }
            _ => {}
        }
    }
    match uris.as_slice() {
        [] => Ok(None),
        [uri] => Ok(Some(uri.parse()?)),
        many => Err(NotAnSvid::ManyUriSans(many.len())),
    }
}

fn is_ca(certificate: &X509Certificate<'_>) -> Result<bool, NotAnSvid> {
    let constraints = certificate.basic_constraints().map_err(malformed)?;
    Ok(constraints.is_some_and(|constraints| constraints.value.ca))
}

fn key_usage<'a>(certificate: &'a X509Certificate<'_>) -> Result<&'a KeyUsage, NotAnSvid> {
    let usage = certificate.key_usage().map_err(malformed)?.ok_or(NotAnSvid::NoKeyUsage)?;
    if !usage.critical {
        return Err(NotAnSvid::KeyUsageNotCritical);
    }
    Ok(usage.value)
}

fn check_leaf_key_usage(usage: &KeyUsage) -> Result<(), NotAnSvid> {
    if !usage.digital_signature() {
        Err(NotAnSvid::NoDigitalSignature)
    } else if usage.key_cert_sign() {
        Err(NotAnSvid::LeafMaySign("keyCertSign"))
    } else if usage.crl_sign() {
        Err(NotAnSvid::LeafMaySign("cRLSign"))
    } else {
        Ok(())
    }
}

fn check_extended_key_usage(certificate: &X509Certificate<'_>) -> Result<(), NotAnSvid> {
    let Some(usage) = certificate.extended_key_usage().map_err(malformed)? else {
        return Ok(());
    };
    if !usage.value.server_auth {
        Err(NotAnSvid::NoExtendedUsage("serverAuth"))
    } else if !usage.value.client_auth {
        Err(NotAnSvid::NoExtendedUsage("clientAuth"))
    } else {
        Ok(())
    }
}

fn malformed(error: X509Error) -> NotAnSvid {
    NotAnSvid::Malformed(error.to_string())
}

fn system_time(time: ASN1Time) -> SystemTime {
    let since_epoch = u64::try_from(time.timestamp()).unwrap_or(0);
    SystemTime::UNIX_EPOCH + Duration::from_secs(since_epoch)
}

#[cfg(test)]
mod tests;
