//! The network: what sidecars and people can ask over it.
//!
//! Translates between messages and `mesh`; decides who may ask, and nothing about the answer. `listener` is below both
//! servers: `grpc` (discovery, identity, workloads) and `admin`.

pub mod admin;
pub mod discovery;
pub mod grpc;
pub mod identity;
pub mod listener;
pub mod workloads;

use weft_certs::{SpiffeId, TrustDomain};

/// The workload that a connection has proved to be.
fn workload<T>(request: &tonic::Request<T>, trust_domain: &TrustDomain) -> Result<SpiffeId, tonic::Status> {
    let peer = request.extensions().get::<listener::Peer>();
    let identity = peer.and_then(|peer| peer.identity.clone());
    let identity =
        identity.ok_or_else(|| tonic::Status::unauthenticated("a client certificate (an SVID) is needed"))?;
    if identity.trust_domain() != trust_domain || identity.service_account().is_none() {
        return Err(tonic::Status::permission_denied(format!("{identity} is not a workload of {trust_domain}")));
    }
    Ok(identity)
}

/// What may be a workload's id: it becomes a name in discovery, in logs and on the disk.
fn check_workload_id(id: &str) -> Result<(), tonic::Status> {
    let is_safe = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    if !(1..=128).contains(&id.len()) || !id.bytes().all(is_safe) {
        return Err(tonic::Status::invalid_argument(
            "the workload id must have 1 to 128 letters, digits, '-', '_' or '.'",
        ));
    }
    Ok(())
}
