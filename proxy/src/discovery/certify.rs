//! The certificate client: how this process comes to its SVID, and how it keeps one.
//!
//! The key is made here and never leaves, but for the state folder where one is given. At first contact the workload
//! proves itself with a join token; a renewal is proved by the SVID that is about to end.

use std::{convert::Infallible, sync::Arc, time::SystemTime};

use tonic::{Code, transport::Channel};
use weft_certs::{Clock, Identity, KeyRequest, Svid, TrustBundle, keep_fresh};
use weft_proxy_api::{
    proto::identity::v1::{CertifyRequest, identity_client::IdentityClient},
    trust_bundle,
};

use super::{Backoff, channel, state::StateDir};
use crate::{config::Config, telemetry::Metrics};

#[derive(Debug, thiserror::Error)]
pub enum CertifyError {
    /// Trying again would change nothing.
    #[error("the control plane refused to certify this workload: {0}")]
    Refused(String),
    #[error("{0}")]
    Unreachable(String),
    #[error("the control plane's answer is not usable: {0}")]
    Answer(String),
}

/// This process's identity: from the state folder while that is valid, else by the join token. Waits for the control
/// plane as long as it is away.
///
/// # Errors
/// There is neither a valid SVID nor a token, or the control plane refuses the token.
pub async fn obtain(config: &Config, state: Option<&StateDir>) -> anyhow::Result<Arc<Identity>> {
    let anchors = std::fs::read_to_string(&config.trust_anchor)
        .map_err(|e| anyhow::anyhow!("cannot read the trust anchor {}: {e}", config.trust_anchor.display()))?;
    let given = TrustBundle::from_pem(&anchors)
        .map_err(|e| anyhow::anyhow!("the trust anchor {}: {e}", config.trust_anchor.display()))?;
    if let Some(svid) = state.and_then(|state| state.svid(SystemTime::now())) {
        tracing::info!(spiffe_id = %svid.id(), "identity restored from the state folder");
        return Ok(Identity::new(svid, given));
    }
    let Some(token) = config.read_join_token()? else {
        anyhow::bail!("no join token: give one with --join-token-file (`weft token create` makes one)");
    };
    let channel = channel::bootstrap(&config.control_plane, given);
    let mut backoff = Backoff::default();
    loop {
        match certify(channel.clone(), &token).await {
            Ok((svid, bundle)) => {
                tracing::info!(spiffe_id = %svid.id(), "identity received");
                return Ok(Identity::new(svid, bundle));
            }
            Err(CertifyError::Unreachable(reason)) => {
                tracing::warn!("no identity yet, trying again: {reason}");
                backoff.wait().await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Renews the SVID in time, for as long as it is polled.
pub async fn renew(
    config: Config,
    identity: Arc<Identity>,
    channel: Channel,
    state: Option<Arc<StateDir>>,
    metrics: Arc<Metrics>,
) -> Infallible {
    received(&identity.svid(), state.as_deref(), &metrics);
    let keeper = identity.clone();
    let request = move || {
        let (identity, channel, state, metrics) = (identity.clone(), channel.clone(), state.clone(), metrics.clone());
        let config = config.clone();
        async move {
            let (svid, bundle) = match identity.svid().is_valid_at(SystemTime::now()) {
                true => certify(channel, "").await?,
                false => start_over(&config, &identity).await?,
            };
            identity.set_bundle(bundle);
            received(&svid, state.as_deref(), &metrics);
            Ok::<_, CertifyError>(svid)
        }
    };
    keep_fresh(keeper, Clock::system(), rand::random::<f64>, request).await
}

/// A new SVID in the place of one that has expired, as after a long sleep of the machine: an expired one proves nothing,
/// so that it takes a join token again.
async fn start_over(config: &Config, identity: &Identity) -> Result<(Svid, TrustBundle), CertifyError> {
    let token = config.read_join_token().ok().flatten();
    let token =
        token.ok_or_else(|| CertifyError::Refused("the SVID has expired, and there is no join token".into()))?;
    let channel = channel::bootstrap(&config.control_plane, TrustBundle::clone(&identity.bundle()));
    certify(channel, &token).await
}

fn received(svid: &Svid, state: Option<&StateDir>, metrics: &Metrics) {
    let end = svid.not_after().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    metrics.svid_not_after.set(i64::try_from(end.as_secs()).unwrap_or(i64::MAX));
    if let Some(state) = state {
        state.save_svid(svid);
    }
}

async fn certify(channel: Channel, token: &str) -> Result<(Svid, TrustBundle), CertifyError> {
    let answer = |e: &dyn std::fmt::Display| CertifyError::Answer(e.to_string());
    let key = KeyRequest::generate().map_err(|e| answer(&e))?;
    let request = CertifyRequest { csr_der: key.csr_der().to_vec(), join_token: token.to_owned() };
    let response = IdentityClient::new(channel).certify(request).await.map_err(|status| refused(&status))?.into_inner();
    let bundle = response.trust_bundle.ok_or_else(|| answer(&"it has no trust bundle"))?;
    let bundle = trust_bundle::from_wire(bundle).map_err(|e| answer(&e))?;
    let chain = response.chain_der.into_iter().map(Into::into).collect();
    Ok((key.complete(chain).map_err(|e| answer(&e))?, bundle))
}

fn refused(status: &tonic::Status) -> CertifyError {
    match status.code() {
        Code::Unauthenticated | Code::PermissionDenied | Code::InvalidArgument => {
            CertifyError::Refused(status.message().to_owned())
        }
        _ => CertifyError::Unreachable(channel::reason(status)),
    }
}
