//! Trust domains and SPIFFE IDs: the names by which everything else in the mesh knows a workload.
//!
//! Decides what a valid name is, per the SPIFFE-ID standard (sections 2.1 to 2.4), and how weft lays out its own:
//! `spiffe://<trust-domain>/ns/<namespace>/sa/<service-account>`. Leaves to others who may carry a name.
//! Called by everyone; parsing here is the only way to make either type, so a value is always valid.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The longest SPIFFE ID that the standard asks implementations to support, in bytes. Longer ones are refused.
pub const MAX_ID_BYTES: usize = 2048;
/// The longest trust domain, in bytes.
pub const MAX_TRUST_DOMAIN_BYTES: usize = 255;

const SCHEME: &str = "spiffe://";

/// Why a text is not a trust domain or not a SPIFFE ID.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    #[error("a SPIFFE ID starts with spiffe://, in lowercase letters")]
    Scheme,
    #[error("the SPIFFE ID is {0} bytes long, at most {MAX_ID_BYTES} are allowed")]
    TooLong(usize),
    #[error("the trust domain is empty")]
    EmptyTrustDomain,
    #[error("the trust domain is {0} bytes long, at most {MAX_TRUST_DOMAIN_BYTES} are allowed")]
    TrustDomainTooLong(usize),
    #[error(
        "the trust domain contains {0:?}: only lowercase letters, digits, '.', '-' and '_' are allowed, \
         and neither a port nor user information"
    )]
    TrustDomainChar(char),
    #[error("the path ends with a slash")]
    TrailingSlash,
    #[error("the path has an empty segment")]
    EmptySegment,
    #[error("the path has a {0:?} segment, relative paths are not allowed")]
    DotSegment(String),
    #[error(
        "the path contains {0:?}: only letters, digits, '.', '-' and '_' are allowed in a segment, \
         and neither a query, a fragment nor percent-encoding"
    )]
    PathChar(char),
}

/// A trust domain: the part of the world whose identities one root of trust vouches for, such as `prod.example.com`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TrustDomain(Arc<str>);

impl TrustDomain {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The trust domain's own SPIFFE ID, without a path: what its signing certificates carry.
    pub fn id(&self) -> SpiffeId {
        SpiffeId::join(self, "")
    }
}

impl FromStr for TrustDomain {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        if text.is_empty() {
            return Err(IdError::EmptyTrustDomain);
        }
        if text.len() > MAX_TRUST_DOMAIN_BYTES {
            return Err(IdError::TrustDomainTooLong(text.len()));
        }
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || ".-_".contains(c);
        match text.chars().find(|&c| !allowed(c)) {
            Some(bad) => Err(IdError::TrustDomainChar(bad)),
            None => Ok(Self(text.into())),
        }
    }
}

/// A SPIFFE ID: a trust domain and a path. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SpiffeId {
    uri: Arc<str>,
    trust_domain: TrustDomain,
}

impl SpiffeId {
    /// The identity of a workload: `spiffe://<trust-domain>/ns/<namespace>/sa/<service-account>`.
    pub fn workload(trust_domain: &TrustDomain, namespace: &str, service_account: &str) -> Result<Self, IdError> {
        check_segment(namespace)?;
        check_segment(service_account)?;
        let id = Self::join(trust_domain, &format!("/ns/{namespace}/sa/{service_account}"));
        match id.uri.len() {
            len if len > MAX_ID_BYTES => Err(IdError::TooLong(len)),
            _ => Ok(id),
        }
    }

    /// The identity of the control plane: `spiffe://<trust-domain>/weft/control-plane`.
    pub fn control_plane(trust_domain: &TrustDomain) -> Self {
        Self::join(trust_domain, "/weft/control-plane")
    }

    pub fn as_str(&self) -> &str {
        &self.uri
    }

    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// The path with its leading slash; empty for the ID of a trust domain itself.
    pub fn path(&self) -> &str {
        self.uri.get(SCHEME.len() + self.trust_domain.as_str().len()..).unwrap_or_default()
    }

    /// The namespace, if this is the identity of a workload in weft's layout.
    pub fn namespace(&self) -> Option<&str> {
        self.workload_parts().map(|(namespace, _)| namespace)
    }

    /// The service account, if this is the identity of a workload in weft's layout.
    pub fn service_account(&self) -> Option<&str> {
        self.workload_parts().map(|(_, account)| account)
    }

    fn workload_parts(&self) -> Option<(&str, &str)> {
        let (namespace, account) = self.path().strip_prefix("/ns/")?.split_once("/sa/")?;
        let one_segment_each = !namespace.contains('/') && !account.contains('/');
        one_segment_each.then_some((namespace, account))
    }

    /// `path` is valid: empty, or checked segments that each follow a slash.
    fn join(trust_domain: &TrustDomain, path: &str) -> Self {
        Self { uri: format!("{SCHEME}{trust_domain}{path}").into(), trust_domain: trust_domain.clone() }
    }
}

impl FromStr for SpiffeId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        if text.len() > MAX_ID_BYTES {
            return Err(IdError::TooLong(text.len()));
        }
        let rest = text.strip_prefix(SCHEME).ok_or(IdError::Scheme)?;
        let (trust_domain, path) = match rest.split_once('/') {
            Some((trust_domain, path)) => (trust_domain, Some(path)),
            None => (rest, None),
        };
        let trust_domain = trust_domain.parse()?;
        if let Some(path) = path {
            if path.is_empty() || path.ends_with('/') {
                return Err(IdError::TrailingSlash);
            }
            path.split('/').try_for_each(check_segment)?;
        }
        Ok(Self { uri: text.into(), trust_domain })
    }
}

fn check_segment(segment: &str) -> Result<(), IdError> {
    match segment {
        "" => return Err(IdError::EmptySegment),
        "." | ".." => return Err(IdError::DotSegment(segment.to_owned())),
        _ => {}
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
    match segment.chars().find(|&c| !allowed(c)) {
        Some(bad) => Err(IdError::PathChar(bad)),
        None => Ok(()),
    }
}

macro_rules! as_text {
    ($type:ty) => {
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl TryFrom<String> for $type {
            type Error = IdError;

            fn try_from(text: String) -> Result<Self, IdError> {
                text.parse()
            }
        }

        impl From<$type> for String {
            fn from(value: $type) -> String {
                value.as_str().to_owned()
            }
        }
    };
}

as_text!(TrustDomain);
as_text!(SpiffeId);

#[cfg(test)]
mod tests;
