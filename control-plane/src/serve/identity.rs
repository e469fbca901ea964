//! The identity service: who gets an SVID, and for which name.
//!
//! The name never comes from the request: it is the join token's account, or the name that the connection has proved
//! already (renewal). A use of a token is on the disk before anything is signed for it. How an SVID looks is
//! `weft_certs::Ca`'s matter.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use tonic::{Code, Request, Response, Status};
use weft_certs::{Ca, CaError, Clock, SpiffeId};
use weft_proxy_api::{
    proto::identity::v1::{CertifyRequest, CertifyResponse, identity_server},
    trust_bundle,
};

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
        let peer = request.extensions().get::<super::listener::Peer>().cloned();
        let proved = peer.as_ref().and_then(|peer| peer.identity.clone());
        let address = peer.map(|peer| peer.address.to_string()).unwrap_or_default();
        self.issue(request.into_inner(), proved, &address).await.map(Response::new).map_err(|refused| {
            tracing::warn!(peer = address, reason = %refused, "no SVID was issued");
            self.metrics.certificates_refused.get_or_create(&Reason { reason: refused.label() }).inc();
            Status::new(refused.code(), refused.to_string())
        })
    }
}

impl Identity {
    async fn issue(
        &self,
        request: CertifyRequest,
        proved: Option<SpiffeId>,
        peer: &str,
    ) -> Result<CertifyResponse, Refused> {
        let (id, proof) = match request.join_token.as_str() {
            "" => (self.renewed(proved)?, "svid".to_owned()),
            token => {
                let token: JoinToken = token.parse()?;
                let proof = format!("token {}", token.id());
                (self.joined(token).await?, proof)
            }
        };
        let chain = self.ca.sign(&request.csr_der, &id, self.lifetime, self.clock.now())?;
        tracing::info!(%id, peer, proof, lifetime = ?self.lifetime, "issued an SVID");
        self.metrics.certificates_issued.inc();
        Ok(CertifyResponse {
            chain_der: chain.iter().map(|certificate| certificate.to_vec()).collect(),
            trust_bundle: Some(trust_bundle::to_wire(&self.ca.trust_bundle())),
        })
    }

    fn renewed(&self, proved: Option<SpiffeId>) -> Result<SpiffeId, Refused> {
        let id = proved.ok_or(Refused::NoProof)?;
        if id.trust_domain() != self.ca.trust_domain() || id.service_account().is_none() {
            return Err(Refused::NotAWorkload(id));
        }
        Ok(id)
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
            Self::NoProof | Self::Token(_) => Code::Unauthenticated,
            Self::NotAWorkload(_) => Code::PermissionDenied,
            Self::Ca(CaError::Csr(_)) => Code::InvalidArgument,
            Self::Ca(_) | Self::Store(_) | Self::Clock(_) => Code::Unavailable,
        }
    }

    fn label(&self) -> &'static str {
        match self {
            Self::NoProof => "no_proof",
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
