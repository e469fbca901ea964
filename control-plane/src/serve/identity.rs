//! The identity service: who gets an SVID, and for which name.
//!
//! The name never comes from the request: it is the join token's account, or the name that the connection has proved
//! already (renewal). A use of a token is on the disk before anything is signed for it. How an SVID looks is
//! `weft_certs::Ca`'s matter.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use rustls::pki_types::CertificateDer;
use tonic::{Code, Request, Response, Status};
use weft_certs::{Ca, CaError, Clock, SpiffeId, x509::Leaf};
use weft_proxy_api::{
    proto::identity::v1::{CertifyRequest, CertifyResponse, identity_server},
    trust_bundle,
};

use super::listener::{Life, Peer};
use crate::{
    store::{self, JoinToken, Store, StoreError, TokenRefusal},
    telemetry::{Metrics, Reason},
};

pub struct Identity {
    pub ca: Arc<Ca>,
    pub store: Arc<Store>,
    pub metrics: Arc<Metrics>,
    pub lifetime: Duration,
    pub clock: Clock,
}

#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("neither a join token nor a client certificate (an SVID) was shown")]
    NoProof,
    #[error(transparent)]
    Token(#[from] TokenRefusal),
    #[error("the SVID of {0} that this connection was opened with has expired: connect with a new one")]
    Expired(SpiffeId),
    #[error("{0} is not a workload's identity in this trust domain")]
    NotAWorkload(SpiffeId),
    #[error(transparent)]
    Ca(#[from] CaError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the clock shows an impossible time: {0}")]
    Clock(#[from] jiff::Error),
}

#[tonic::async_trait]
impl identity_server::Identity for Identity {
    async fn certify(&self, request: Request<CertifyRequest>) -> Result<Response<CertifyResponse>, Status> {
        let peer = request.extensions().get::<Peer>().cloned();
        let address = peer.as_ref().map(|peer| peer.address.to_string()).unwrap_or_default();
        self.issue(request.into_inner(), peer.as_ref()).await.map(Response::new).map_err(|refused| {
            tracing::warn!(peer = address, reason = %refused, "no SVID was issued");
            self.metrics.certificates_refused.get_or_create(&Reason { reason: refused.label() }).inc();
            Status::new(refused.code(), refused.to_string())
        })
    }
}

impl Identity {
    async fn issue(&self, request: CertifyRequest, peer: Option<&Peer>) -> Result<CertifyResponse, Refused> {
        let (id, chain, proof) = match request.join_token.as_str() {
            "" => {
                let (id, life) = self.renewed(peer)?;
                let chain = self.sign(&request, &id)?;
                // Who renews in time need not connect anew.
                if let Some(leaf) = chain.first().and_then(|leaf| Leaf::parse(leaf).ok()) {
                    life.extend(leaf.not_after);
                }
                (id, chain, "svid".to_owned())
            }
            token => {
                let token: JoinToken = token.parse()?;
                // Before a use of the token is spent on it.
                Ca::check_request(&request.csr_der).map_err(CaError::from)?;
                let proof = format!("token {}", token.id());
                let id = self.joined(token).await?;
                let chain = self.sign(&request, &id)?;
                (id, chain, proof)
            }
        };
        let peer = peer.map(|peer| tracing::field::display(peer.address));
        tracing::info!(%id, peer, proof, lifetime = ?self.lifetime, "issued an SVID");
        self.metrics.certificates_issued.inc();
        Ok(CertifyResponse {
            chain_der: chain.iter().map(|certificate| certificate.to_vec()).collect(),
            trust_bundle: Some(trust_bundle::to_wire(&self.ca.trust_bundle())),
        })
    }

    fn renewed<'a>(&self, peer: Option<&'a Peer>) -> Result<(SpiffeId, &'a Life), Refused> {
        let (id, life) = peer.and_then(|peer| Some((peer.identity.clone()?, &peer.life))).ok_or(Refused::NoProof)?;
        if life.is_over() {
            return Err(Refused::Expired(id));
        }
        if id.trust_domain() != self.ca.trust_domain() || id.service_account().is_none() {
            return Err(Refused::NotAWorkload(id));
        }
        Ok((id, life))
    }

    fn sign(&self, request: &CertifyRequest, id: &SpiffeId) -> Result<Vec<CertificateDer<'static>>, CaError> {
        self.ca.sign(&request.csr_der, id, self.lifetime, self.clock.now())
    }

    async fn joined(&self, token: JoinToken) -> Result<SpiffeId, Refused> {
        let now = Timestamp::try_from(self.clock.now())?;
        let account = store::blocking(&self.store, move |store| store.consume_token(&token, now)).await??;
        Ok(account.spiffe_id)
    }
}

impl Refused {
    fn code(&self) -> Code {
        match self {
            Self::NoProof | Self::Expired(_) | Self::Token(_) => Code::Unauthenticated,
            Self::NotAWorkload(_) => Code::PermissionDenied,
            Self::Ca(CaError::Csr(_)) => Code::InvalidArgument,
            Self::Ca(_) | Self::Store(_) | Self::Clock(_) => Code::Unavailable,
        }
    }

    fn label(&self) -> &'static str {
        match self {
            Self::NoProof => "no_proof",
            Self::Expired(_) => "svid_expired",
            Self::Token(TokenRefusal::Unknown) => "token_unknown",
            Self::Token(TokenRefusal::Expired(_)) => "token_expired",
            Self::Token(TokenRefusal::UsedUp(_)) => "token_used_up",
            Self::NotAWorkload(_) => "not_a_workload",
            Self::Ca(CaError::Csr(_)) => "bad_csr",
            Self::Ca(_) => "ca",
            Self::Store(_) => "store",
            Self::Clock(_) => "clock",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicU64, Ordering},
        time::SystemTime,
    };

    use weft_certs::KeyRequest;

    use super::*;

    const LIFETIME: Duration = Duration::from_secs(100);

    #[tokio::test]
    async fn an_expired_svid_renews_nothing_over_a_kept_connection_and_a_renewed_one_goes_on() {
        let (folder, start, seconds) = (tempfile::tempdir().unwrap(), SystemTime::now(), Arc::new(AtomicU64::new(0)));
        let moved = seconds.clone();
        let clock = Clock::from_fn(move || start + Duration::from_secs(moved.load(Ordering::Relaxed)));
        let ca = Arc::new(Ca::create("weft.local".parse().unwrap(), start).unwrap());
        let peer = Peer {
            address: "127.0.0.1:1".parse().unwrap(),
            identity: Some(SpiffeId::workload(ca.trust_domain(), "shop", "orders").unwrap()),
            life: Life::until(start + LIFETIME, clock.clone()),
        };
        let store = Arc::new(Store::open(&folder.path().join("weft.redb")).unwrap());
        let service = Identity { ca, store, metrics: Arc::default(), lifetime: LIFETIME, clock };
        let renew = async |at: u64| {
            seconds.store(at, Ordering::Relaxed);
            let csr_der = KeyRequest::generate().unwrap().csr_der().to_vec();
            service.issue(CertifyRequest { csr_der, join_token: String::new() }, Some(&peer)).await
        };
        renew(60).await.unwrap();
        renew(120).await.unwrap();
        assert!(matches!(renew(230).await, Err(Refused::Expired(_))));
    }
}
