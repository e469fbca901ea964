//! Why a handshake failed, in one short sentence and one stable word.
//!
//! Decides how TLS errors are told to people and to metrics. Called by the proxy and the control plane where a
//! handshake fails, for the one log line and the one counter of each refusal.

use std::error::Error as StdError;
use std::fmt;
use std::io;

use rustls::{AlertDescription, CertificateError, Error};

use crate::id::{SpiffeId, TrustDomain};
use crate::verify::PeerError;

/// The reason of a failed handshake. The first group is our verdict about the peer; `Alert` is the peer's about us.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// The peer's certificate, or one that signed it, is past its end.
    Expired,
    /// The peer's certificate is not valid yet: one of the two clocks is wrong.
    NotYetValid,
    /// No anchor of the current trust bundle leads to the peer's certificate.
    UnknownIssuer,
    WrongTrustDomain {
        expected: TrustDomain,
        actual: SpiffeId,
    },
    /// The peer's certificate breaks a rule of the X509-SVID standard; the text says which.
    NotAnSvid(String),
    WrongIdentity {
        expected: SpiffeId,
        actual: Option<SpiffeId>,
    },
    /// The peer showed no certificate where one is required.
    NoCertificate,
    /// The peer refused us, or the connection, and said so.
    Alert(AlertDescription),
    /// Anything else, such as a connection that ended early or bytes that are not TLS.
    Other(String),
}

impl Refusal {
    /// A stable word for metrics; it never changes with the peer or the moment.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::UnknownIssuer => "unknown_issuer",
            Self::WrongTrustDomain { .. } => "wrong_trust_domain",
            Self::NotAnSvid(_) => "not_an_svid",
            Self::WrongIdentity { .. } => "wrong_identity",
            Self::NoCertificate => "no_certificate",
            Self::Alert(_) => "alert",
            Self::Other(_) => "other",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Expired => f.write_str("the peer's certificate has expired"),
            Self::NotYetValid => f.write_str("the peer's certificate is not valid yet, compare the clocks"),
            Self::UnknownIssuer => f.write_str("the peer's certificate is from a CA that is not in the trust bundle"),
            Self::WrongTrustDomain { expected, actual } => {
                write!(f, "the peer is {actual}, not of trust domain {expected}")
            }
            Self::NotAnSvid(reason) => {
                write!(f, "the peer's certificate is not an SVID: {reason}")
            }
            Self::WrongIdentity { expected, actual: Some(actual) } => {
                write!(f, "the peer is {actual}, expected {expected}")
            }
            Self::WrongIdentity { expected, actual: None } => {
                write!(f, "the peer showed no identity, expected {expected}")
            }
            Self::NoCertificate => f.write_str("the peer showed no certificate"),
            Self::Alert(alert) => write!(f, "the peer refused with the TLS alert {alert:?}"),
            Self::Other(reason) => write!(f, "the TLS handshake failed: {reason}"),
        }
    }
}

/// Finds the reason in any error of a connection: a [`rustls::Error`], the [`io::Error`] that tokio-rustls wraps it in,
/// a [`crate::WrongPeer`], or an error that has one of them as its source.
pub fn handshake_refusal(error: &(dyn StdError + 'static)) -> Refusal {
    let mut next = Some(error);
    while let Some(link) = next {
        if let Some(refusal) = of_link(link) {
            return refusal;
        }
        // `source()` of an I/O error skips the error that it wraps.
        let wrapped = link.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = match wrapped {
            Some(wrapped) => Some(wrapped),
            None => link.source(),
        };
    }
    Refusal::Other(error.to_string())
}

fn of_link(link: &(dyn StdError + 'static)) -> Option<Refusal> {
    if let Some(error) = link.downcast_ref::<Error>() {
        return Some(of_rustls(error));
    }
    if let Some(error) = link.downcast_ref::<PeerError>() {
        return Some(of_peer(error));
    }
    link.downcast_ref::<crate::WrongPeer>().map(|wrong| of_peer(&PeerError::WrongPeer(wrong.clone())))
}

fn of_rustls(error: &Error) -> Refusal {
    match error {
        Error::InvalidCertificate(reason) => of_certificate(reason),
        Error::NoCertificatesPresented => Refusal::NoCertificate,
        Error::AlertReceived(alert) => Refusal::Alert(*alert),
        other => Refusal::Other(other.to_string()),
    }
}

fn of_certificate(error: &CertificateError) -> Refusal {
    use CertificateError::*;
    match error {
        Expired | ExpiredContext { .. } => Refusal::Expired,
        NotValidYet | NotValidYetContext { .. } => Refusal::NotYetValid,
        UnknownIssuer => Refusal::UnknownIssuer,
        BadEncoding => Refusal::NotAnSvid("it is not a well-formed certificate".to_owned()),
        Other(other) => match other.0.downcast_ref::<PeerError>() {
            Some(error) => of_peer(error),
            None => Refusal::Other(other.0.to_string()),
        },
        other => Refusal::Other(other.to_string()),
    }
}

fn of_peer(error: &PeerError) -> Refusal {
    match error {
        PeerError::NotAnSvid(reason) => Refusal::NotAnSvid(reason.to_string()),
        PeerError::WrongTrustDomain { expected, actual } => {
            Refusal::WrongTrustDomain { expected: expected.clone(), actual: actual.clone() }
        }
        PeerError::WrongPeer(wrong) => {
            Refusal::WrongIdentity { expected: wrong.expected.clone(), actual: wrong.actual.clone() }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::id;
    use crate::verify::WrongPeer;

    #[test]
    fn the_reason_is_found_through_io_errors() {
        let error = io::Error::new(io::ErrorKind::InvalidData, Error::from(CertificateError::UnknownIssuer));
        assert_eq!(handshake_refusal(&error), Refusal::UnknownIssuer);

        let twice = io::Error::other(error);
        assert_eq!(handshake_refusal(&twice), Refusal::UnknownIssuer);
    }

    #[test]
    fn a_wrong_peer_is_found_wherever_it_was_noticed() {
        let wrong = WrongPeer {
            expected: id("example.org", "shop", "orders"),
            actual: Some(id("example.org", "shop", "frontend")),
        };
        let expected = Refusal::WrongIdentity { expected: wrong.expected.clone(), actual: wrong.actual.clone() };
        let in_handshake = Error::from(PeerError::from(wrong.clone()));
        for refusal in [
            handshake_refusal(&wrong),
            handshake_refusal(&in_handshake),
            handshake_refusal(&io::Error::other(wrong.clone())),
        ] {
            assert_eq!(refusal, expected);
            assert_eq!(refusal.label(), "wrong_identity");
            assert_eq!(refusal.to_string(), wrong.to_string());
        }
    }

    #[test]
    fn anything_else_keeps_its_own_words() {
        let reset = io::Error::new(io::ErrorKind::ConnectionReset, "reset by peer");
        let refusal = handshake_refusal(&reset);
        assert_eq!(refusal.label(), "other");
        assert_eq!(refusal.to_string(), "the TLS handshake failed: reset by peer");
    }

    #[test]
    fn an_alert_is_the_peers_word() {
        let refusal = handshake_refusal(&Error::AlertReceived(AlertDescription::CertificateRequired));
        assert_eq!(refusal.to_string(), "the peer refused with the TLS alert CertificateRequired");
    }
}
