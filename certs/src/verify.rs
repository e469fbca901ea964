//! Whom a handshake accepts: the peer's chain, its validity time, the X509-SVID MUSTs, its trust domain, its SPIFFE ID.
//!
//! Reads the *current* trust bundle on each handshake. The name in SNI decides nothing: a peer is who its SPIFFE ID says.
//! Whether a verified peer may do something is authorization, which is left to the callers. Used by [`crate::tls`];
//! [`peer_id`] and [`expect_peer`] are for those who hold a finished handshake.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, CommonState, DigitallySignedStruct, DistinguishedName, Error, OtherError, SignatureScheme,
};

use crate::bundle::TrustBundle;
use crate::crypto::provider;
use crate::id::{SpiffeId, TrustDomain};
use crate::identity::Identity;
use crate::x509::{Leaf, NotAnSvid, Signer};

/// The peer proved an identity, but not the one that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the peer is {}, expected {expected}", .actual.as_ref().map_or("unidentified", SpiffeId::as_str))]
pub struct WrongPeer {
    pub expected: SpiffeId,
    /// `None` if the peer showed no certificate.
    pub actual: Option<SpiffeId>,
}

/// What weft's own rules have against a peer's certificate, beyond what webpki checks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PeerError {
    #[error("the peer's certificate is not an X.509 SVID: {0}")]
    NotAnSvid(#[source] NotAnSvid),
    #[error("the peer is {actual}, which is not in the trust domain {expected}")]
    WrongTrustDomain { expected: TrustDomain, actual: SpiffeId },
    #[error(transparent)]
    WrongPeer(#[from] WrongPeer),
}

impl From<PeerError> for Error {
    fn from(error: PeerError) -> Self {
        CertificateError::Other(OtherError(Arc::new(error))).into()
    }
}

/// The SPIFFE ID that the peer proved in this connection's handshake; `None` before the handshake is finished and for a
/// client without a certificate.
pub fn peer_id(connection: &CommonState) -> Option<SpiffeId> {
    let leaf = connection.peer_certificates()?.first()?;
    Leaf::parse(leaf).ok().map(|leaf| leaf.id)
}

/// Checks that the peer of a finished handshake is exactly `expected`, such as the endpoint that was dialed.
pub fn expect_peer(connection: &CommonState, expected: &SpiffeId) -> Result<(), WrongPeer> {
    match peer_id(connection) {
        Some(actual) if actual == *expected => Ok(()),
        actual => Err(WrongPeer { expected: expected.clone(), actual }),
    }
}

/// Where a verifier finds the trust bundle of this moment.
#[derive(Debug)]
pub(crate) enum Trust {
    /// The process's own, which rotates.
    Live(Arc<Identity>),
    /// One that was handed over, before the process has an identity.
    Given(Arc<TrustBundle>),
}

impl Trust {
    fn bundle(&self) -> Arc<TrustBundle> {
        match self {
            Self::Live(identity) => identity.bundle(),
            Self::Given(bundle) => bundle.clone(),
        }
    }
}

/// Checks a server's certificate, for a client.
#[derive(Debug)]
pub(crate) struct ServerVerifier {
    pub trust: Trust,
    /// The one server that is acceptable; `None` leaves that to the caller's [`expect_peer`].
    pub expected: Option<SpiffeId>,
}

impl ServerCertVerifier for ServerVerifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _sni: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let bundle = self.trust.bundle();
        let algorithms = provider().signature_verification_algorithms.all;
        ParsedCertificate::try_from(leaf)
            .and_then(|parsed| {
                let roots = bundle.roots();
                verify_server_cert_signed_by_trust_anchor(&parsed, roots, intermediates, now, algorithms)
            })
            .map_err(|error| explain(error, leaf))?;
        let actual = check_svid(&bundle, leaf, intermediates)?;
        match &self.expected {
            Some(expected) if actual != *expected => {
                Err(PeerError::from(WrongPeer { expected: expected.clone(), actual: Some(actual) }).into())
            }
            _ => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &provider().signature_verification_algorithms;
        verify_tls12_signature(message, leaf, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &provider().signature_verification_algorithms;
        verify_tls13_signature(message, leaf, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}

/// Checks a client's certificate, for a server.
#[derive(Debug)]
pub(crate) struct ClientVerifier {
    pub trust: Trust,
    /// Whether a client must show a certificate. One that it does show is checked in either case.
    pub mandatory: bool,
}

impl ClientCertVerifier for ClientVerifier {
    fn client_auth_mandatory(&self) -> bool {
        self.mandatory
    }

    /// None: the hints are fixed for as long as the caller borrows them, but the bundle rotates, and a client of the
    /// mesh has one certificate to choose from anyway.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let bundle = self.trust.bundle();
        bundle.client_verifier().verify_client_cert(leaf, intermediates, now).map_err(|error| explain(error, leaf))?;
        check_svid(&bundle, leaf, intermediates)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &provider().signature_verification_algorithms;
        verify_tls12_signature(message, leaf, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &provider().signature_verification_algorithms;
        verify_tls13_signature(message, leaf, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}

/// What webpki does not know: the shape of an SVID, of those that signed it, and the trust domain.
fn check_svid(
    bundle: &TrustBundle,
    leaf: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
) -> Result<SpiffeId, PeerError> {
    let leaf = Leaf::parse(leaf).map_err(PeerError::NotAnSvid)?;
    for signer in intermediates {
        Signer::parse(signer).map_err(PeerError::NotAnSvid)?;
    }
    if leaf.id.trust_domain() != bundle.trust_domain() {
        return Err(PeerError::WrongTrustDomain { expected: bundle.trust_domain().clone(), actual: leaf.id });
    }
    Ok(leaf.id)
}

/// Says in weft's words what webpki refused, where its own error says less.
fn explain(error: Error, leaf: &CertificateDer<'_>) -> Error {
    use CertificateError::*;
    match error {
        // Another CA's certificate whose signer happens to have the same name as one of ours.
        Error::InvalidCertificate(BadSignature) => UnknownIssuer.into(),
        Error::InvalidCertificate(
            Expired | ExpiredContext { .. } | NotValidYet | NotValidYetContext { .. } | UnknownIssuer,
        ) => error,
        other => match Leaf::parse(leaf) {
            Err(reason) => PeerError::NotAnSvid(reason).into(),
            Ok(_) => other,
        },
    }
}

#[cfg(test)]
mod tests;
